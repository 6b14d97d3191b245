"""What is said in a spot and in a film: lines with a part to play, the facts of the Message in them filled by code."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, Literal

import msgspec

from arauto.core.brief import Language, Message, Style
from arauto.core.campaign import Copy
from arauto.core.kit import KitWork
from arauto.creative.audio.saying import word_count
from arauto.creative.sound.compose import Mood
from arauto.creative.words import fold

Role = Literal["hook", "body", "benefit", "claim", "offer", "legal", "close"]
WORDS_A_SECOND = 65 / 30
"""The most that a spot may say (Spotify Advertising: 65 words in 30 s)."""
BUMPER = 8.0
"""A film this short has one thought: the offer is shown with the call to action, not said."""
_OPTIONAL: tuple[Role, ...] = ("claim", "benefit", "body")
"""What is left out first when time is short."""
_FACTS = ("price", "was", "discount", "deadline")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to say. ``text`` is as printed in the captions; ``facts`` maps fields of the Message to their text."""

    role: Role
    text: str
    facts: dict[str, str] = {}


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """The lines in order, and the copy that they come from (its title is the headline)."""

    language: Language
    lines: tuple[Line, ...]
    headline: str


def write_script(work: KitWork, seconds: float, *, legal: bool) -> Script:
    """The script of a spot of about ``seconds``; ``legal`` says the terms and disclaimers aloud (a film shows them).

    Only whole lines are left out, the optional ones first; the offer, the terms and the call to action never are.
    """
    message, copy = work.message, _choose(work)
    headline = _unstopped(copy.title)
    lines = [Line(role="hook", text=_opening(headline, message))]
    if seconds <= BUMPER:
        return Script(language=message.language, lines=(*lines, _close(message)), headline=headline)
    if body := _body(copy, headline):
        lines.append(Line(role="body", text=body))
    lines += [Line(role="benefit", text=text) for text in _benefits(work, " ".join(line.text for line in lines))]
    lines += [Line(role="claim", text=_sentence(claim), facts={"claims": claim}) for claim in message.claims]
    if offer := offer_line(message):
        lines.append(offer)
    if legal:
        texts = [text for text in (message.terms, *message.disclaimers) if text]
        lines += [Line(role="legal", text=_sentence(text), facts={"disclaimers": text}) for text in texts]
    lines.append(_close(message))
    return Script(language=message.language, lines=_fit(lines, seconds, message), headline=headline)


def shorten(lines: Sequence[Line], message: Message) -> tuple[Line, ...]:
    """``lines`` without the one that is missed least, then with a shorter offer; the same when all are needed.

    What an offer leaves unsaid (the earlier price first) is still printed everywhere.
    """
    for role in _OPTIONAL:
        for line in reversed(lines):
            if line.role == role:
                return tuple(other for other in lines if other is not line)
    for fact in ("was", "discount"):
        for place, line in enumerate(lines):
            if line.role == "offer" and fact in line.facts and len(line.facts) > 1:
                shorter = offer_line(message, without=tuple(set(_FACTS) - set(line.facts) | {fact}))
                return (*lines[:place], shorter, *lines[place + 1 :]) if shorter else tuple(lines)
    return tuple(lines)


def mood_of(work: KitWork) -> Mood:
    """The music that fits the brief's energy and tone; the seed chooses among equals."""
    energy = (work.brief.style or Style()).energy
    tone = fold(f"{work.brief.tone} {work.brief.focus} {work.brief.product}")
    if re.search(r"\b(calm|tranquil|seren|relax|sereno|suave|gentle|sono|sleep|meditac)", tone):
        return "calm"
    if re.search(r"\b(tecnolog|technolog|modern|futur|game|gamer|intens|ousad|bold|adrenalin)", tone):
        return "driving"
    moods: dict[str, tuple[Mood, ...]] = {
        "calm": ("calm", "warm"),
        "balanced": ("warm", "bright"),
        "lively": ("bright", "driving"),
    }
    return moods[energy][work.seed % 2]


def offer_line(message: Message, without: Sequence[str] = ()) -> Line | None:
    """The offer in one sentence, but for the facts ``without``; None when there is none."""
    here = {name: str(getattr(message, name)) for name in _FACTS if getattr(message, name) and name not in without}
    for row in phrases(message.language)["offers"]:
        if set(row["facts"]) <= set(here):
            facts = {name: here[name] for name in row["facts"]}
            return Line(role="offer", text=row["say"].format(**facts), facts=facts)
    return None


@cache
def phrases(language: Language) -> dict[str, Any]:
    """The rows of ``data/script.toml`` for a language."""
    text = resources.files("arauto.creative").joinpath("data", "script.toml").read_text("utf-8")
    rows: dict[str, Any] = tomllib.loads(text)[language]
    return rows


def _choose(work: KitWork) -> Copy:
    """The first copy without figures in its title, one that names product or brand before one that does not."""
    names = [fold(name) for name in (work.message.brand, work.message.product) if name]

    def rank(copy: Copy) -> tuple[bool, bool, bool]:
        title, text = fold(copy.title), fold(copy.description)
        return any(mark.isdigit() for mark in title), any(m.isdigit() for m in text), not any(n in title for n in names)

    return min(work.copies, key=rank)


def _opening(headline: str, message: Message) -> str:
    """The hook, after the name of who speaks: it is heard in the first seconds."""
    name = message.brand or message.product
    return _sentence(headline) if fold(name) in fold(headline) else f"{_capital(name)}. {_sentence(headline)}"


def _body(copy: Copy, headline: str) -> str:
    """The sentences of the description that repeat neither figures nor the headline, 24 words at most."""
    kept: list[str] = []
    for sentence in re.split(r"(?<=[.!?…])\s+", copy.description.strip()):
        plain = fold(sentence).strip(" .!?")
        if any(mark.isdigit() for mark in sentence) or plain in fold(headline):
            continue
        if word_count(" ".join([*kept, sentence])) > 24:
            break
        kept.append(_sentence(sentence))
    return " ".join(kept)


def _benefits(work: KitWork, said: str) -> list[str]:
    fresh = [text for text in work.brief.benefits if fold(text).rstrip(".") not in fold(said) and not _figures(text)]
    return [_sentence(text) for text in fresh[:3]]


def _figures(text: str) -> bool:
    return any(mark.isdigit() for mark in text)


def _close(message: Message) -> Line:
    facts = {"call_to_action": message.call_to_action, "product": message.product}
    text = _sentence(message.call_to_action)
    if message.brand:
        return Line(role="close", text=f"{_sentence(message.brand)} {text}", facts={**facts, "brand": message.brand})
    return Line(role="close", text=f"{_sentence(message.product)} {text}", facts=facts)


def _fit(lines: list[Line], seconds: float, message: Message) -> tuple[Line, ...]:
    kept = tuple(lines)
    while sum(word_count(line.text) for line in kept) > seconds * WORDS_A_SECOND:
        fewer = shorten(kept, message)
        if fewer == kept:
            break
        kept = fewer
    return kept


def _sentence(text: str) -> str:
    text = _capital(text.strip())
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _unstopped(text: str) -> str:
    return text.strip().rstrip(".")
