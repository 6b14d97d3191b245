"""What a language model is asked, and how its answer becomes a draft.

Facts never pass through the model (architecture, decision 6): it is given the names of slots, such as ``{price}``, and
code fills them. An engine that only reads words is told its angle in the last line. A guided one, small and decoding
under a grammar, is not: it gets patterns instead, for it repeats the words it is told. Nor is it given slots: it puts
them where they say something false ("the price includes a discount of {was}"); the page prints the facts beside it.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from arauto.core.brief import Brief, Language, Message, Style
from arauto.core.campaign import Copy
from arauto.creative.portuguese import forms_of, noun_of
from arauto.creative.types import Ask, UnreadableAnswer

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "minLength": 1},
        "description": {"type": "string", "minLength": 1},
        "image_suggestion": {"type": "string", "minLength": 1},
    },
    "required": ["title", "description", "image_suggestion"],
    "additionalProperties": False,
}
"""No ``maxLength``: a constrained decoder would cut the text in the middle of a word. Length is checked afterwards."""

MAX_TOKENS = 220
FACT_SLOTS = ("brand", "price", "was", "discount", "deadline")

# A slot, with the sign that a model likes to write beside it: the fact brings its own.
_SLOT = re.compile(r"(?:(?:R\$|US\$|\$|€|£)\s?)?\{(\w+)\}(?:\s?%)?")
_QUOTES = "\"'“”‘’«»"


class Prompt(msgspec.Struct, frozen=True):
    """The messages of a chat, the schema of the answer, and the hash of both (provenance)."""

    messages: tuple[dict[str, str], ...]
    schema: dict[str, Any]
    sha256: str


def make_prompt(ask: Ask, *, guided: bool = False) -> Prompt:
    """The chat that asks for one draft; ``guided`` for an engine that decodes under a grammar.

    The messages of a guided prompt are the same for every draft of a brief, so that a local engine reads them once.
    """
    words = prompt_words(ask.brief.language)
    messages = [{"role": "system", "content": words["system"].strip()}]
    slots = [] if guided else _slots(ask.message)
    for example in _examples(words, slots):
        messages.append({"role": "user", "content": _request(words, example, guided=guided)})
        messages.append({"role": "assistant", "content": _answer(example)})
    messages.append({"role": "user", "content": _request(words, _fields(ask, slots), guided=guided)})
    schema = guided_schema(ask) if guided else SCHEMA
    digest = hashlib.sha256(msgspec.json.encode((messages, schema))).hexdigest()
    return Prompt(tuple(messages), schema, digest)


def read_answer(text: str, message: Message) -> Copy:
    """The copy that a model answered, with its slots filled from ``message``.

    Raises:
        UnreadableAnswer: when it is not the JSON that was asked for, or names a slot that has no fact.
    """
    try:
        copy = msgspec.json.decode(_unfence(text), type=Copy)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise UnreadableAnswer("the answer is not the JSON object that was asked for") from None
    facts = {name: str(getattr(message, name)) for name in FACT_SLOTS}
    return Copy(
        title=_tidy(_fill(copy.title, facts)).rstrip("."),
        description=_tidy(_fill(copy.description, facts)),
        image_suggestion=_tidy(_fill(copy.image_suggestion, facts)).rstrip("."),
    )


@cache
def prompt_words(language: Language) -> dict[str, Any]:
    """The rows of ``data/prompts.toml`` for a language."""
    text = resources.files("arauto.creative").joinpath("data", "prompts.toml").read_text("utf-8")
    rows: dict[str, Any] = tomllib.loads(text)[language]
    return rows


def guided_schema(ask: Ask) -> dict[str, Any]:
    """:data:`SCHEMA` with a pattern for each text, for an engine that decodes under a grammar.

    A small model writes better when its first words are given: an opening of the angle, with the article that agrees
    with the product. The patterns end just past the limits of :mod:`checks`, so that a text that was cut is refused.
    """
    brief, words = ask.brief, prompt_words(ask.brief.language)
    angle, phrase = _angle(ask), r'[^"\\{}.!?:]'
    patterns = {
        "title": _agreeing(angle["title"], brief).replace("~", phrase) or f"{phrase}{{8,60}}[?]?",
        "description": _agreeing(angle["text"], brief) + r'[^"\\{}]{20,170}\.',
        "image_suggestion": f"({words['pictures']}) {phrase}{{20,250}}",
    }
    return {**SCHEMA, "properties": {name: {"type": "string", "pattern": f"^{patterns[name]}$"} for name in patterns}}


def _agreeing(template: str, brief: Brief) -> str:
    """``template`` with the product and the words that agree with it; empty when agreement cannot be told."""
    noun = noun_of(brief.product) if brief.language == "pt-BR" else None
    values = {**(forms_of(noun) if noun else {}), "product": _escape(brief.product)}
    names = re.findall(r"<(\w+)>", template)
    if any(name not in values for name in names):
        return ""
    return re.sub(r"<(\w+)>", lambda match: values[match[1]], template)


def _angle(ask: Ask) -> dict[str, str]:
    angles: list[dict[str, str]] = prompt_words(ask.brief.language)["angles"]
    return angles[(ask.seed + ask.turn) % len(angles)]


def _escape(text: str) -> str:
    """``text`` inside a pattern of the grammar: its marks escaped, what a JSON string would have to escape left out."""
    return re.sub(r"([\\.\[\](){}*+?^$|/-])", r"\\\1", re.sub(r"[\"\\]", "", text))


def _examples(words: Mapping[str, Any], slots: list[str]) -> list[dict[str, str]]:
    """Two examples, for each costs seconds of reading; one shows slots only when there are some, or they are copied."""
    plain: list[dict[str, str]] = words["examples"]
    return [plain[0], words["facts"][0]] if slots else plain


def _slots(message: Message) -> list[str]:
    return [f"{{{name}}}" for name in FACT_SLOTS if getattr(message, name)]


def _fields(ask: Ask, slots: list[str]) -> dict[str, str]:
    brief: Brief = ask.brief
    style = brief.style or Style()
    return {
        "product": brief.product,
        "description": brief.description[:300],
        "focus": brief.focus,
        "benefits": "; ".join(brief.benefits[:4]),
        "audience": brief.audience,
        "tone": _tone(brief),
        "use": ", ".join(style.words_to_use[:10]),
        "past": " / ".join(style.examples[:3]),
        "image_hint": brief.image_hint,
        "avoid": ", ".join(brief.words_to_avoid[:10]),
        "slots": ", ".join(slots),
        "angle": _angle(ask)["say"],
    }


def _tone(brief: Brief) -> str:
    """The tone in words: what the brief says, and the controls of its style that are not at rest."""
    if brief.style is None:
        return brief.tone
    style, known = brief.style, prompt_words(brief.language)["style"]
    set_ = (known.get(control, "") for control in (style.formality, style.energy, style.reading_level))
    return ", ".join(part for part in (brief.tone, style.voice, *set_) if part)


def _request(words: Mapping[str, Any], fields: Mapping[str, str], *, guided: bool) -> str:
    names = (
        "product",
        "description",
        "focus",
        "benefits",
        "audience",
        "tone",
        "use",
        "past",
        "image_hint",
        "avoid",
        "slots",
    )
    told = names if guided else (*names, "angle")
    return "\n".join(f"{words[name]}: {fields[name]}" for name in told if fields.get(name))


def _answer(example: Mapping[str, str]) -> str:
    copy = {"title": example["title"], "description": example["text"], "image_suggestion": example["image"]}
    return msgspec.json.encode(copy).decode()


def _unfence(text: str) -> str:
    """The JSON object inside an answer: models without a schema like to wrap it in a fence or a greeting."""
    start, end = text.find("{"), text.rfind("}")
    return text[start : end + 1] if 0 <= start < end else text


def _fill(text: str, facts: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        fact = facts.get(match[1], "")
        if not fact:
            raise UnreadableAnswer(f"the answer uses the slot {match[0]}, for which the brief has no fact")
        return fact

    return _SLOT.sub(value, text)


def _tidy(text: str) -> str:
    """Blanks made single, outer quotation marks off: nothing that changes what is said."""
    text = " ".join(text.split())
    if len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES:
        text = text[1:-1].strip()
    return text
