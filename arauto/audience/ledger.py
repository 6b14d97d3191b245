"""What showings led to, by segment and variant: kept per event, so that nobody is looked through for a decision."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from arauto.audience.offers import LEAST_CHANCE, Goal, Tally
from arauto.audience.state import Kind, Touch, dealt

_SHOWN, _WEIGHT, _SQUARE, _CLICKS, _CLICKED, _BUYS, _BOUGHT = range(7)


class Ledger:
    """Sums over the showings of visitors who agreed."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, int], list[float]] = defaultdict(lambda: [0.0] * 7)
        self._all: dict[int, list[float]] = defaultdict(lambda: [0.0] * 7)
        self._everyone: dict[Goal, dict[int, Tally]] = {}

    def add(self, segment: int, touch: Touch) -> None:
        """Count a touch of a visitor of ``segment``."""
        if touch.chance > 0:
            self._count(segment, touch.code, touch.chance, touch.kind, 1.0)

    def put(self, segment: int, packed: bytes, sign: float = 1.0) -> None:
        """Count all touches of a visitor."""
        for code, chance, kind in dealt(packed):
            self._count(segment, code, chance, kind, sign)

    def remove(self, segment: int, packed: bytes) -> None:
        """Take all touches of a visitor out again."""
        self.put(segment, packed, -1.0)

    def _count(self, segment: int, variant: int, chance: float, kind: Kind, sign: float) -> None:
        if kind not in ("impression", "click", "purchase"):
            return
        self._everyone.clear()
        weight = sign / max(chance, LEAST_CHANCE)
        for row in (self._rows[segment, variant], self._all[variant]):
            if kind == "impression":
                row[_SHOWN] += sign
                row[_WEIGHT] += weight
                row[_SQUARE] += sign * weight * weight
            elif kind == "click":
                row[_CLICKS] += sign
                row[_CLICKED] += weight
            else:
                row[_BUYS] += sign
                row[_BOUGHT] += weight

    def everyone(self, goal: Goal) -> Mapping[int, Tally]:
        """How each variant did with all visitors."""
        known = self._everyone.get(goal)
        if known is None:
            did, rewarded = (_BUYS, _BOUGHT) if goal == "purchase" else (_CLICKS, _CLICKED)
            known = self._everyone[goal] = {
                variant: Tally(
                    row[_WEIGHT], min(row[rewarded], row[_WEIGHT]), row[_SQUARE], int(row[_SHOWN]), int(row[did])
                )
                for variant, row in self._all.items()
            }
        return known

    def cells(
        self, segments: Sequence[int], variants: Sequence[int], goal: Goal
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Successes and trials, variants × segments."""
        did = _BUYS if goal == "purchase" else _CLICKS
        trials = np.zeros((len(variants), len(segments)))
        successes = np.zeros_like(trials)
        for column, segment in enumerate(segments):
            for line, variant in enumerate(variants):
                row = self._rows.get((segment, variant))
                if row is not None:
                    trials[line, column] = max(row[_SHOWN], 0.0)
                    successes[line, column] = min(max(row[did], 0.0), trials[line, column])
        return successes, trials


def ledger_of(states: Iterable[tuple[int, bytes]]) -> Ledger:
    """The ledger of visitors, each with a segment and packed touches."""
    found = Ledger()
    for segment, packed in states:
        found.put(segment, packed)
    return found
