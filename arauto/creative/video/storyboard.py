"""The storyboard: from what is said, and when, to scenes: what is seen, the words on it, and which picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from arauto.core import i18n
from arauto.core.kit import KitWork
from arauto.creative.audio.captions import Cue
from arauto.creative.audio.render import Spoken
from arauto.creative.audio.script import phrases

Kind = Literal["hook", "body", "benefits", "claim", "offer", "close"]
Ground = Literal["brand", "deep", "tint", "paper"]

_BEFORE = 0.35
"""A picture changes this many seconds before its line begins: the eye is ready when the ear is."""


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """A text of a scene. ``part`` says how it is set, ``at`` when it comes, in seconds of the film."""

    part: Literal["headline", "small", "point", "was", "price", "badge", "note", "button", "link", "fine"]
    text: str
    at: float


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """One picture of the film, from ``start`` to ``end`` in seconds."""

    kind: Kind
    start: float
    end: float
    ground: Ground
    words: tuple[Words, ...]
    picture: int
    """Which of the pictures; also where the drawing stands."""


class Storyboard(msgspec.Struct, frozen=True, kw_only=True):
    """The whole film: scenes without gaps from 0 to ``seconds``, the captions over them, the name in the corner."""

    seconds: float
    scenes: tuple[Scene, ...]
    cues: tuple[Cue, ...]
    name: str


_GROUNDS: dict[Kind, Ground] = {
    "hook": "brand",
    "body": "tint",
    "benefits": "paper",
    "claim": "deep",
    "offer": "deep",
    "close": "brand",
}
_KINDS: dict[str, Kind] = {
    "hook": "hook",
    "body": "body",
    "benefit": "benefits",
    "claim": "claim",
    "offer": "offer",
    "legal": "offer",
    "close": "close",
}


def write_storyboard(
    work: KitWork, spoken: Sequence[Spoken], seconds: float, headline: str, cues: Sequence[Cue]
) -> Storyboard:
    """The storyboard of the lines ``spoken`` in a film of ``seconds``."""
    groups: list[tuple[Kind, list[Spoken]]] = []
    for item in spoken:
        kind = _KINDS[item.line.role]
        if groups and groups[-1][0] == kind:
            groups[-1][1].append(item)
        else:
            groups.append((kind, [item]))
    starts = [max(0.0, items[0].at - _BEFORE) for _, items in groups]
    starts[0] = 0.0
    ends = [*starts[1:], seconds]
    kinds = {kind for kind, _ in groups}
    scenes = [
        Scene(
            kind=kind,
            start=start,
            end=end,
            ground=_GROUNDS[kind],
            words=_noted(work, _words(work, kind, items, (start, end), headline, kinds), start),
            picture=place,
        )
        for place, ((kind, items), start, end) in enumerate(zip(groups, starts, ends, strict=True))
    ]
    name = work.message.brand or work.message.product
    return Storyboard(seconds=seconds, scenes=tuple(scenes), cues=tuple(cues), name=_capital(name))


def _noted(work: KitWork, words: list[Words], start: float) -> tuple[Words, ...]:
    """With the note, in every scene, that a model drew the picture: one small print with the scene's own."""
    if work.drawn_by is None:
        return tuple(words)
    note = i18n.say("kit.made_with_ai", work.message.language)
    own = [one for one in words if one.part == "fine"]
    text = " ".join([*(_sentence(one.text) for one in own), note])
    rest = [one for one in words if one.part != "fine"]
    return (*rest, Words(part="fine", text=text, at=own[0].at if own else start + 0.3))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _words(
    work: KitWork, kind: Kind, items: Sequence[Spoken], time: tuple[float, float], headline: str, kinds: set[Kind]
) -> list[Words]:
    start = time[0]
    if kind == "hook":
        return [Words(part="headline", text=headline, at=start + 0.15)]
    if kind == "body":
        return _body(work, time, kinds)
    if kind == "benefits":
        return [Words(part="point", text=item.line.text.rstrip("."), at=max(start, item.at - 0.1)) for item in items]
    if kind == "claim":
        return [Words(part="headline", text=items[0].line.text.rstrip("."), at=start + 0.3)]
    if kind == "offer":
        return _offer(work, start)
    return _close(work, start, offered="offer" in kinds)


def _body(work: KitWork, time: tuple[float, float], kinds: set[Kind]) -> list[Words]:
    """The product, and what it is about: its benefits one after the other, when they have no scene of their own."""
    start, end = time
    words = [Words(part="headline", text=_capital(work.message.product), at=start + 0.3)]
    fresh = [text for text in work.brief.benefits if not any(mark.isdigit() for mark in text)][:2]
    if "benefits" in kinds or not fresh or end - start < 3:
        small = work.brief.focus
        return [*words, Words(part="small", text=small, at=start + 0.55)] if small else words
    step = (end - start - 1.6) / len(fresh)
    return words + [
        Words(part="point", text=_capital(text.rstrip(".")), at=start + 0.9 + step * place)
        for place, text in enumerate(fresh)
    ]


def _offer(work: KitWork, start: float) -> list[Words]:
    message, say, words = work.message, phrases(work.message.language), []
    if message.was:
        words.append(Words(part="was", text=message.was, at=start + 0.3))
    if message.price:
        words.append(Words(part="price", text=message.price, at=start + 0.6))
    if message.discount:
        text = say["off"].format(discount=message.discount)
        words.append(Words(part="badge" if message.price else "price", text=text, at=start + 1.0))
    if message.deadline:
        words.append(Words(part="note", text=say["until"].format(deadline=message.deadline), at=start + 1.2))
    return words + [Words(part="fine", text=message.terms, at=start + 1.2)] * bool(message.terms)


def _close(work: KitWork, start: float, *, offered: bool) -> list[Words]:
    message, at = work.message, start + 0.3
    name = message.brand or message.product
    words = [Words(part="headline", text=_capital(name), at=at)]
    if message.brand:
        words.append(Words(part="small", text=message.product, at=at + 0.2))
    if message.price and not offered:
        words.append(Words(part="price", text=message.price, at=at + 0.3))
    words.append(Words(part="button", text=message.call_to_action, at=at + 0.5))
    if message.link:
        words.append(Words(part="link", text=host_of(message.link), at=at + 0.8))
    if message.disclaimers:
        words.append(Words(part="fine", text=" ".join(message.disclaimers), at=at))
    return words


def host_of(link: str) -> str:
    """What a film shows of a link: the host, without ``www.``."""
    return (urlsplit(link).hostname or "").removeprefix("www.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
