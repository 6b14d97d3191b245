"""Text to hashed features: the same integers in Python and in JavaScript (``static/arauto-edge-core.js``), bit for bit.

Nothing here asks a Unicode database, whose versions differ between browsers: letters of Latin-1 and Latin Extended-A
are folded by the table below, and every other character above U+017F is a token by itself. Arithmetic is modulo 2³².

The hash of a token is FNV-1a over its code points (Fowler, Noll, Vo); a feature is that, or a combination of
neighbours', through the finaliser of MurmurHash3 (Appleby): its lowest bits name a row of the model's table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

MAX_CHARS = 2000
"""Code points of a text that are read; the rest is left aside."""
MAX_TOKENS = 400
_MAX_WORD = 24
_MASK = 0xFFFFFFFF
_FNV_START, _FNV_PRIME = 0x811C9DC5, 0x01000193
_GOLDEN = 0x9E3779B1
_SECOND, _THIRD, _CHARS, _NEGATED = 0x51ED270B, 0x2545F491, 0x6C8E9CF5, 0x3C6EF372

_LATIN = (
    "aaaaaaaceeeeiiiidnooooo ouuuuypsaaaaaaaceeeeiiiidnooooo ouuuuypy"  # U+00C0 to U+00FF
    "aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkklllllllll"  # U+0100 to U+0141
    "lnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs"  # U+0142 to U+017F
)
_TOKEN = re.compile(
    r"https?:[^ ]*|www\.[^ ]*|@[a-z0]+"  # who and where: no opinion, left out
    r"|<0|[:;=]-?[dpo](?![a-z])"  # hearts and faces that hold a letter or digit
    r"|[a-z]+|0+|[!-/:-@\[-`{-~]+|[^ ]"
)
_LONG = re.compile(r"([a-z])\1{2,}")
_REPEAT = re.compile(r"([!-/:-@\[-`{-~])\1+")
_BREAK = re.compile(r"[.,;!?]")
_WORD = re.compile(r"[a-z]")


def _table() -> dict[int, str | None]:
    fold: dict[int, str | None] = dict.fromkeys([*range(33), *range(127, 192), *range(8192, 8304)], " ")
    fold |= {code: chr(code + 32) for code in range(0x41, 0x5B)}
    fold |= dict.fromkeys(range(0x30, 0x3A), "0")
    fold |= {0xC0 + place: letter for place, letter in enumerate(_LATIN)}
    fold |= dict.fromkeys([*range(0x300, 0x370), *range(0xFE00, 0xFE10), *range(0x1F3FB, 0x1F400)], None)
    fold |= {0x27: None, 0x60: None, 0xB4: None, 0xAD: None, 0x2018: None, 0x2019: None, 0x200D: None}
    fold |= {0x201C: '"', 0x201D: '"', 0x2013: "-", 0x2014: "-", 0x2026: ".", 0x3000: " ", 0xFEFF: " "}
    return fold | dict.fromkeys(range(0xD800, 0xE000), " ")


_FOLD = _table()


class Features(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which features a model reads: part of its manifest.

    ``words``: word n-grams up to this length. ``chars``: lengths of the character n-grams within ``<word>``.
    ``negators`` (folded words, known by their hashes) mark the ``scope`` words after them, up to a punctuation mark.
    """

    words: Annotated[int, msgspec.Meta(ge=1, le=3)] = 3
    chars: tuple[Annotated[int, msgspec.Meta(ge=2, le=8)], ...] = (4, 5)
    negators: tuple[Annotated[str, msgspec.Meta(max_length=_MAX_WORD)], ...] = ()
    scope: Annotated[int, msgspec.Meta(ge=0, le=8)] = 4


def tokens(text: str) -> list[str]:
    """The folded tokens of ``text``: words, numbers (``0``), runs of punctuation, single symbols and emoji."""
    found = []
    for token in _TOKEN.findall(text[:MAX_CHARS].translate(_FOLD)):
        head = token[0]
        if head == "0":
            token = head
        elif head.isascii() and head.isalpha():
            if token.startswith(("http:", "https:", "www.")):
                continue
            token = _LONG.sub(r"\1", token)[:_MAX_WORD]
        elif head == "@" and len(token) > 1 and token[1].isalnum():
            continue
        elif len(token) > 1:
            token = _REPEAT.sub(r"\1\1", token)[:4]
        found.append(token)
        if len(found) == MAX_TOKENS:
            break
    return found


def fnv(text: str) -> int:
    """FNV-1a, 32 bits, over code points."""
    value = _FNV_START
    for char in text:
        value = (value ^ ord(char)) * _FNV_PRIME & _MASK
    return value


def _mix(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    values = values ^ (values >> np.uint32(16))
    values = values * np.uint32(0x85EBCA6B)
    values ^= values >> np.uint32(13)
    values *= np.uint32(0xC2B2AE35)
    return values ^ (values >> np.uint32(16))


class Hasher:
    """The features of texts, as 32-bit numbers. Remembers what it computed of a word."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._negators = frozenset(map(fnv, features.negators))
        self._words: dict[str, tuple[int, NDArray[np.uint32]]] = {}

    def __call__(self, text: str) -> NDArray[np.uint32]:
        """The features of ``text``, with repeats: ``(n,)``."""
        return self.of_tokens(tokens(text))

    def of_tokens(self, found: Sequence[str]) -> NDArray[np.uint32]:
        """The features of tokens as :func:`tokens` makes them."""
        known = [self._word(token) for token in found]
        flags = self._negation(found, [value for value, _ in known])
        ids = np.array([value for value, _ in known], np.uint32)
        parts = [_mix(ids ^ flags)]
        if self._features.words > 1:
            pairs = ids[:-1] * np.uint32(_GOLDEN) + ids[1:]
            parts.append(_mix(pairs ^ np.uint32(_SECOND)))
            if self._features.words > 2:
                triples = pairs[:-1] * np.uint32(_GOLDEN) + ids[2:]
                parts.append(_mix(triples ^ np.uint32(_THIRD)))
        parts += [_mix(grams ^ flag) for (_, grams), flag in zip(known, flags, strict=True) if len(grams)]
        return np.concatenate(parts)

    def _word(self, token: str) -> tuple[int, NDArray[np.uint32]]:
        if (known := self._words.get(token)) is None:
            grams: list[int] = []
            if len(token) > 2 and _WORD.match(token):
                word = f"<{token}>"
                for size in self._features.chars:
                    grams += [fnv(word[at : at + size]) ^ _CHARS for at in range(len(word) - size + 1)]
            known = self._words[token] = fnv(token), np.array(grams, np.uint32)
        return known

    def _negation(self, found: Sequence[str], hashes: Sequence[int]) -> NDArray[np.uint32]:
        flags = np.zeros(len(found), np.uint32)
        left = 0
        for place, (token, value) in enumerate(zip(found, hashes, strict=True)):
            if value in self._negators:
                left = self._features.scope
            elif _BREAK.search(token):
                left = 0
            elif left:
                flags[place] = _NEGATED
                left -= 1
        return flags
