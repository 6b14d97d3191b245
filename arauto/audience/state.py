"""What a visitor did, as one string of bytes: their latest touches in order. It depends on the set of events alone.

Late, repeated and out-of-order events therefore end in the same state, and so does a replay after a crash. A touch is
29 bytes, big-endian, time first, so that the bytes sort as the touches do. States are read many at once, as arrays: a
visitor's numbers are the same whoever is read beside them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Codes = NDArray[np.uint64]
MOST = 64
"""Touches kept of a visitor."""
_LAYOUT = struct.Struct(">QQQfB")
_CHANCE = struct.Struct(">f")
SIZE = _LAYOUT.size
NOTHING = 0
"""The code of a purchase of which only the order is known."""

Kind = Literal["impression", "view", "click", "cart", "purchase"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_PLACE = {kind: place for place, kind in enumerate(KINDS)}
_IMPRESSION, _CART, _PURCHASE = (_PLACE[kind] for kind in ("impression", "cart", "purchase"))
_CLICK = _PLACE["click"]
_RECORD = np.dtype([("at", ">u8"), ("event", ">u8"), ("code", ">u8"), ("chance", ">f4"), ("kind", "u1")])
_OF_SHOWING = np.array([kind in ("impression", "click", "purchase") for kind in KINDS])
"""Kinds that can go back to a showing."""


class Touch(NamedTuple):
    """One event of a visitor: with an item (by code), or with a variant (by its id, which is a small number).

    ``chance`` is the propensity of the variant that was shown; 0 where there was no decision.
    """

    at_ms: int
    event: int
    code: int
    chance: float
    kind: Kind


def touch_of(event_id: UUID, at_ms: int, kind: Kind, code: int, chance: float = 0.0) -> Touch:
    """The touch of an event. Its last 64 bits, which are random, stand for the event's id; the chance is rounded as it
    will be kept, so that a replay counts the same."""
    return Touch(at_ms, event_id.int & (1 << 64) - 1, code, _CHANCE.unpack(_CHANCE.pack(chance))[0], kind)


def pack(touches: Iterable[Touch]) -> bytes:
    """The latest :data:`MOST` of ``touches``, each once."""
    parts = sorted({_LAYOUT.pack(*touch[:4], _PLACE[touch.kind]) for touch in touches})
    return b"".join(parts[-MOST:])


def unpack(packed: bytes) -> Iterator[Touch]:
    """The touches, the earliest first."""
    for at_ms, event, code, chance, kind in _LAYOUT.iter_unpack(packed):
        yield Touch(at_ms, event, code, chance, KINDS[kind])


def dealt(packed: bytes) -> list[tuple[int, float, Kind]]:
    """Code, chance and kind of the touches that go back to a decision."""
    return [(code, chance, KINDS[kind]) for _, _, code, chance, kind in _LAYOUT.iter_unpack(packed) if chance > 0]


def add(packed: bytes, touch: Touch) -> bytes | None:
    """``packed`` with one more touch, or None when that changes nothing."""
    one = _LAYOUT.pack(*touch[:4], _PLACE[touch.kind])
    full = len(packed) >= MOST * SIZE
    if one > packed[-SIZE:]:
        return (packed[SIZE:] if full else packed) + one
    parts = [packed[start : start + SIZE] for start in range(0, len(packed), SIZE)]
    if one in parts or (full and one < parts[0]):
        return None
    parts.append(one)
    parts.sort()
    return b"".join(parts[-MOST:])


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much a touch moves its visitor, by kind. Each half-life leaves half of it."""

    half_life_ms: int = 30 * 86_400_000
    view: float = 1.0
    click: float = 1.5
    cart: float = 2.5
    purchase: float = 3.0


class Histories(NamedTuple):
    """What visitors met, one row each: whose (by place), what (by code) and how much it weighs; a visitor's rows are
    together, the latest first."""

    owners: Numbers
    codes: Codes
    weights: NDArray[np.float64]


def histories(states: Sequence[bytes], weights: Weights, decay: float) -> Histories:
    """What each visitor met; an item met again counts where it was met last, as the strongest thing done with it. Each
    later item leaves ``decay`` of it: the encoder's γ. Being shown something counts nothing.

    Ages are taken from the visitor's last touch: the passing of time alone scales all weights alike, and so turns no
    vector.
    """
    owners, rows = _rows(states)
    codes, strengths = rows["code"].astype(np.uint64), _strengths(weights)[rows["kind"]]
    counts = ((strengths != 0.0) & (codes != NOTHING)).nonzero()[0][::-1]
    owners, codes, strengths = owners[counts], codes[counts], strengths[counts]
    # Of the rows of one item, which a stable sort leaves in their order, the first is the latest.
    order, new = _grouped(owners, codes)
    starts = new.nonzero()[0]
    latest = order[starts]
    kept = latest.argsort()
    latest = latest[kept]
    strongest = np.maximum.reduceat(strengths[order], starts)[kept] if len(starts) else strengths
    owners, at_ms = owners[latest], rows["at"][counts[latest]].astype(np.int64)
    places = np.arange(len(owners))
    first = np.maximum.accumulate(places * begins(owners))
    age = np.exp2((at_ms - at_ms[first]) / weights.half_life_ms)
    return Histories(owners, codes[latest], strongest * age * _powers(decay)[places - first])


@lru_cache(maxsize=64)
def _strengths(weights: Weights) -> NDArray[np.float64]:
    return np.array((0.0, weights.view, weights.click, weights.cart, weights.purchase))


@lru_cache(maxsize=64)
def _powers(decay: float) -> NDArray[np.float64]:
    return np.asarray(decay ** np.arange(MOST))


def history(packed: bytes, weights: Weights, decay: float) -> list[tuple[int, float]]:
    """(code, weight) of what one visitor met (:func:`histories`), the latest first."""
    _, codes, faded = histories([packed], weights, decay)
    return list(zip(codes.tolist(), faded.tolist(), strict=True))


class Showings(NamedTuple):
    """What visitors were shown, one row each: to whom (by place), which variant, how likely it was, when, and what came
    of it."""

    owners: Numbers
    variants: Codes
    chances: NDArray[np.float64]
    at_ms: Numbers
    clicked: NDArray[np.bool_]
    bought: NDArray[np.bool_]


def showings(states: Sequence[bytes]) -> Showings:
    """What was shown, by visitor and variant, the earliest first. A later click or purchase of the variant belongs to
    its last showing."""
    owners, rows = _rows(states)
    told = _OF_SHOWING[rows["kind"]].nonzero()[0]
    owners, rows = owners[told], rows[told]
    codes, kinds = rows["code"].astype(np.uint64), rows["kind"]
    order, new = _grouped(owners, codes)
    kinds = kinds[order]
    shown = kinds == _IMPRESSION
    # The last showing at or before each row; one of another group, or none, is not its own.
    places = np.arange(len(order))
    last = np.maximum.accumulate(np.where(shown, places, -1))
    own = last >= np.maximum.accumulate(places * new)
    done = {kind: np.zeros(len(order), dtype=bool) for kind in (_CLICK, _PURCHASE)}
    for kind, marks in done.items():
        marks[last[own & (kinds == kind)]] = True
    order, found = order[shown], rows[order[shown]]
    return Showings(
        owners[order],
        codes[order],
        found["chance"].astype(np.float64),
        found["at"].astype(np.int64),
        done[_CLICK][shown],
        done[_PURCHASE][shown],
    )


def _rows(states: Sequence[bytes]) -> tuple[Numbers, NDArray[np.void]]:
    """All touches, and the place of the state of each."""
    sizes = [len(packed) // SIZE for packed in states]
    return np.arange(len(sizes)).repeat(sizes), np.frombuffer(b"".join(states), dtype=_RECORD)


def _grouped(owners: Numbers, codes: Codes) -> tuple[Numbers, NDArray[np.bool_]]:
    """The order that brings rows of one owner and code together, each group in the order of before, and where, in that
    order, a group begins."""
    order = np.lexsort((codes, owners))
    return order, begins(owners[order]) | begins(codes[order])


def begins(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which values differ from the one before."""
    new = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return new


def bought(packed: bytes) -> dict[int, int]:
    """What the visitor bought, by code, and when last: the variant that led there, and what lay in the cart."""
    found: dict[int, int] = {}
    cart: set[int] = set()
    for at_ms, _, code, _, kind in _LAYOUT.iter_unpack(packed):
        if kind == _CART:
            cart.add(code)
        elif kind == _PURCHASE:
            for each in (*cart, code):
                found[each] = at_ms
            cart.clear()
    found.pop(NOTHING, None)
    return found
