"""What showings led to, by segment and variant: kept per event, so that nobody is looked through for a decision."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from arauto.audience.offers import LEAST_CHANCE, Goal, Tally
from arauto.audience.state import Touch, unpack

_SHOWN, _WEIGHT, _SQUARE, _CLICKS, _CLICKED, _BUYS, _BOUGHT = range(7)


class Ledger:
    """Sums over the showings of visitors who agreed."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, int], list[float]] = defaultdict(lambda: [0.0] * 7)

    def add(self, segment: int, touch: Touch, sign: float = 1.0) -> None:
        """Count a touch of a visitor of ``segment``, or with ``sign`` −1 take it out again."""
        if touch.kind not in ("impression", "click", "purchase") or touch.chance <= 0:
            return
        row = self._rows[segment, touch.code]
        weight = sign / max(touch.chance, LEAST_CHANCE)
        if touch.kind == "impression":
            row[_SHOWN] += sign
            row[_WEIGHT] += weight
            row[_SQUARE] += sign * weight * weight
        elif touch.kind == "click":
            row[_CLICKS] += sign
            row[_CLICKED] += weight
        else:
            row[_BUYS] += sign
            row[_BOUGHT] += weight

    def remove(self, segment: int, packed: bytes) -> None:
        """Take out all of a visitor's touches."""
        for touch in unpack(packed):
            self.add(segment, touch, -1.0)

    def everyone(self, goal: Goal) -> dict[int, Tally]:
        """How each variant did with all visitors."""
        did, rewarded = (_BUYS, _BOUGHT) if goal == "purchase" else (_CLICKS, _CLICKED)
        found: dict[int, Tally] = defaultdict(Tally)
        for (_, variant), row in self._rows.items():
            have = found[variant]
            found[variant] = Tally(
                have.weight + row[_WEIGHT],
                have.reward + min(row[rewarded], row[_WEIGHT]),
                have.square + row[_SQUARE],
                have.visitors + int(row[_SHOWN]),
                have.done + int(row[did]),
            )
        return dict(found)

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
        for touch in unpack(packed):
            found.add(segment, touch)
    return found
