"""The slot writer always has enough to say, and says nothing that the brief does not."""

import re

import pytest

from arauto.core.brief import Brief
from arauto.core.campaign import Copy, Origin
from arauto.creative import (
    Ask,
    SlotEngine,
    check_copy,
    compose_message,
    has_errors,
    too_similar,
    understand,
    write_slots,
)
from arauto.creative.slots import slot_copies

from .briefs import ENGLISH, ENGLISH_BRIEFS, PORTUGUESE_BRIEFS, README_WORDS, SHOES


@pytest.mark.parametrize("brief", [*PORTUGUESE_BRIEFS, *ENGLISH_BRIEFS], ids=lambda brief: brief.product)
@pytest.mark.parametrize("seed", range(5))
def test_six_distinct_variants_of_any_brief(brief, seed):
    result = write_slots(brief, 6, seed)
    assert len(result.accepted) == 6
    copies = [copy for copy, _ in result.accepted]
    for place, copy in enumerate(copies):
        assert not has_errors(check_copy(copy, brief))
        assert not too_similar(copy, copies[:place])


def test_the_same_seed_gives_the_same_variants():
    assert write_slots(SHOES, 4, 7).accepted == write_slots(SHOES, 4, 7).accepted
    assert write_slots(SHOES, 4, 7).accepted != write_slots(SHOES, 4, 8).accepted


def test_at_least_twelve_angles_need_no_more_than_a_full_brief():
    for brief in (SHOES, ENGLISH, understand(README_WORDS)):
        assert len({row.angle for row, _ in slot_copies(brief, compose_message(brief), 0)}) >= 12


def test_a_name_of_unknown_gender_gets_no_article():
    for _, copy in slot_copies(Brief(product="Aurora X2"), compose_message(Brief(product="Aurora X2")), 0):
        for article in ("o", "a", "os", "as", "do", "da", "no", "na", "seu", "sua"):
            assert not re.search(rf"\b{article} Aurora", f"{copy.title}\n{copy.description}", re.IGNORECASE)


def test_plural_products_get_plural_words():
    brief = Brief(product="cursos de inglês")
    said = " ".join(copy.description for _, copy in slot_copies(brief, compose_message(brief), 0))
    assert "os cursos de inglês acompanham" in said
    assert "o cursos" not in said


def test_prices_and_deadlines_only_with_an_offer():
    def said(brief):
        return [f"{copy.title} {copy.description}" for _, copy in slot_copies(brief, compose_message(brief), 0)]

    assert any("R$ 399,90" in text for text in said(SHOES))
    assert any("30/11/2026" in text for text in said(SHOES))
    assert not any(
        "R$" in text or "desconto" in text or "até" in text for text in said(Brief(product="tênis de corrida"))
    )


def test_ages_stand_in_the_picture_and_nowhere_else():
    brief = understand(README_WORDS)
    copies = [copy for _, copy in slot_copies(brief, compose_message(brief), 0)]
    assert any("25 a 40 anos" in copy.image_suggestion for copy in copies)
    assert not any("anos" in copy.title + copy.description for copy in copies)
    assert all(copy.image_suggestion.endswith("com destaque para monitoramento de batimentos") for copy in copies)


def test_a_personal_attribute_is_not_an_audience_to_name():
    brief = Brief(product="chá", audience="idosos com diabetes")
    assert not any(
        "idosos" in copy.title + copy.description for _, copy in slot_copies(brief, compose_message(brief), 0)
    )


def test_a_brief_that_breaks_the_rules_is_reported_not_passed_on():
    brief = Brief(product="o melhor chá que cura", benefits=("cura insônia",), words_to_avoid=("chá",))
    result = write_slots(brief, 4)
    assert result.accepted == ()
    assert {finding.rule for refusal in result.refused for finding in refusal.findings} >= {"TXT-AVOID", "BR-08"}
    assert result.attempts == len(result.refused)


def test_the_report_is_plain_data():
    report = write_slots(SHOES, 2).report()
    assert report["attempts"] >= 2
    copy, origin = report["accepted"][0]
    assert set(copy) == {"title", "description", "image_suggestion"}
    assert origin["engine"] == "slot"
    assert len(origin["prompt_sha256"]) == 64


async def test_as_an_engine_it_takes_its_sentences_in_turn():
    engine = SlotEngine()
    asks = [Ask(brief=SHOES, message=compose_message(SHOES), turn=turn) for turn in range(5)]
    copies = [(await engine.write(ask)).copy for ask in asks]
    assert len({copy.title for copy in copies}) == 5
    assert (await engine.write(asks[0])).copy == copies[0]
    await engine.close()
    assert isinstance(copies[0], Copy)
    assert Origin(engine=engine.name).engine == "slot"
