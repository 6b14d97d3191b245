"""What people write, in Portuguese, where nothing is for sale: of programmes, computers, news, hotels and their day.

Clauses for :mod:`arauto.edge.generate`, composed of ``data/pt-talk.toml``: nouns and verbs that are an opinion by
themselves, in frames, denied or not, and whole things that happen.
"""

from __future__ import annotations

import random
import tomllib
from importlib import resources

import msgspec

PLACES = ("pc", "tv", "news", "book", "place")
_PRAISED = {"pc": 0.42, "tv": 0.5, "news": 0.45, "book": 0.6, "place": 0.55}
"""The share of positive texts among those with an opinion."""
_FRAMES = (
    "que {name}",
    "que {name}",
    "{name}",
    "{thing} é {name}",
    "só {name}",
    "{thing}: {name}",
    "quanto {name}",
    "é muito {name}",
    "{thing} virou {name}",
    "uma {name}",
    "um {name}",
    "{name} demais",
    "{name} total",
)
_OF = ("{thing} cheio de {name}", "tanto {name}", "mais {name}", "com {name}", "com muito {name}")
_WITHOUT = ("sem {name}", "chega de {name}", "nada de {name}", "nenhum {name}")
_ADDED = ("", "", "", "", " demais", " muito", " sempre", " de novo", " hoje", " mesmo", " de verdade", " pra caramba")
_CALLS = ("gente", "mano", "cara", "meu deus", "nossa", "aff", "olha", "sério", "pqp", "poxa", "ai", "eita", "vixe")


class _Words(msgspec.Struct, frozen=True):
    names: dict[str, str]
    acts: dict[str, str]
    things: dict[str, str]
    happens: dict[str, str]


def _split(text: str) -> list[str]:
    return [item.strip() for line in text.strip().splitlines() for item in line.split("|")]


class Talk:
    """Composes clauses with an opinion: 1 or -1."""

    def __init__(self, rng: random.Random) -> None:
        raw = resources.files("arauto.edge").joinpath("data/pt-talk.toml").read_text("utf-8")
        words = msgspec.convert(tomllib.loads(raw), _Words)
        self._rng, self._pick = rng, rng.choice
        signs = {1: "good", -1: "bad"}
        self._names = {sign: _split(words.names[name]) for sign, name in signs.items()}
        self._acts = {sign: _split(words.acts[name]) for sign, name in signs.items()}
        self._happens = {sign: _split(words.happens[name]) for sign, name in signs.items()}
        self._things = {place: _split(words.things[place]) for place in PLACES}
        # Of the bare verbs a denial turns the sense: "não funciona", "não mente".
        self._bare = {
            sign: [act for act in acts if " " not in act and act.endswith(("a", "e"))]
            for sign, acts in self._acts.items()
        }

    def sign(self, place: str) -> int:
        """Whether a text about ``place`` praises: 1 or -1."""
        return 1 if self._rng.random() < _PRAISED[place] else -1

    def clauses(self, sign: int, place: str) -> list[str]:
        """One to three clauses of that sign."""
        rng = self._rng
        found = [self._clause(sign, place) for _ in range(rng.choices((1, 2, 3), (6, 4, 2))[0])]
        if rng.random() < 0.15:
            found[0] = f"{self._pick(_CALLS)} {found[0]}"
        return found

    def _clause(self, sign: int, place: str) -> str:
        rng = self._rng
        thing = self._pick(self._things[place])
        chance = rng.random()
        if chance < 0.38:
            return self._pick(self._happens[sign])
        if chance < 0.62:
            frame = self._pick(_FRAMES if rng.random() < 0.75 else _OF)
            return frame.format(name=self._pick(self._names[sign]), thing=thing)
        if chance < 0.68:
            return self._pick(_WITHOUT).format(name=self._pick(self._names[-sign]))
        act = self._pick(self._acts[sign])
        if chance < 0.78:
            act = f"não {self._pick(self._bare[-sign])}"
        return f"{thing} {act}{self._pick(_ADDED)}" if rng.random() < 0.8 else act
