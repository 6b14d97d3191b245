"""A made-up town of visitors, for the benches of the audience: forty tastes, and a third of all touches at random."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np

from arauto.audience import Kind, Recipe, Visitors, code_of, fit, interactions_of, pack, touch_of
from arauto.core.clock import SystemClock

ITEMS, TASTES = 2000, 40
FITTED = 10_000
VARIANTS = 32
STRAY = 0.35
EACH = 4
"""Touches of a visitor on a day on which they come."""
BEFORE = 6 * EACH
DAY_MS = 86_400_000
SHOWN: tuple[Kind, ...] = ("impression", "impression", "click")


def person(number: int) -> UUID:
    return UUID(int=(number + 1) << 80 | 0x4000_8000_0000_0000_0001)


def meet(tastes: np.ndarray[Any, Any], each: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """What visitors of ``tastes`` look at, visitors × ``each``: of their own taste, but a third at random."""
    own = ITEMS // TASTES
    items = tastes[:, None] * own + rng.integers(0, own, (len(tastes), each))
    stray = rng.random(items.shape) < STRAY
    items[stray] = rng.integers(0, ITEMS, int(stray.sum()))
    return items


def town(count: int, rng: np.random.Generator) -> tuple[Visitors, np.ndarray[Any, Any], list[int], int]:
    """Visitors of some tastes, each with the touches of six days, and an encoder that was fitted on others like them.
    And when their last day ended."""
    codes = [code_of(f"item-{n}") for n in range(ITEMS)]
    others = meet(rng.integers(0, TASTES, FITTED), BEFORE, rng)
    log = interactions_of(
        {
            "user_id": np.repeat(np.arange(FITTED), BEFORE),
            "item_id": np.array([f"item-{n}" for n in others.ravel()]),
            "timestamp": np.tile(np.arange(float(BEFORE)), FITTED),
        }
    )
    visitors = Visitors(fit(log, Recipe()))
    tastes = rng.integers(0, TASTES, count)
    items = meet(tastes, BEFORE, rng)
    now = SystemClock().now_ms() - 60 * DAY_MS
    states = []
    for number in range(count):
        touches = [
            touch_of(UUID(int=number * 64 + place + 1), now + place * DAY_MS // EACH, "view", codes[item])
            for place, item in enumerate(items[number].tolist())
        ]
        touches += [
            touch_of(UUID(int=number * 64 + 40 + place), now + place, kind, int(rng.integers(1, VARIANTS + 1)), 0.03)
            for place, kind in enumerate(SHOWN)
        ]
        states.append((person(number), pack(touches)))
    visitors.load(states)
    if visitors.index.stale:
        visitors.index.rebuild()
    visitors.regroup(8)
    return visitors, tastes, codes, now + BEFORE * DAY_MS // EACH
