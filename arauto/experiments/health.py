"""Is the experiment itself sound? Checks that must pass before any result is believed."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arauto.core.errors import InputError
from arauto.experiments.comparison import lift_interval
from arauto.experiments.intervals import Interval, rate_sequence
from arauto.experiments.mixture import Prior, log_evidence, p_value

Floats = NDArray[np.float64]

MOST_MULTIPLE = 0.01
"""The share of visitors seen in more than one arm above which the comparison is doubtful."""
_HEAVY = 10.0
_LEAST_HEAVY = 50.0


class Novelty(NamedTuple):
    """The lift early and late, each at 97.5 %; ``changed`` when the two intervals do not meet."""

    early: Interval
    late: Interval
    changed: bool


class Bots(NamedTuple):
    """Visitors too busy to be people, and the share of all events that is theirs."""

    threshold: float
    flagged: NDArray[np.int64]
    share: float


def share_mismatch(shares: ArrayLike, counts: ArrayLike) -> float:
    """The always-valid p-value of "traffic was dealt out by these propensities", which may change from block to block.

    For a split that stays the same :func:`~arauto.experiments.ratio_mismatch` is sharper. Here every arm's surplus
    Σ(A − e) is a martingale with the clock of :mod:`arauto.experiments.comparison`; the arms' e-values are averaged.

    Args:
        shares: (B, K), the propensities of each block; rows sum to 1.
        counts: (B, K), the visitors that each arm got.
    """
    e, n = np.asarray(shares, np.float64), np.asarray(counts, np.float64)
    if e.ndim != 2 or e.shape != n.shape or np.any(n < 0.0) or not np.allclose(e.sum(axis=1), 1.0, atol=1e-6):
        raise InputError("do not fit", field="shares", mend="give propensities that sum to 1, and counts, by block")
    total = n.sum(axis=1, keepdims=True)
    surplus = (n - total * e).sum(axis=0)
    realised = (n * (1.0 - e) ** 2 + (total - n) * e**2).sum(axis=0)
    expected = (total * e * (1.0 - e)).sum(axis=0)
    found = log_evidence(surplus, np.maximum(realised, expected), Prior(0.05, 1.0))
    top = float(found.max())
    return p_value(top + math.log(float(np.exp(found - top).mean())))


def ratio_mismatch_at_end(counts: ArrayLike, expected: ArrayLike) -> float:
    """Pearson's chi-square p-value of "dealt out by the shares ``expected``", for ONE look at a test that is over.

    Sharper than :func:`~arauto.experiments.ratio_mismatch`, which may be read at any time; wrong when looked at often.
    """
    n, e = np.asarray(counts, np.float64), np.asarray(expected, np.float64)
    if n.ndim != 1 or n.shape != e.shape or n.size < 2 or np.any(n < 0.0) or np.any(e <= 0.0) or not n.sum() > 0.0:
        raise InputError("do not fit", field="counts", mend="give a count ≥ 0 and a share above 0 for each arm")
    awaited = n.sum() * e / e.sum()
    return _chi_square_tail(float(((n - awaited) ** 2 / awaited).sum()), n.size - 1)


def multiple_exposure(multiple: int, visitors: int) -> tuple[float, bool]:
    """The share of visitors seen in more than one arm, and whether it is surely above :data:`MOST_MULTIPLE`."""
    low, _ = rate_sequence(multiple, visitors)
    return (multiple / visitors if visitors else 0.0), low > MOST_MULTIPLE


def find_bots(events: ArrayLike) -> Bots:
    """Visitors with far more events than people have: above ten times the 99th percentile, and at least 50.

    ``events`` holds each visitor's number in one day; ``flagged`` are places in it.
    """
    counts = np.asarray(events, np.float64)
    if counts.ndim != 1 or np.any(counts < 0.0):
        raise InputError("is not a list of counts", field="events", mend="give one number of events for each visitor")
    if not counts.size:
        return Bots(_LEAST_HEAVY, np.zeros(0, np.int64), 0.0)
    threshold = max(_LEAST_HEAVY, _HEAVY * float(np.quantile(counts, 0.99)))
    flagged = np.flatnonzero(counts > threshold)
    return Bots(threshold, flagged, float(counts[flagged].sum() / max(counts.sum(), 1.0)))


def check_novelty(early: Floats, late: Floats, prior: Prior | None = None) -> Novelty:
    """Does the effect wear off (or grow)? From the sums of two periods, of :func:`~arauto.experiments.pair_terms`."""
    first, second = (lift_interval(sums, level=0.975, prior=prior) for sums in (early, late))
    return Novelty(first, second, first.high < second.low or second.high < first.low)


def _chi_square_tail(x: float, freedom: int) -> float:
    """P(χ² > x), by the finite recurrence in steps of two degrees (Abramowitz & Stegun 26.4.4, 26.4.5)."""
    root, half = math.sqrt(x), x / 2.0
    tail, term = (math.erfc(root / math.sqrt(2.0)), root * math.sqrt(2.0 / math.pi)) if freedom % 2 else (0.0, 1.0)
    scale = math.exp(-half)
    for step in range(freedom // 2):
        # Odd: √(2/π)·x^(1/2), x^(3/2)/3, …; even: 1, x/2, x²/8, …
        tail += scale * term
        term *= x / (2.0 * step + 3.0) if freedom % 2 else half / (step + 1.0)
    return min(tail, 1.0)
