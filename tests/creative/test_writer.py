"""The writer keeps what passes, asks again for what fails, and reports it."""

import pytest

from arauto.core.campaign import Copy
from arauto.core.errors import EngineError
from arauto.creative import ScriptedEngine, UnreadableAnswer, Writer, understand, write_slots
from arauto.creative.slots import SlotEngine

from .briefs import README_WORDS, SHOES

WATCH = understand(README_WORDS)
GOOD = [copy for copy, _ in write_slots(WATCH, 8).accepted]
INVENTED = Copy(
    title="Batimentos por R$ 99",
    description="O smartwatch é grátis por 30 dias.",
    image_suggestion="Pessoa no parque ao sol",
)
ANSWER = (
    '{"title": "O seu coração no pulso", "description": "O smartwatch acompanha os batimentos.",'
    ' "image_suggestion": "Pessoa no parque ao sol"}'
)


async def test_what_fails_is_asked_for_again_and_reported():
    engine = ScriptedEngine([INVENTED, GOOD[0], "I cannot do that", GOOD[0], GOOD[1], ANSWER])
    result = await Writer(engine).write(WATCH, 3, seed=5)
    assert [copy.title for copy, _ in result.accepted] == [GOOD[0].title, GOOD[1].title, "O seu coração no pulso"]
    assert result.attempts == 6
    rules = [[finding.rule for finding in refusal.findings] for refusal in result.refused]
    assert {"FACT-NUMBER", "BR-04"} <= set(rules[0])
    assert rules[1] == ["TXT-UNREADABLE"]
    assert result.refused[1].copy is None
    assert rules[2] == ["TXT-TWIN"]
    assert result.seconds > 0


async def test_every_draft_has_a_seed_of_its_own_and_its_origin_says_it():
    engine = ScriptedEngine(GOOD[:3])
    result = await Writer(engine).write(WATCH, 3, seed=5)
    seeds = [origin.seed for _, origin in result.accepted]
    assert seeds == [ask.sampling_seed for ask in engine.asks]
    assert len(set(seeds)) == 3
    assert {(origin.engine, origin.model) for _, origin in result.accepted} == {("scripted", "script")}
    assert len({origin.prompt_sha256 for _, origin in result.accepted}) == 3


async def test_variants_of_before_count_as_known():
    result = await Writer(ScriptedEngine(GOOD[:4])).write(WATCH, 2, known=GOOD[:2])
    assert [copy for copy, _ in result.accepted] == GOOD[2:4]


async def test_the_attempts_are_bounded():
    result = await Writer(ScriptedEngine([INVENTED] * 100), attempts_each=3).write(WATCH, 2)
    assert (result.accepted, result.attempts, len(result.refused)) == ((), 6, 6)
    with pytest.raises(ValueError, match="at least 1"):
        Writer(ScriptedEngine([]), attempts_each=0)


async def test_a_copy_is_yielded_as_soon_as_it_has_passed():
    engine = ScriptedEngine(GOOD[:4])
    writing = Writer(engine).stream(WATCH, 3)
    seen = []
    async for copy, _ in writing:
        seen.append((copy, len(engine.asks), len(writing.result.accepted)))
    assert seen == [(GOOD[0], 1, 1), (GOOD[1], 2, 2), (GOOD[2], 3, 3)]


async def test_an_engine_that_cannot_be_used_ends_the_run_and_keeps_what_there_is():
    writing = Writer(ScriptedEngine([GOOD[0], EngineError("is down")])).stream(WATCH, 3)
    with pytest.raises(EngineError, match="is down"):
        async for _ in writing:
            pass
    assert [copy for copy, _ in writing.result.accepted] == [GOOD[0]]


async def test_an_answer_that_is_no_copy_costs_an_attempt():
    engine = ScriptedEngine([UnreadableAnswer("nothing"), GOOD[0]])
    assert len((await Writer(engine).write(WATCH, 1)).accepted) == 1


async def test_none_wanted_is_none_asked():
    engine = ScriptedEngine([])
    assert (await Writer(engine).write(WATCH, 0)).attempts == 0


async def test_the_slot_writer_behind_the_same_writer():
    result = await Writer(SlotEngine()).write(SHOES, 8)
    assert len(result.accepted) == 8


async def test_warnings_come_with_the_result():
    loud = Copy(
        title="O seu coração!",
        description="O smartwatch acompanha os batimentos.",
        image_suggestion="Pessoa no parque ao sol",
    )
    result = await Writer(ScriptedEngine([loud])).write(WATCH, 1)
    assert [finding.rule for finding in result.warnings] == ["ED-EXCLAMATION-TITLE"]
