"""Captions: what is said, in pieces short enough to read, as cues and as a WebVTT file (W3C)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from arauto.core.brief import Language

LINE = 36
"""Characters in a piece, at most; one long word may be longer."""


class Cue(msgspec.Struct, frozen=True):
    """``text`` is on the screen from ``start`` to ``end``, in seconds."""

    start: float
    end: float
    text: str


def cues_of(lines: Sequence[tuple[str, float, float]], *, longest: int = LINE) -> list[Cue]:
    """Each ``(text, start, end)`` cut at clauses and words; a piece is shown in proportion to its length."""
    cues: list[Cue] = []
    for text, start, end in lines:
        pieces = _pieces(text, longest)
        total = sum(len(piece) for piece in pieces)
        at = start
        for piece in pieces:
            until = at + (end - start) * len(piece) / total
            cues.append(Cue(round(at, 3), round(until, 3), piece))
            at = until
    return cues


def vtt(cues: Sequence[Cue], language: Language) -> str:
    """The file."""
    blocks = [f"{_clock(cue.start)} --> {_clock(cue.end)}\n{_escaped(cue.text)}\n" for cue in cues]
    return "\n".join([f"WEBVTT\nLanguage: {language}\n", *blocks])


def read_vtt(text: str) -> list[Cue]:
    """The cues of a file that :func:`vtt` wrote."""
    cues = []
    for start, end, said in re.findall(r"^([\d:.]+) --> ([\d:.]+)\n((?:.+\n?)+)", text, re.MULTILINE):
        plain = said.strip().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        cues.append(Cue(_seconds(start), _seconds(end), plain))
    return cues


def _pieces(text: str, longest: int) -> list[str]:
    """Sentences, halved at the best place while they are too long."""
    out: list[str] = []
    for sentence in re.split(r"(?<=[.!?…:])\s+", text.strip()):
        out += _halved(sentence, longest)
    return out


def _halved(text: str, longest: int) -> list[str]:
    if len(text) <= longest or " " not in text:
        return [text]
    middle = len(text) / 2
    places = [found.start() for found in re.finditer(" ", text)]

    def cost(place: int) -> float:
        word = text[:place].rpartition(" ")[2]
        # After a comma, rather; not after "de" or "to", which lean on what follows.
        lean = len(text) * 0.2 if len(word) <= 3 and word.isalpha() else 0.0
        return abs(place - middle) + lean - (len(text) * 0.18 if word.endswith((",", ";", "–", "—")) else 0.0)

    best = min(places, key=cost)
    return [*_halved(text[:best], longest), *_halved(text[best + 1 :], longest)]


def _clock(seconds: float) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}.{thousandths:03}"


def _seconds(clock: str) -> float:
    hours, minutes, rest = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
