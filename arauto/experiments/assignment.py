"""Who is in what: sticky assignment by hash, mutually exclusive layers and a holdout, without a database.

A visitor's place in a *layer* is a number in [0, 1) that depends on nothing but the two names, so every server agrees,
it never changes, and places in different layers are independent. Experiments that must not meet share a layer and take
parts of it that do not touch; a release whose share rises keeps those who were in it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache

from arauto.core.errors import InputError

HOLDOUT = "holdout:"
"""The layers of holdouts, apart from all others."""
_WORDS = 8
"""64-bit numbers in one digest of BLAKE2b."""


def place_of(visitor: str, layer: str) -> float:
    """The visitor's place in ``layer``: uniform on [0, 1), the first 53 bits of BLAKE2b."""
    digest = hashlib.blake2b(visitor.encode(), digest_size=8, key=_key(layer)).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def held_out(visitor: str, share: float, group: str = "") -> bool:
    """Whether the visitor is in the holdout: shown none of the changes, to measure all of them together.

    Another ``group`` (a site's, or a quarter's name) draws another holdout.
    """
    if not 0.0 <= share < 1.0:
        raise InputError(f"is {share}", field="share", mend="give a share from 0 to below 1")
    return place_of(visitor, HOLDOUT + group) < share


def in_part(visitor: str, layer: str, part: tuple[float, float]) -> bool:
    """Whether the visitor's place in ``layer`` is from the first number of ``part`` to below the second."""
    return part[0] <= place_of(visitor, layer) < part[1]


def arm_of(visitor: str, experiment: str, shares: Mapping[int, float]) -> int:
    """The visitor's arm of those in ``shares`` (above 0, summing to 1), each with its share over visitors.

    The arms race: each has an exponential time with its share as rate, from its own number alone, and the first wins
    (weighted rendezvous hashing). So when shares change, a visitor leaves an arm only if that one's share fell
    against another's, and nobody moves between arms whose shares stayed in proportion.

    Raises:
        InputError: when no share is above 0.
    """
    visitor_bytes, key = visitor.encode(), _key(experiment)
    words: dict[int, bytes] = {}
    best, first = None, math.inf
    for arm, share in shares.items():
        if share <= 0.0:
            continue
        block, word = divmod(arm, _WORDS)
        digest = words.get(block)
        if digest is None:
            told = visitor_bytes + block.to_bytes(8, "big", signed=True)
            digest = words[block] = hashlib.blake2b(told, digest_size=8 * _WORDS, key=key).digest()
        uniform = ((int.from_bytes(digest[8 * word : 8 * word + 8], "big") >> 11) + 0.5) / 2**53
        time = -math.log(uniform) / share
        if time < first:
            best, first = arm, time
    if best is None:
        raise InputError("are not above 0", field="shares", mend="give an arm a share above 0")
    return best


@lru_cache(maxsize=4096)
def _key(layer: str) -> bytes:
    return hashlib.blake2b(layer.encode()).digest()
