"""What a visitor did, as one string of bytes: their latest touches in order. It depends on the set of events alone.

Late, repeated and out-of-order events therefore end in the same state, and so does a replay after a crash. A touch is
29 bytes, big-endian, time first, so that the bytes sort as the touches do.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, get_args
from uuid import UUID

import msgspec

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
_OF_SHOWINGS = re.compile(bytes([*b"[", _IMPRESSION, _PLACE["click"], _PURCHASE, *b"]"]))
"""Finds the touches that can go back to a showing, by their last bytes."""


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


def history(packed: bytes, weights: Weights, decay: float) -> list[tuple[int, float]]:
    """(code, weight) of what the visitor met, the latest first; an item met again counts where it was met last, as the
    strongest thing done with it. Each later item leaves ``decay`` of it: the encoder's γ. Being shown something counts
    nothing.

    Ages are taken from the visitor's last touch: the passing of time alone scales all weights alike, and so turns no
    vector.
    """
    by_kind = (0.0, weights.view, weights.click, weights.cart, weights.purchase)
    met: dict[int, list[float]] = {}
    newest = 0
    for at_ms, _, code, _, kind in reversed(list(_LAYOUT.iter_unpack(packed))):
        strength = by_kind[kind]
        if strength == 0.0 or code == NOTHING:
            continue
        newest = newest or at_ms
        if (known := met.get(code)) is not None:
            known[0] = max(known[0], strength)
        else:
            age = 0.5 ** ((newest - at_ms) / weights.half_life_ms)
            met[code] = [strength, age * decay ** len(met)]
    return [(code, strength * fade) for code, (strength, fade) in met.items()]


class Shown(NamedTuple):
    """A variant that a visitor was shown, and what came of it."""

    variant: int
    chance: float
    at_ms: int
    clicked: bool
    bought: bool


def shown(packed: bytes) -> list[Shown]:
    """What was shown, the earliest first. A later click or purchase of the variant belongs to its last showing."""
    found: list[Shown] = []
    last: dict[int, int] = {}
    # Most touches of most visitors are none of these: they are not even unpacked.
    for match in _OF_SHOWINGS.finditer(packed[SIZE - 1 :: SIZE]):
        at_ms, _, code, chance, kind = _LAYOUT.unpack_from(packed, match.start() * SIZE)
        if kind == _IMPRESSION:
            last[code] = len(found)
            found.append(Shown(code, chance, at_ms, False, False))
        elif (row := last.get(code)) is not None:
            one, buys = found[row], kind == _PURCHASE
            found[row] = Shown(code, one.chance, one.at_ms, one.clicked or not buys, one.bought or buys)
    return found


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
