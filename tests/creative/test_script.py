"""What is said: facts into words, lines into a script, lines into captions."""

from datetime import date
from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest

from arauto.core.brief import Brief, Claim, Offer, Style
from arauto.creative.audio.captions import cues_of, read_vtt, vtt
from arauto.creative.audio.saying import said, word_count
from arauto.creative.audio.script import mood_of, offer_line, shorten, write_script
from arauto.creative.message import compose_message
from tests.creative.briefs import COFFEE, ENGLISH, SHOES
from tests.creative.media import work_of


@pytest.mark.parametrize(
    ("line", "language", "words"),
    [
        ("Por R$ 1.299,90.", "pt-BR", "Por 1299 e 90."),
        ("Por R$ 400,00.", "pt-BR", "Por 400 reais."),
        ("R$ 1,00 e R$ 0,50", "pt-BR", "1 real e 50 centavos"),
        ("R$ 10,05", "pt-BR", "10 reais e 5 centavos"),
        ("US$ 20,00", "pt-BR", "20 dólares"),
        ("12,5% até 30/11/2026", "pt-BR", "12,5 por cento até 30 de novembro"),
        ("99/99/2026", "pt-BR", "99/99/2026"),
        ("$1,299.90 or €1.00", "en", "1299 90 or 1 euro"),
        ("£0.01", "en", "1 penny"),
        ("12.5% off until Dec 5, 2026", "en", "12.5 percent off until December 5"),
        ("Abc 5, 2026", "en", "Abc 5, 2026"),
        ("Olá 🎉 \u202eoculto", "pt-BR", "Olá oculto"),
    ],
)
def test_facts_in_words(line, language, words):
    assert said(line, language) == words


def test_words_are_counted_as_words():
    assert word_count("De R$ 599,90 – por isso!") == 5
    assert word_count("– … !") == 0


def test_a_script_says_who_what_how_much_and_what_to_do():
    script = write_script(work_of(SHOES), 30, legal=True)
    text = " ".join(line.text for line in script.lines)
    assert script.lines[0].text.startswith("Passo Firme.")
    assert script.lines[-1].text == "Passo Firme. Saiba mais."
    assert "De R$ 599,90 por R$ 399,90: 33% de desconto até 30/11/2026." in text
    assert "Amortecimento leve." in text
    facts = {name: value for line in script.lines for name, value in line.facts.items()}
    assert facts["price"] == "R$ 399,90"
    assert facts["call_to_action"] == "Saiba mais"
    assert script.headline == "Passos leves, dias longos"


def test_terms_and_disclaimers_are_said_in_a_spot_and_shown_in_a_film():
    brief = msgspec.structs.replace(SHOES, disclaimers=("Imagens ilustrativas",))
    assert "legal" in [line.role for line in write_script(work_of(brief), 30, legal=True).lines]
    assert "legal" not in [line.role for line in write_script(work_of(brief), 30, legal=False).lines]


def test_a_bumper_has_one_thought():
    assert [line.role for line in write_script(work_of(SHOES), 6, legal=False).lines] == ["hook", "close"]


def test_when_time_is_short_the_optional_goes_first():
    work = work_of(COFFEE)
    lines = write_script(work, 60, legal=True).lines
    assert [line.role for line in lines] == ["hook", "body", "benefit", "benefit", "claim", "close"]
    gone = []
    while (fewer := shorten(lines, work.message)) != lines:
        gone += [line.role for line in lines if line not in fewer]
        lines = fewer
    assert gone == ["claim", "benefit", "benefit", "body"]
    shoes = work_of(SHOES)
    lines = write_script(shoes, 10, legal=True).lines
    while (fewer := shorten(lines, shoes.message)) != lines:
        lines = fewer
    assert "Por R$ 399,90, até 30/11/2026." in [line.text for line in lines]


def test_every_offer_has_a_sentence():
    facts = {"price": Decimal(10), "discount": Decimal(5), "deadline": date(2026, 12, 24)}
    for language in ("pt-BR", "en"):
        for mask in range(1, 8):
            given = {name: value for bit, (name, value) in enumerate(facts.items()) if mask >> bit & 1}
            message = compose_message(Brief(product="x", language=language, offer=Offer(currency="BRL", **given)))
            line = offer_line(message)
            assert line is not None
            assert set(line.facts) == set(given)
            assert all(value in line.text for value in line.facts.values())
    assert offer_line(compose_message(Brief(product="x"))) is None


def test_claims_need_evidence_and_language_holds():
    brief = msgspec.structs.replace(
        ENGLISH, claims=(Claim(text="tested on 40 roads", evidence="report 7"), Claim(text="the best"))
    )
    text = " ".join(line.text for line in write_script(work_of(brief), 60, legal=True).lines)
    assert "Tested on 40 roads." in text
    assert "best" not in text


@pytest.mark.parametrize(
    ("style", "tone", "moods"),
    [
        (Style(energy="calm"), "", {"calm", "warm"}),
        (Style(energy="lively"), "", {"bright", "driving"}),
        (None, "", {"warm", "bright"}),
        (None, "tranquila e serena", {"calm"}),
        (None, "moderno, tecnológico", {"driving"}),
    ],
)
def test_the_music_fits_the_tone(style, tone, moods):
    brief = msgspec.structs.replace(SHOES, style=style, tone=tone)
    assert {mood_of(work_of(brief, seed)) for seed in (2, 3)} == moods


def test_captions_hold_every_word_once_and_are_short():
    text = "Um convite simples: veja o tênis de corrida, faça as suas perguntas e decida no seu tempo."
    cues = cues_of([(text, 1.0, 7.0), ("Saiba <mais> & já.", 7.5, 9.0)], longest=32)
    assert " ".join(cue.text for cue in cues) == f"{text} Saiba <mais> & já."
    assert all(len(cue.text) <= 32 for cue in cues)
    assert all(one.end <= two.start for one, two in pairwise(cues))
    assert (cues[0].start, cues[-1].end) == (1.0, 9.0)
    assert not any(cue.text.split()[-1] in ("o", "de", "as", "e") for cue in cues)
    page = vtt(cues, "pt-BR")
    assert page.startswith("WEBVTT")
    assert "&lt;mais&gt; &amp; já" in page
    assert read_vtt(page) == cues
    assert cues_of([("Pneumoultramicroscopicossilicovulcanoconiótico", 0, 1)], longest=20)[0].end == 1
