"""The prompt holds no fact, and the answer is read with care."""

import re

import pytest

from arauto.core.brief import Brief, Style
from arauto.creative import Ask, UnreadableAnswer, compose_message, understand
from arauto.creative.prompts import guided_schema, make_prompt, read_answer

from .briefs import ENGLISH, README_WORDS, SHOES


def ask(brief, turn=0):
    return Ask(brief=brief, message=compose_message(brief), turn=turn)


def test_facts_are_slots():
    text = str(make_prompt(ask(SHOES)).messages)
    assert "{price}" in text
    assert "{brand}" in text
    for fact in ("399", "599", "33%", "Passo Firme", "30/11"):
        assert fact not in text


def test_the_age_of_the_audience_is_not_told():
    assert "40" not in str(make_prompt(ask(understand(README_WORDS))).messages)


def test_drafts_share_all_but_the_last_line():
    first, second = (make_prompt(ask(SHOES, turn)) for turn in (0, 1))
    assert first.messages[:-1] == second.messages[:-1]
    assert first.messages[-1]["content"].splitlines()[:-1] == second.messages[-1]["content"].splitlines()[:-1]
    assert first.sha256 != second.sha256
    assert first.sha256 == make_prompt(ask(SHOES, 0)).sha256


def test_a_guided_prompt_is_read_once_and_differs_in_its_patterns():
    first, second = (make_prompt(ask(SHOES, turn), guided=True) for turn in (0, 1))
    assert first.messages == second.messages
    assert not any("{price}" in message["content"] for message in first.messages)
    assert first.schema != second.schema
    assert first.sha256 != second.sha256


def test_without_facts_no_example_shows_slots():
    assert "{" not in make_prompt(ask(Brief(product="chá"))).messages[2]["content"].replace('{"', "")
    assert not any("{price}" in message["content"] for message in make_prompt(ask(Brief(product="chá"))).messages)


def test_slots_are_filled_by_code():
    answer = (
        '{"title": "Por {price}", "description": "O tênis {brand} vai de {was} a {price}.",'
        ' "image_suggestion": "Rua  ao  sol"}'
    )
    copy = read_answer(f"Here you are:\n```json\n{answer}\n```", compose_message(SHOES))
    assert copy.title == "Por R$ 399,90"
    assert copy.description == "O tênis Passo Firme vai de R$ 599,90 a R$ 399,90."
    assert copy.image_suggestion == "Rua ao sol"


def test_a_sign_beside_a_slot_is_not_said_twice():
    answer = '{"title": "R$ {price}", "description": "Com {discount}% e R$ {was}.", "image_suggestion": "Rua ao sol"}'
    copy = read_answer(answer, compose_message(SHOES))
    assert (copy.title, copy.description) == ("R$ 399,90", "Com 33% e R$ 599,90.")


def test_outer_quotes_and_a_titles_full_stop_go():
    copy = read_answer(
        '{"title": "“Seu ritmo.”", "description": "\\"Um dia bom.\\"", "image_suggestion": "Rua ao sol."}',
        compose_message(SHOES),
    )
    assert (copy.title, copy.description, copy.image_suggestion) == ("Seu ritmo", "Um dia bom.", "Rua ao sol")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no",
        "[]",
        '{"title": "a"}',
        '{"title": 1, "description": "b", "image_suggestion": "c"}',
        '{"title": "a", "description": "b", "image_suggestion": "c", "more": "d"}',
        '{"title": "a", "description": "b {colour}", "image_suggestion": "c"}',
        '{"title": "{terms}", "description": "b", "image_suggestion": "c"}',
        "{" * 10_000 + "}" * 10_000,
    ],
)
def test_an_answer_that_is_no_copy(answer):
    with pytest.raises(UnreadableAnswer):
        read_answer(answer, compose_message(SHOES))


def test_a_slot_without_a_fact_is_unreadable():
    with pytest.raises(UnreadableAnswer, match="price"):
        read_answer(
            '{"title": "Por {price}", "description": "b", "image_suggestion": "c"}',
            compose_message(Brief(product="chá")),
        )


@pytest.mark.parametrize(
    ("brief", "opening"),
    [
        (SHOES, "Com o tênis de corrida, você "),
        (ENGLISH, "With the running shoes, you "),
        (Brief(product="assinatura de café"), "Com a assinatura de café, você "),
        (Brief(product='café "a+b" (1/2)'), r"Com o café a\+b \(1\/2\), você "),
        (Brief(product="Aurora X2"), ""),
    ],
)
def test_the_patterns_begin_with_words_that_agree(brief, opening):
    patterns = {name: value["pattern"] for name, value in guided_schema(ask(brief))["properties"].items()}
    assert patterns["description"].startswith(f"^{opening}[")
    for pattern in patterns.values():
        re.compile(pattern)
    sentence = opening.replace("\\", "") + "anda mais leve pelo bairro."
    assert re.fullmatch(patterns["description"], sentence)
    assert not re.fullmatch(patterns["description"], sentence[:-1])


def test_every_angle_has_patterns_that_compile():
    for brief in (SHOES, ENGLISH, Brief(product="Aurora X2")):
        seen = set()
        for turn in range(20):
            schema = guided_schema(ask(brief, turn))
            seen.add(schema["properties"]["title"]["pattern"])
            assert all(re.compile(value["pattern"]) for value in schema["properties"].values())
        assert len(seen) >= 2


def test_a_style_is_told_to_the_model():
    style = Style(
        voice="as a trainer", formality="casual", energy="lively", words_to_use=("rhythm",), examples=("Run. Rest.",)
    )
    brief = Brief(product="running shoes", language="en", tone="warm", style=style)
    told = make_prompt(ask(brief)).messages[-1]["content"]
    assert "Tone: warm, as a trainer, informal, lively" in told
    assert "rhythm" in told
    assert "Run. Rest." in told
