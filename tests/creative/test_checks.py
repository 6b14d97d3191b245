"""Each rule refuses what it names, and passes what the brief proves."""

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from arauto.core.brief import Brand, Brief, Claim, Offer
from arauto.core.campaign import Copy
from arauto.creative import check_copy, compose_message, has_errors, rules, too_similar, understand

from .briefs import COFFEE, ENGLISH, README_WORDS, SHOES

WATCH = understand(README_WORDS)
GOOD = Copy(
    title="O seu coração, no seu ritmo",
    description="Com o smartwatch, você acompanha os batimentos no dia a dia.",
    image_suggestion="Mulher de 30 anos caminhando no parque, com o relógio no pulso",
)
GOOD_EN = Copy(
    title="Comfort from the first step",
    description="The running shoes with a light sole, made for easy mornings.",
    image_suggestion="A woman tying her shoes on a park bench at sunrise",
)


def ids(brief, base=GOOD, **changes):
    return {finding.rule for finding in check_copy(msgspec.structs.replace(base, **changes), brief)}


def test_a_good_copy_passes():
    assert check_copy(GOOD, WATCH) == ()
    assert check_copy(GOOD_EN, ENGLISH, compose_message(ENGLISH)) == ()


def test_a_finding_says_the_field_the_problem_and_the_mend():
    (finding,) = check_copy(msgspec.structs.replace(GOOD, title="O seu coração " * 6), WATCH)[:1]
    assert (finding.rule, finding.severity, finding.field) == ("LEN-TITLE", "error", "title")
    assert "84 characters, more than 60" in finding.problem
    assert finding.mend


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("LEN-TITLE", {"title": "Batimentos no pulso " * 4}),
        ("LEN-DESCRIPTION", {"description": "O smartwatch acompanha. " * 8}),
        ("LEN-IMAGE", {"image_suggestion": "Mulher no parque com o relógio " * 9}),
        ("LEN-SHORT", {"title": "Oi"}),
        ("TXT-CONTROL", {"title": "O seu\u202e coração"}),
        ("TXT-CONTROL", {"description": "Com o smartwatch,\nvocê acompanha os batimentos."}),
        ("TXT-CUT", {"description": "Com o smartwatch, você acompanha os batimentos"}),
        ("TXT-CUT", {"title": "O seu coração com"}),
        ("TXT-CUT", {"image_suggestion": "Mulher no parque, com o relógio de"}),
        ("TXT-SLOT", {"description": "O smartwatch por {price}."}),
        ("TXT-SLOT", {"title": "O smartwatch [marca]"}),
        ("TXT-STUTTER", {"description": "O smartwatch deixa o dia leve e leve."}),
        ("TXT-STUTTER", {"description": "Batimentos no dia, batimentos no treino, batimentos com o smartwatch."}),
        ("TXT-STUTTER", {"description": "O seu coração, no seu ritmo."}),
        ("TXT-AGREEMENT", {"description": "Com a smartwatch, você acompanha os batimentos."}),
        ("TXT-LANGUAGE", {"description": "The smartwatch is with you for every beat of your day."}),
        ("TXT-LANGUAGE", {"description": "El smartwatch es para los que quieren más."}),
        ("TXT-EUROPEAN", {"description": "O smartwatch faz a monitorização dos batimentos."}),
        ("TXT-TOPIC", {"title": "Um dia de sol na praia", "description": "A areia, o mar e mais nada."}),
        ("TXT-EXAMPLE", {"title": "Qual música você quer tocar primeiro?"}),
        ("TXT-EXAMPLE", {"description": "O smartwatch e a luminária de mesa combinam."}),
        ("IMG-SCENE", {"image_suggestion": "smartwatch_batimentos.png"}),
        ("IMG-SCENE", {"image_suggestion": "Veja em https://exemplo.com/foto uma pessoa"}),
        ("IMG-WORDS", {"image_suggestion": "Relógio no pulso"}),
        ("ED-EMOJI", {"title": "O seu coração ❤️ no pulso"}),
        ("ED-EMOJI", {"description": "O smartwatch acompanha os batimentos #saúde."}),
        ("ED-PUNCTUATION", {"title": "O seu coração no pulso!!"}),
        ("ED-EXCLAMATION", {"title": "O seu coração!", "description": "O smartwatch acompanha os batimentos!"}),
        ("ED-EXCLAMATION-TITLE", {"title": "O seu coração no pulso!"}),
        ("ED-CAPITALS", {"title": "SAÚDE e CORAÇÃO no pulso"}),
        ("FACT-NUMBER", {"description": "O smartwatch tem 7 dias de ritmo."}),
        ("FACT-NUMBER", {"description": "O smartwatch por R$ 199,90."}),
        ("FACT-NUMBER", {"title": "Batimentos 100% no pulso"}),
        ("FACT-NUMBER", {"description": "O smartwatch acompanha três ritmos."}),
        ("FACT-NUMBER", {"image_suggestion": "Tela do relógio mostrando 72 batimentos"}),
        ("FACT-NAME", {"description": "O smartwatch da Pulsarix acompanha os batimentos."}),
        ("FACT-FEATURE", {"description": "O smartwatch tem GPS e acompanha os batimentos."}),
        ("FACT-FEATURE", {"description": "O smartwatch te alerta a cada batimento."}),
        ("BR-01", {"title": "O melhor relógio do seu pulso"}),
        ("BR-01", {"title": "O smartwatch nº 1 do pulso"}),
        ("BR-01", {"description": "O mais avançado dos smartwatches."}),
        ("BR-01-PUFF", {"title": "Um smartwatch imbatível"}),
        ("BR-02", {"description": "O smartwatch é recomendado por quem corre."}),
        ("BR-04", {"description": "Leve o smartwatch e ganhe pulseira grátis."}),
        ("BR-04-SHIPPING", {"description": "O smartwatch chega na sua casa com frete incluso."}),
        ("BR-06", {"description": "O smartwatch é mais leve que os outros."}),
        ("BR-08", {"description": "O smartwatch previne infartos."}),
        ("BR-08", {"image_suggestion": "Mulher em um hospital com o smartwatch no pulso"}),
        ("BR-08", {"title": "Uma vida mais saudável no pulso"}),
        ("BR-11", {"description": "O smartwatch sustentável para o pulso."}),
        ("OFFER-DISCOUNT", {"title": "Smartwatch em promoção"}),
        ("OFFER-PRICE", {"title": "Smartwatch com preço que cabe"}),
        ("OFFER-PRICE-CLASS", {"description": "O smartwatch direto da fábrica."}),
        ("OFFER-GUARANTEE", {"description": "O smartwatch tem garantia."}),
        ("OFFER-PAYMENT", {"description": "O smartwatch sem juros."}),
        ("OFFER-PRIZE", {"description": "Compre o smartwatch e concorra."}),
        ("OFFER-SCARCITY", {"description": "As últimas unidades do smartwatch."}),
        ("OFFER-URGENCY", {"description": "Corra: o smartwatch espera."}),
        ("META-PERSONAL", {"description": "O smartwatch para quem tem de 25 a 40 anos."}),
        ("META-PERSONAL", {"description": "O smartwatch ajuda você, que é gordo."}),
    ],
)
def test_each_rule_refuses(rule, changes):
    assert rule in ids(WATCH, **changes)


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("TXT-LANGUAGE", {"description": "Os tênis de corrida que você sempre quis para correr."}),
        ("BR-01", {"title": "The best running shoes"}),
        ("BR-02", {"description": "Running shoes clinically proven to please."}),
        ("BR-04", {"description": "Running shoes with free socks."}),
        ("BR-04-SHIPPING", {"description": "Running shoes with fast delivery."}),
        ("BR-06", {"description": "Running shoes that run better than the rest."}),
        ("BR-08", {"description": "Running shoes that prevent pain."}),
        ("OFFER-GUARANTEE", {"description": "Running shoes with a money-back promise."}),
        ("OFFER-SCARCITY", {"description": "Running shoes, while stocks last."}),
        ("META-PERSONAL", {"description": "Running shoes for your age group."}),
        ("META-PERSONAL", {"description": "Are you overweight? Try the running shoes."}),
        ("FACT-NUMBER", {"description": "Running shoes trusted by two thousand runners."}),
        ("FACT-NUMBER", {"description": "Running shoes for $49.90."}),
        ("FACT-FEATURE", {"description": "The waterproof running shoes."}),
    ],
)
def test_the_same_in_english(rule, changes):
    assert rule in ids(ENGLISH, GOOD_EN, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "De R$ 599,90 por R$ 399,90"},
        {"title": "33% de desconto até 30/11/2026"},
        {"description": "O tênis de corrida Passo Firme sai por R$399,90, com desconto."},
        {"description": "Corra: o tênis de corrida está em promoção."},
    ],
)
def test_the_facts_of_the_offer_are_allowed(changes):
    base = Copy(
        title="Conforto na rua",
        description="O tênis de corrida tem amortecimento leve.",
        image_suggestion="Pessoa correndo em uma rua arborizada",
    )
    assert not has_errors(check_copy(msgspec.structs.replace(base, **changes), SHOES))


@pytest.mark.parametrize("title", ["Leve por R$ 599,90", "R$ 399,90 com desconto de R$ 599,90"])
def test_the_earlier_price_stands_before_the_present_one(title):
    assert "FACT-WAS" in ids(SHOES, title=title)
    assert "FACT-WAS" not in ids(SHOES, title="De R$ 599,90 por R$ 399,90")


def test_a_number_must_count_the_same_thing():
    brief = Brief(product="smartwatch", age_range=(30, 30), benefits=("bateria de 7 dias", "pulseira com 3 cores"))
    assert "FACT-NUMBER" not in ids(brief, description="O smartwatch com 7 dias de bateria e 3 cores.")
    assert "FACT-NUMBER" in ids(brief, description="O smartwatch com 7 anos de vida.")
    assert "FACT-NUMBER" in ids(brief, description="O smartwatch com 7% de nada.")
    assert "FACT-NUMBER" in ids(brief, description="O smartwatch com 3 anos de casa.")
    assert "FACT-NUMBER" not in ids(brief, description="O smartwatch com bateria de sete dias.")


def test_ages_belong_in_the_picture_only():
    assert "FACT-NUMBER" not in ids(WATCH, image_suggestion="Pessoa de 25 a 40 anos com o relógio no pulso")
    assert "FACT-NUMBER" in ids(WATCH, image_suggestion="Pessoa de 70 anos com o relógio no pulso")
    assert "FACT-NUMBER" in ids(WATCH, description="O smartwatch dos 40 batimentos.")


def test_a_superlative_with_evidence_is_allowed():
    proved = {
        "title": "O melhor café da feira de Serra Alta",
        "description": "A assinatura de café para provar em casa.",
    }
    assert "BR-01" not in ids(COFFEE, **proved)
    assert "BR-01" in ids(msgspec.structs.replace(COFFEE, claims=(Claim(text=proved["title"]),)), **proved)


def test_a_free_offer_must_be_the_same_one():
    brief = Brief(product="assinatura de café", offer=Offer(terms="frete grátis em todo o país"))
    assert not {"BR-04", "BR-04-SHIPPING"} & ids(brief, description="A assinatura de café tem frete grátis.")
    assert "BR-04" in ids(brief, description="A assinatura de café tem caneca grátis.")


def test_what_the_brief_denies_proves_nothing():
    assert "OFFER-GUARANTEE" in ids(
        Brief(product="café", prompt="Anúncio de café, sem garantia"), description="Café com garantia."
    )
    assert "OFFER-GUARANTEE" not in ids(
        Brief(product="café", prompt="Anúncio de café com garantia"), description="Café com garantia."
    )


def test_without_hurry_is_no_hurry():
    lessons = Brief(product="guitar lessons", language="en", focus="learning without hurry")
    assert "OFFER-URGENCY" not in ids(lessons, GOOD_EN, description="The guitar lessons let you learn without hurry.")


@pytest.mark.parametrize(
    "text",
    [
        "Hands-free running shoes with a light sole.",
        "Feel free to run in the running shoes.",
        "The running shoes for your free time.",
        "Enjoy the running shoes: I'd wear mine all day.",
        "Treat yourself to the running shoes.",
    ],
)
def test_innocent_words_pass(text):
    assert not has_errors(check_copy(msgspec.structs.replace(GOOD_EN, description=text), ENGLISH))


def test_words_to_avoid():
    brief = msgspec.structs.replace(WATCH, words_to_avoid=("Coração", "barato"))
    assert "TXT-AVOID" in ids(brief)
    assert "TXT-AVOID" not in ids(brief, title="O seu ritmo, no seu pulso")


def test_the_briefs_own_names_and_capitals_pass():
    brief = Brief(product="Aurora X2", brand=Brand(name="LUMEN Casa"), language="en")
    copy = Copy(
        title="Meet the Aurora X2",
        description="LUMEN Casa presents the Aurora X2, plain and simple.",
        image_suggestion="The Aurora X2 on a table by the window",
    )
    assert check_copy(copy, brief) == ()
    assert check_copy(msgspec.structs.replace(copy, title="Meet The New Aurora X2 Today"), brief) == ()


def test_a_deadline_allows_a_hurry_and_nothing_else():
    brief = Brief(product="curso de violão", offer=Offer(deadline=date(2026, 12, 1), price=Decimal(90), currency="BRL"))
    assert not {"OFFER-URGENCY", "OFFER-PRICE"} & ids(brief, description="Corra: o preço do curso de violão vai mudar.")
    assert "OFFER-SCARCITY" in ids(brief, description="Últimas vagas do curso de violão.")


def test_variants_must_differ():
    twin = msgspec.structs.replace(GOOD, description="Com o smartwatch você acompanha os batimentos todo dia.")
    other = Copy(
        title="De manhã, um minuto", description="O relógio mostra os batimentos.", image_suggestion="Mesa de café"
    )
    assert too_similar(GOOD, [other]) == ()
    assert [finding.rule for finding in too_similar(twin, [other, GOOD])] == ["TXT-TWIN"]
    assert too_similar(msgspec.structs.replace(other, title=GOOD.title.upper()), [GOOD])


def test_every_rule_names_its_source_and_date():
    for rule in rules().values():
        assert rule.source, rule.id
        assert date.fromisoformat(rule.date)
        assert rule.mend


def test_every_rule_has_a_heading_in_the_docs():
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text("utf-8")
    headings = re.findall(r"^## `(.*)`$", page, re.MULTILINE)
    assert headings == list(rules())
    for rule in rules().values():
        section = page.split(f"## `{rule.id}`")[1].split("\n## ")[0]
        assert f"**{rule.severity}.**" in section
        assert rule.source in section
        assert f"Limit: {rule.limit}." in section if rule.limit else "Limit" not in section
