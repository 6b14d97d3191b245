"""The texts that the shipped model learns from: composed, by a seed, of words and phrases written for this project.

A text is one to five clauses of its label's polarity (an opposite one may stand before "but" or after "despite", where
it does not decide), with questions and statements that hold no opinion in between, spelt as people in a hurry spell.
No text of anybody else is in it; what it lacks of real language shows when the model is measured on real texts.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Literal

import msgspec

from arauto.edge.talk import PLACES, Talk

Label = Literal[-1, 0, 1]
LANGUAGES = ("pt", "en")
_NOT = {"pt": ("não", "nunca", "nem", "não mesmo,"), "en": ("not", "never", "hardly", "not at all")}
_NO = {
    "pt": ("sem", "nenhum", "não tive", "não deu", "zero", "nunca tive"),
    "en": ("no", "without", "no", "zero", "never had"),
}
_MISSING = {
    "pt": ("sem", "falta", "faltou", "nenhuma", "zero", "falta de"),
    "en": ("no", "lacks", "lack of", "without any", "zero"),
}
_IS = {
    "pt": ("é", "está", "era", "foi", "ficou", "parece", "continua", "achei", "veio"),
    "en": ("is", "was", "seems", "looks", "feels", "turned out"),
}
_POSITIVE = {"shop": 0.47, "phone": 0.55, "book": 0.66, "food": 0.64, "talk": 0.47}
"""The share of positive texts among those with an opinion: people praise books and dinners more often than parcels."""
_TALKED = 0.35
"""The share of Portuguese texts that are not about something bought."""
_CONTRACT = re.compile(r"\b(de|por|em) ([oa])\b")
_CONTRACTED = {"de": "d", "por": "pel", "em": "n"}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Example(msgspec.Struct, frozen=True):
    """A text and its label; ``corpus`` says where it is from."""

    text: str
    label: int
    corpus: str = ""


class _Lexicon(msgspec.Struct, frozen=True):
    adjectives: dict[str, str]
    nouns: dict[str, str]
    verbs: dict[str, str]
    phrases: dict[str, str]
    glue: dict[str, str]


def _split(text: str) -> list[str]:
    return [item.strip() for line in text.strip().splitlines() for item in line.split("|")]


def generate(count: int, seed: int, languages: tuple[str, ...] = LANGUAGES) -> Iterator[Example]:
    """``count`` labelled texts, the same for the same seed; Portuguese twice as often as English."""
    writers = [_Writer(language, random.Random(f"{seed}/{language}")) for language in languages]  # noqa: S311
    for place in range(count):
        writer = writers[0] if place % 3 else writers[-1]
        yield writer.example()


class _Writer:
    """Composes texts in one language."""

    def __init__(self, language: str, rng: random.Random) -> None:
        raw = resources.files("arauto.edge").joinpath(f"data/{language}.toml").read_text("utf-8")
        lexicon = msgspec.convert(tomllib.loads(raw), _Lexicon)
        self._language, self._rng = language, rng
        self._talk = Talk(rng) if language == "pt" else None
        self._pick = rng.choice
        self._adjectives = {1: _split(lexicon.adjectives["positive"]), -1: _split(lexicon.adjectives["negative"])}
        self._plain = _split(lexicon.adjectives["neutral"])
        kinds = ("shop", "phone", "book", "food", "talk")
        self._nouns = {kind: _split(lexicon.nouns[kind]) for kind in kinds}
        self._kinds = ("shop", "shop", *kinds)
        self._problems, self._virtues = _split(lexicon.nouns["problems"]), _split(lexicon.nouns["virtues"])
        verbs = {name: _split(text) for name, text in lexicon.verbs.items()}
        self._feels = {1: verbs["love"], -1: verbs["hate"]}
        self._does = {1: verbs["does_well"], -1: verbs["does_ill"]}
        named = {1: "positive", -1: "negative", 0: "neutral"}
        self._phrases = {label: _split(lexicon.phrases[name]) for label, name in named.items()}
        self._glue = {name: _split(text) for name, text in lexicon.glue.items()}
        self._short = {
            word: forms.split() for word, _, forms in (item.partition("=") for item in self._glue.pop("short"))
        }
        self._clauses: tuple[tuple[float, Callable[[int, str], str]], ...] = (
            (0.34, lambda sign, _: self._pick(self._phrases[sign])),
            (0.52, self._judged),
            (0.62, self._elliptic),
            (0.72, self._felt),
            (0.84, self._done),
            (0.93, self._denied),
            (1.0, lambda sign, _: self._adjective(sign, "o")),
        )

    def example(self) -> Example:
        """One text, labelled by how it was composed."""
        rng = self._rng
        if self._talk and rng.random() < _TALKED:
            return self._said(self._talk)
        kind = self._pick(self._kinds)
        label = 0 if rng.random() < 0.12 else 1 if rng.random() < _POSITIVE[kind] else -1
        clauses = self._opinion(label, kind) if label else [self._blank(kind) for _ in range(rng.choice((1, 1, 2, 3)))]
        text = self._join(clauses)
        if self._language == "pt" and rng.random() < 0.8:
            text = _CONTRACT.sub(lambda found: _CONTRACTED[found[1]] + found[2], text)
        if rng.random() < 0.14 and label:
            text += " " + self._pick(self._glue["happy" if label > 0 else "sad"])
        return Example(text=self._spell(text), label=label, corpus=f"generated-{self._language}")

    def _said(self, talk: Talk) -> Example:
        """A text as :mod:`arauto.edge.talk` composes them; one in three ends in a clause of the other kind."""
        rng, place = self._rng, self._pick(PLACES)
        label: Label = 1 if talk.sign(place) > 0 else -1
        clauses = talk.clauses(label, place)
        if rng.random() < 0.33:
            clauses.append(self._clause(label, "book" if place == "book" else "talk"))
        if rng.random() < 0.3:
            clauses.insert(rng.randrange(len(clauses) + 1), self._blank("talk"))
        text = self._join(clauses)
        if rng.random() < 0.2:
            text += " " + self._pick(self._glue["happy" if label > 0 else "sad"])
        return Example(text=self._spell(text), label=label, corpus="generated-pt-talk")

    def _opinion(self, label: int, kind: str) -> list[str]:
        rng = self._rng
        clauses = [self._clause(label, kind) for _ in range(rng.choices((1, 2, 3, 4, 5), (5, 5, 4, 2, 1))[0])]
        chance = rng.random()
        if chance < 0.10:
            clauses[0] = f"{self._clause(-label, kind)}, {self._pick(self._glue['but'])} {clauses[0]}"
            clauses.append(self._clause(label, kind))
        elif chance < 0.14:
            noun = self._pick(self._nouns[kind])
            clauses[-1] += f", {self._pick(self._glue['though'])} {noun} {self._adjective(-label, noun)}"
            clauses.append(self._clause(label, kind))
        if rng.random() < 0.3:
            clauses.insert(rng.randrange(len(clauses) + 1), self._blank(kind))
        return clauses

    def _clause(self, sign: int, kind: str) -> str:
        chance = self._rng.random()
        return next(make for limit, make in self._clauses if chance < limit)(sign, kind)

    def _judged(self, sign: int, kind: str) -> str:
        noun = self._pick(self._nouns[kind])
        parts = (self._pick(self._glue["openers"]), noun, self._pick(_IS[self._language]), self._strong(sign, noun))
        return " ".join(parts)

    def _elliptic(self, sign: int, kind: str) -> str:
        noun = self._pick(self._nouns[kind])
        bare = noun.split(" ", 1)[1]
        quality = self._strong(sign, noun)
        return f"{quality} {bare}" if self._rng.random() < 0.4 or self._language == "en" else f"{bare} {quality}"

    def _felt(self, sign: int, kind: str) -> str:
        return f"{self._pick(self._feels[sign])} {self._pick(self._nouns[kind])}"

    def _done(self, sign: int, kind: str) -> str:
        does = self._pick(self._does[sign])
        return f"{self._pick(self._nouns[kind])} {does}" if self._rng.random() < 0.7 else does

    def _denied(self, sign: int, kind: str) -> str:
        language, rng = self._language, self._rng
        if rng.random() < 0.5:
            if sign > 0:
                return f"{self._pick(_NO[language])} {self._pick(self._problems)}"
            return f"{self._pick(_MISSING[language])} {self._pick(self._virtues)}"
        noun = self._pick(self._nouns[kind])
        denied, verb = self._pick(_NOT[language]), self._pick(_IS[language][:4])
        order = (noun, denied, verb) if language == "pt" else (noun, verb, denied)
        if sign < 0:
            return " ".join((*order, self._strong(1, noun)))
        return " ".join((*order, self._adjective(-1, noun)))

    def _blank(self, kind: str) -> str:
        if self._rng.random() < 0.7:
            return self._pick(self._phrases[0])
        noun = self._pick(self._nouns[kind])
        return f"{noun} {self._pick(_IS[self._language])} {_agree(self._pick(self._plain), noun, self._language)}"

    def _strong(self, sign: int, noun: str) -> str:
        return f"{self._pick(self._glue['intensifiers'])} {self._adjective(sign, noun)}".strip()

    def _adjective(self, sign: int, noun: str) -> str:
        return _agree(self._pick(self._adjectives[sign]), noun, self._language)

    def _join(self, clauses: list[str]) -> str:
        text = clauses[0]
        for clause in clauses[1:]:
            mark = self._pick(self._glue["and"])
            text += f"{mark} {clause}" if mark in ".!," else f" {mark.lstrip()} {clause}"
        return text + self._pick(("", ".", "!", "!!!", "...", "", "."))

    def _spell(self, text: str) -> str:
        """As people in a hurry write: shortened, doubled, mistyped, or in capitals."""
        rng = self._rng
        hurry = rng.random() < 0.3
        typos = rng.choice((0, 0, 0, 0.03, 0.06))
        words = []
        for word in text.split():
            if hurry and rng.random() < 0.5 and (forms := self._short.get(word.lower())):
                word = rng.choice(forms)
            elif len(word) > 3 and word.isalpha() and rng.random() < typos:
                word = _mistype(word, rng)
            words.append(word)
        text = " ".join(words)
        chance = rng.random()
        if chance < 0.05:
            return text.upper()
        return text[:1].upper() + text[1:] if chance < 0.6 else text


def _agree(adjective: str, noun: str, language: str) -> str:
    """The adjective in the gender of a noun that stands with its article."""
    masculine, _, feminine = adjective.partition("/")
    if language != "pt" or not noun.startswith("a "):
        return masculine
    if feminine:
        return feminine
    first, space, rest = masculine.partition(" ")
    return (first[:-1] + "a" if first.endswith("o") and not first.startswith("lixo") else first) + space + rest


def _mistype(word: str, rng: random.Random) -> str:
    place = rng.randrange(len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:place] + word[place + 1 :]
    if kind == 1:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if kind == 2:
        return word[:place] + word[place] * 2 + word[place + 1 :]
    return word[:place] + rng.choice(_LETTERS) + word[place + 1 :]
