"""Who is in what: sticky assignment by hash, mutually exclusive layers and a holdout, without a database.

A visitor's place in a *layer* is a number in [0, 1) that depends on nothing but the two names, so every server agrees,
it never changes, and places in different layers are independent. Experiments that must not meet share a layer and take
slices of it that do not touch; a release whose share rises keeps those who were in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from arauto.core.errors import InputError

HOLDOUT = "holdout"
"""The layer of the holdout, apart from all others."""


class Slice(NamedTuple):
    """An experiment's part of its layer: places from ``start`` to below ``end``."""

    name: str
    start: float
    end: float


def place_of(visitor: str, layer: str) -> float:
    """The visitor's place in ``layer``: uniform on [0, 1), the first 53 bits of BLAKE2b."""
    digest = hashlib.blake2b(visitor.encode(), digest_size=8, key=layer.encode()[:64]).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def held_out(visitor: str, share: float, period: str = "") -> bool:
    """Whether the visitor is in the holdout: shown none of the changes, to measure all of them together.

    Another ``period`` (a quarter's name, say) draws another holdout, so that nobody is left behind for ever.
    """
    if not 0.0 <= share < 1.0:
        raise InputError(f"is {share}", field="share", mend="give a share from 0 to below 1")
    return place_of(visitor, HOLDOUT + period) < share


def slice_of(visitor: str, layer: str, slices: Sequence[Slice]) -> Slice | None:
    """The one slice of the layer that the visitor is in, if any.

    Raises:
        InputError: when two slices touch each other's places, or one lies outside [0, 1].
    """
    end = 0.0
    for part in sorted(slices, key=lambda one: one.start):
        if not 0.0 <= part.start < part.end <= 1.0 or part.start < end:
            raise InputError(f"{part.name} overlaps or is empty", field="slices", mend="give slices that do not touch")
        end = part.end
    at = place_of(visitor, layer)
    return next((part for part in slices if part.start <= at < part.end), None)


def arm_of(visitor: str, experiment: str, propensities: Sequence[float]) -> int:
    """The visitor's arm: always the same while the propensities are, each arm with its propensity over visitors."""
    at, edge = place_of(visitor, experiment), 0.0
    for arm, share in enumerate(propensities):
        edge += share
        if at < edge:
            return arm
    return len(propensities) - 1
