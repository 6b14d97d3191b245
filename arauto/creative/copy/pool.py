"""Many sentences of each kind for one brief: written by rows and by an engine, checked, ranked, the distinct ones kept.

The rank of a sentence adds four parts, each 0 to 1: how well it reads (no crowding, no repetition), how much of the
brief it says, how well it suits the style, and, when there is one, what a reward model makes of it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

import msgspec

from arauto.core.brief import Brief, Message, Style
from arauto.core.campaign import Copy
from arauto.core.door import from_data
from arauto.core.kit import Finding
from arauto.creative.checks import check_copy
from arauto.creative.slots import fill, slot_facts
from arauto.creative.words import FUNCTION_WORDS, folded_words

Reward = Callable[[str], float]
"""A reward model: how good a text is for the brief's goal, 0 to 1."""

_ALIKE = 0.6
# What a kind of sentence is as a copy, so that the same rules read it.
_TITLES = ("headline", "subject", "push", "hero", "hook")
_OF_COPIES = ("headline", "hero", "line", "body", "lead")
_SILENT = ("LEN-TITLE", "LEN-DESCRIPTION", "LEN-IMAGE", "LEN-SHORT", "TXT-TOPIC", "IMG-SCENE", "IMG-WORDS")


class Sentence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A row of ``data/copy.toml``."""

    kinds: tuple[str, ...] = msgspec.field(name="for")
    needs: tuple[str, ...]
    text: str
    plain: str = ""
    suits: tuple[str, ...] = ()


class Candidate(NamedTuple):
    """A sentence that passed, and its rank (higher is better)."""

    text: str
    rank: float
    engine: str


class Pool:
    """The sentences of one brief. ``copies`` are texts of an engine that passed the checks; ``reward`` is optional."""

    def __init__(
        self,
        brief: Brief,
        message: Message,
        copies: Sequence[Copy] = (),
        engine: str = "slot",
        reward: Reward | None = None,
    ) -> None:
        self.brief = brief
        self.message = message
        self._copies = copies
        self._engine = engine
        self._reward = reward
        self._meant = set(folded_words(" ".join((brief.product, brief.focus, *brief.benefits)))) - FUNCTION_WORDS
        self._facts = [fact for fact in (message.price, message.discount, message.deadline, message.brand) if fact]

    def best(self, kind: str, limit: int, most: int, *, apart: Iterable[str] = ()) -> list[Candidate]:
        """At most ``most`` sentences of ``kind`` with at most ``limit`` characters, the best first, no two alike.

        What is in ``apart`` is not said again.
        """
        candidates = [one for one in self._passed(kind) if len(one.text) <= limit]
        kept: list[Candidate] = []
        taken = [_triples(text) for text in apart]
        for one in sorted(candidates, key=lambda candidate: -candidate.rank):
            triples = _triples(one.text)
            if all(_likeness(triples, other) < _ALIKE for other in taken):
                kept.append(one)
                taken.append(triples)
            if len(kept) == most:
                break
        return kept

    def ordered(self, copies: Sequence[Copy]) -> tuple[Copy, ...]:
        """The copies, those first that say most of the brief in few words; equal ones as they came."""

        named = set(folded_words(f"{self.brief.product} {self.message.brand}"))
        offered = [fact for fact in (self.message.price, self.message.discount) if fact]

        def news(text: str) -> float:
            """What a text says besides the name."""
            said = set(folded_words(text)) & self._meant - named
            return min(1.0, len(said) / 3) + (0.6 if any(fact in text for fact in offered) else 0.0) + _fluency(text)

        def telling(copy: Copy) -> float:
            return news(copy.title) + 0.5 * news(copy.description)

        return tuple(sorted(copies, key=telling, reverse=True))

    def _passed(self, kind: str) -> Iterable[Candidate]:
        seen: set[str] = set()
        for place, (text, suits, engine) in enumerate(self._written(kind)):
            key = text.casefold()
            if not text or key in seen:
                continue
            seen.add(key)
            if not any(finding.severity == "error" for finding in check_text(text, kind, self.brief, self.message)):
                yield Candidate(text, self._rank(text, suits, place), engine)

    def _written(self, kind: str) -> Iterable[tuple[str, tuple[str, ...], str]]:
        facts = slot_facts(self.brief, self.message)
        facts["action"] = self.message.call_to_action
        for row in _rows(self.brief.language):
            if kind in row.kinds and all(facts.get(need) for need in row.needs):
                yield fill(row.text, facts) or fill(row.plain, facts), row.suits, "slot"
        for copy in self._copies if kind in _OF_COPIES else ():
            yield (copy.title if kind in _TITLES else copy.description), (), self._engine

    def _rank(self, text: str, suits: tuple[str, ...], place: int) -> float:
        said = set(folded_words(text)) - FUNCTION_WORDS
        style = self.brief.style or Style()
        relevance = len(said & self._meant) / max(1, min(4, len(self._meant)))
        factual = sum(fact in text for fact in self._facts) / 2
        liked = sum(word.casefold() in text.casefold() for word in style.words_to_use)
        wanted = {style.formality, style.energy, style.reading_level}
        suited = 0.3 if wanted & set(suits) else -0.2 if suits and wanted & _OPPOSITE[suits[0]] else 0.0
        rank = _fluency(text) + min(1.0, relevance) + min(1.0, factual) + 0.4 * min(2, liked) + suited - 0.01 * place
        return rank + (self._reward(text) if self._reward else 0.0)


def check_text(text: str, kind: str, brief: Brief, message: Message) -> list[Finding]:
    """What the rules of a text variant find in one sentence; lengths are the placement's to judge."""
    title = kind in _TITLES
    copy = Copy(title=text if title else "", description="" if title else text, image_suggestion="")
    field = "title" if title else "description"
    found = check_copy(copy, brief, message)
    return [one for one in found if one.field == field and one.rule not in _SILENT]


_OPPOSITE = {
    "lively": {"calm"}, "calm": {"lively"}, "casual": {"formal"}, "formal": {"casual"}, "rich": {"simple"},
    "simple": {"rich"},
}  # fmt: skip


def _fluency(text: str) -> float:
    """1 for a sentence of some words of ordinary length without repetition, less for the others."""
    found = folded_words(text)
    if not found:
        return 0.0
    repeated = 1 - len(set(found)) / len(found)
    colons = max(0, text.count(":") + text.count(",") - 2)
    return max(0.0, 1.0 - 2 * repeated - 0.2 * colons - (0.3 if len(found) < 2 else 0.0))


def _triples(text: str) -> set[str]:
    line = f" {' '.join(folded_words(text))} "
    return {line[place : place + 3] for place in range(len(line) - 2)}


def _likeness(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


@cache
def _rows(language: str) -> tuple[Sentence, ...]:
    text = resources.files("arauto.creative").joinpath("data", "copy.toml").read_text("utf-8")
    return tuple(from_data(tomllib.loads(text)[language], list[Sentence]))
