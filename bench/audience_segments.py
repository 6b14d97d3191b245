"""Segments over days of unchanged behaviour, and over days on which some visitors turn to another taste.

Every day a fifth of the visitors come and look at four things each, by the same chances as on every day before. Asked:
an adjusted Rand index of at least .8 between consecutive days, alarms on at most one unchanged day in twenty, and a
shift of a quarter of five tastes' visitors (a thirtieth of all) found by the end of its day.
"""

from __future__ import annotations

import os
import time
from typing import Any
from uuid import UUID

import msgspec
import numpy as np

from arauto.audience import adjusted_rand, touch_of
from bench.audience_town import DAY_MS, EACH, meet, person, town

VISITORS = int(os.environ.get("AUDIENCE_VISITORS", "100000"))
SMALL, DAYS, TOWNS = 10_000, 60, 4
"""Visitors and days of the town in which alarms are counted; towns with a shift."""


class Calendar:
    """A town's days: a fifth of the visitors come, and look at things by the same chances as ever."""

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self.visitors, self.tastes, self.codes, self.now = town(count, rng)
        self._rng, self._events = rng, 0

    def day(self, turned: np.ndarray[Any, Any] | None = None) -> dict[str, Any]:
        """One day, and what was found at its end; the ``turned`` come too, and have taken to the taste 30."""
        count = len(self.tastes)
        before = np.array([self.visitors.segment(person(n)) for n in range(count)])
        active = self._rng.choice(count, count // 5, replace=False)
        if turned is not None:
            self.tastes[turned] = 30
            active = np.union1d(active, turned)
        events = []
        for number, row in zip(active.tolist(), meet(self.tastes[active], EACH, self._rng).tolist(), strict=True):
            for place, item in enumerate(row):
                self._events += 1
                at = self.now + place * DAY_MS // EACH
                events.append(
                    (person(number), touch_of(UUID(int=(1 << 90) + self._events), at, "view", self.codes[item]))
                )
        for start in range(0, len(events), 1000):
            self.visitors.learn_all(events[start : start + 1000])
        started = time.perf_counter()
        _, drift = self.visitors.regroup(8)
        took = time.perf_counter() - started
        after = np.array([self.visitors.segment(person(n)) for n in range(count)])
        self.now += DAY_MS
        return {**msgspec.to_builtins(drift), "adjusted_rand": adjusted_rand(after, before), "regroup_s": took}

    def turn(self, share: float) -> np.ndarray[Any, Any]:
        """A ``share`` of the visitors of the first five tastes."""
        found = np.flatnonzero(self.tastes < 5)
        return self._rng.permutation(found)[: round(share * len(found))]


def alarms(rng: np.random.Generator) -> dict[str, Any]:
    """Unchanged days of a small town, and how often an alarm was raised; then days with a shift."""
    calendar = Calendar(SMALL, rng)
    quiet = [calendar.day() for _ in range(DAYS)]
    loud = []
    for _ in range(TOWNS):
        calendar.day()
        loud.append(calendar.day(calendar.turn(0.25)))
    return {
        "visitors": SMALL,
        "unchanged_days": DAYS,
        "false_alarms": sum(one["shifted"] for one in quiet),
        "least_adjusted_rand": min(one["adjusted_rand"] for one in quiet),
        "median_adjusted_rand": float(np.median([one["adjusted_rand"] for one in quiet])),
        "shifted_days": len(loud),
        "shifts_found": sum(one["shifted"] for one in loud),
    }


def main() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    calendar = Calendar(VISITORS, rng)
    unchanged = [calendar.day() for _ in range(3)]
    figures: dict[str, Any] = {
        "visitors": VISITORS,
        "unchanged": unchanged,
        "shift": calendar.day(calendar.turn(0.25)),
        "alarms": alarms(rng),
    }
    figures["kept"] = {
        "stable": min(*(one["adjusted_rand"] for one in unchanged), figures["alarms"]["least_adjusted_rand"]) >= 0.8,
        "false_alarms": figures["alarms"]["false_alarms"] <= 0.05 * DAYS
        and not any(one["shifted"] for one in unchanged),
        "shift_found": figures["shift"]["shifted"] and figures["alarms"]["shifts_found"] == TOWNS,
    }
    return {**figures, "passed": all(figures["kept"].values())}
