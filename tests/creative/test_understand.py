"""Free words become the brief that they ask for."""

import contextlib
from datetime import date
from decimal import Decimal

import pytest

from arauto.core.brief import Offer
from arauto.core.errors import BriefError
from arauto.creative import understand

from .briefs import ENGLISH_WORDS, README_WORDS


def test_the_readmes_words():
    brief = understand(README_WORDS)
    assert (brief.product, brief.focus, brief.age_range) == ("smartwatch", "saúde", (25, 40))
    assert (brief.image_hint, brief.language) == ("monitoramento de batimentos", "pt-BR")
    # A picture that is to "highlight" something names a merit; one that is to "show" something, a scene.
    assert brief.benefits == ("monitoramento de batimentos",)
    assert brief.audience == ""
    assert brief.prompt == README_WORDS


def test_the_same_words_in_english():
    brief = understand(ENGLISH_WORDS)
    assert (brief.product, brief.focus, brief.age_range) == ("smartwatch", "health", (25, 40))
    assert (brief.image_hint, brief.language) == ("heart rate monitoring", "en")


@pytest.mark.parametrize(
    ("words", "product"),
    [
        ("Anúncio de tênis de corrida para mulheres de 20 a 35 anos", "tênis de corrida"),
        ("Quero divulgar minha assinatura de café da marca Serra Alta", "assinatura de café"),
        ("Campanha para vender cursos de inglês para adultos", "cursos de inglês"),
        ("Smartwatch focado em saúde para quem corre", "smartwatch"),
        ("Crie um anúncio para ração para cães", "ração para cães"),
        ("Produto: creme para as mãos\nFoco: hidratação", "creme para as mãos"),
        ("Faça uma propaganda do novo iPhone 15 com câmera dupla", "iPhone 15"),
        ("Write an ad for our running shoes with a light sole for beginners", "running shoes"),
        ("Promote my guitar lessons to adults who want to learn at home", "guitar lessons"),
        ("An ad copy for cream for dry hands, target audience: gardeners aged 40-60", "cream for dry hands"),
        ("Product: desk lamp\nAudience: readers", "desk lamp"),
        (
            "Create an ad for a meal kit delivery service focused on saving time for busy parents",
            "meal kit delivery service",
        ),
    ],
)
def test_the_product_is_found(words, product):
    assert understand(words).product == product


@pytest.mark.parametrize(
    ("words", "audience", "ages"),
    [
        ("Anúncio de tênis para mulheres de 20 a 35 anos", "mulheres", (20, 35)),
        ("Anúncio de bicicleta, público-alvo: ciclistas acima de 18 anos", "ciclistas", (18, 120)),
        ("Anúncio de relógio para quem corre, entre 30 e 20 anos", "quem corre", None),
        ("Anúncio de chá, faixa etária de 30 a 50", "", (30, 50)),
        ("Produto: mel\nPúblico: mulheres acima de 50 anos", "mulheres", (50, 120)),
        ("An ad for a bike targeting commuters aged 18-30", "commuters", (18, 30)),
        ("An ad for tea for people who are between 30 and 50 years", "", (30, 50)),
        ("An ad for a chair, audience: remote workers over 40", "remote workers", (40, 120)),
    ],
)
def test_who_is_spoken_to_and_of_which_age(words, audience, ages):
    brief = understand(words)
    assert (brief.audience, brief.age_range) == (audience, ages)


@pytest.mark.parametrize(
    ("words", "offer"),
    [
        (
            "Anúncio de tênis. De R$ 1.599,90 por R$ 1.399,90 até 30/11/2026.",
            Offer(price=Decimal("1399.90"), was=Decimal("1599.90"), currency="BRL", deadline=date(2026, 11, 30)),
        ),
        (
            "Anúncio de café com 12,5% de desconto até o dia 15 de dezembro de 2026",
            Offer(discount=Decimal("12.5"), deadline=date(2026, 12, 15)),
        ),
        ("Anúncio de cadeira por R$ 99", Offer(price=Decimal(99), currency="BRL")),
        ("Anúncio de cadeira a partir de R$ 99", None),
        (
            "Ad for shoes, was $1,120.50 now $89.90, 10% off until December 15, 2026",
            Offer(
                price=Decimal("89.90"),
                was=Decimal("1120.50"),
                currency="USD",
                discount=Decimal(10),
                deadline=date(2026, 12, 15),
            ),
        ),
        (
            "Ad for a mug for £9.50 until 2026-12-01",
            Offer(price=Decimal("9.50"), currency="GBP", deadline=date(2026, 12, 1)),
        ),
    ],
)
def test_the_offer(words, offer):
    assert understand(words).offer == offer


def test_the_other_fields():
    brief = understand(
        "Preciso de um post para fone de ouvido com cancelamento de ruído, em tom divertido, da marca Som Claro. "
        'Botão: "Quero ouvir". https://exemplo.com.br/fone. Imagem mostrando um casal na praia.'
    )
    assert brief.benefits == ("cancelamento de ruído",)
    assert brief.tone == "divertido"
    assert brief.brand is not None
    assert brief.brand.name == "Som Claro"
    assert brief.call_to_action == "Quero ouvir"
    assert brief.link == "https://exemplo.com.br/fone"
    assert brief.image_hint == "um casal na praia"


def test_labelled_lines():
    brief = understand(
        "Product: hand cream\nFocus: soft skin\nFeatures: light texture, gentle scent and a small tube\nTone: calm\n"
        "Brand: Lily\nImage: a garden at dawn\nAudience: gardeners aged 40 to 60."
    )
    assert brief.benefits == ("light texture", "gentle scent", "a small tube")
    assert (brief.focus, brief.tone, brief.audience) == ("soft skin", "calm", "gardeners")
    assert (brief.brand.name, brief.image_hint) == ("Lily", "a garden at dawn")


def test_the_language_can_be_given():
    assert understand("Produto: smartwatch", language="pt-BR").language == "pt-BR"
    assert understand("Product: smartwatch", language="en").language == "en"


@pytest.mark.parametrize(
    "words", ["oi, tudo bem?", "Create a nice ad.", "Crie um anúncio bonito.", "smartwatch", "2026"]
)
def test_no_product_is_an_error_with_its_mend(words):
    with pytest.raises(BriefError) as caught:
        understand(words)
    assert caught.value.field == "product"
    assert "product:" in caught.value.mend


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("   ", "prompt"),
        ("a" * 2001, "prompt"),
        ("Anúncio de caneta\u202e", "prompt"),
        ("Anúncio de caneta até 31/02/2026", "offer.deadline"),
        ("Ad for a pen until Smarch 3, 2026", "offer.deadline"),
        ("Anúncio de caneta por R$ 1,2,3", "offer.price"),
    ],
)
def test_words_that_cannot_be_used(words, field):
    with pytest.raises(BriefError) as caught:
        understand(words)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "piece", ["0", "a ", "a'", "para ", "um anúncio para ", "entre 25 e ", "R$ ", "1.", "An ad for ", "focado em "]
)
def test_no_words_take_for_ever(piece):
    """Nested repetition once cut 2,000 zeros in every possible way, and held a server up for minutes."""
    with contextlib.suppress(BriefError):
        assert understand((piece * 2000)[:2000]).product
