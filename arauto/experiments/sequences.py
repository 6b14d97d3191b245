"""Confidence sequences of one arm's mean or ratio from sums, and of two arms' quantiles from histograms.

Heavy-tailed means have no interval that is exact at every sample size (Bahadur & Savage 1956), so those of a mean and a
ratio are *asymptotic* confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, theorem 2.2): always
valid once the sum is no longer carried by a few outcomes, and silent until then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arauto.core.errors import InputError
from arauto.experiments.comparison import lift_evidence, pair_terms
from arauto.experiments.intervals import LEVEL, Interval
from arauto.experiments.mixture import Prior, Side, p_value

Floats = NDArray[np.float64]

CARRIERS = 30.0
"""Least effective number of outcomes that carry a sum, (Σx)²/Σx² (Kish 1965), before an interval is given."""

UNBOUNDED = Interval(-math.inf, math.inf)


class QuantileComparison(NamedTuple):
    """Two arms' q-quantiles. Buckets are the histogram's; ``shift`` is treatment minus control, in buckets.

    In a histogram with logarithmic buckets of ratio γ a shift of s is a factor γ**s. Ends are None while unbounded.
    """

    control: int
    treatment: int
    low: int | None
    high: int | None
    evidence: float
    p: float


def mean_asymptotic(n: int, total: float, squares: float, level: float = LEVEL, tuned_for: int = 5_000) -> Interval:
    """The asymptotic confidence sequence of a mean, from Σx and Σx²; narrowest around n = ``tuned_for``."""
    return ratio_asymptotic(n, total, squares, float(n), float(n), total, level, tuned_for)


def ratio_asymptotic(
    n: int,
    num: float,
    num2: float,
    den: float,
    den2: float,
    cross: float,
    level: float = LEVEL,
    tuned_for: int = 5_000,
) -> Interval:
    """The asymptotic confidence sequence of Σx/Σy over ``n`` visitors, such as cost per order, by the delta method.

    From Σx, Σx², Σy, Σy² and Σxy. Unbounded until both sums are carried by :data:`CARRIERS` visitors.
    """
    if n < 0 or num2 < 0.0 or den2 < 0.0 or den < 0.0:
        raise InputError("is negative", field="n", mend="give a count, sums of squares and a denominator of 0 or more")
    if not 0.0 < level < 1.0:
        raise InputError(f"is {level}", field="level", mend="give a confidence between 0 and 1, such as 0.95")
    if num * num < CARRIERS * num2 or den * den < CARRIERS * den2 or den == 0.0 or num2 == 0.0:
        return UNBOUNDED
    ratio = num / den
    variance = max(num2 - 2.0 * ratio * cross + ratio * ratio * den2, 0.0) / n
    surprise = -2.0 * math.log1p(-level)
    rho2 = (surprise + math.log1p(surprise)) / tuned_for
    clock = n * rho2 + 1.0
    half = math.sqrt(variance * clock / (n * rho2) * (math.log(clock) + surprise) / n) * n / den
    return Interval(ratio - half, ratio + half)


def compare_quantiles(
    share: ArrayLike,
    counts: ArrayLike,
    q: float = 0.75,
    *,
    level: float = LEVEL,
    prior: Prior | None = None,
) -> QuantileComparison:
    """Compare two arms' q-quantiles, always valid: page-load p75, say.

    Under "treatment readings are the control's, shifted", readings above any threshold are as frequent in both arms,
    and the share above the pooled q-quantile is compared as a rate (:mod:`arauto.experiments.comparison`; the threshold
    is chosen blind to the arm). The interval holds every shift that is not refuted.

    Args:
        share: (B,), the treatment's probability in each block.
        counts: (B, 2, buckets), readings by block, arm (control first) and bucket, in the order of the readings.
        q: between 0 and 1.
        level: confidence of the interval.
        prior: the relative change expected in the share of slow readings.
    """
    histogram = np.asarray(counts, np.float64)
    if not 0.0 < q < 1.0:
        raise InputError(f"is {q}", field="q", mend="give a share between 0 and 1, such as 0.75")
    if histogram.ndim != 3 or histogram.shape[1] != 2 or np.any(histogram < 0.0):
        raise InputError("does not fit", field="counts", mend="give readings as (blocks, 2 arms, buckets), each ≥ 0")
    arms = histogram.sum(axis=0)
    if np.any(arms.sum(axis=1) == 0.0):
        raise InputError("has an arm without readings", field="counts", mend="wait for readings of both arms")
    limit = -math.log1p(-level)

    def weigh(shift: int) -> float:
        return float(lift_evidence(_above(share, histogram, q, shift), prior=prior))

    first, second = (_quantile(arm, q) for arm in arms)
    centre = min(range(second - first - 2, second - first + 3), key=weigh)
    buckets = histogram.shape[2]
    found = weigh(0)
    return QuantileComparison(
        control=first,
        treatment=second,
        low=_walk(lambda shift: weigh(shift) >= limit, centre, -1, buckets),
        high=_walk(lambda shift: weigh(shift) >= limit, centre, 1, buckets),
        evidence=found,
        p=p_value(found),
    )


def quantile_evidence(
    share: ArrayLike, counts: ArrayLike, q: float = 0.75, *, tolerance: int = 0, side: Side, prior: Prior | None = None
) -> float:
    """The log e-value against "the treatment's readings are the control's, ``tolerance`` buckets higher".

    0, no evidence, while an arm has no readings. ``side`` is the bet: ``greater`` on slower still, ``less`` on faster.
    """
    return float(lift_evidence(_above(share, np.asarray(counts, np.float64), q, tolerance), side=side, prior=prior))


def _above(share: ArrayLike, histogram: Floats, q: float, shift: int) -> Floats:
    """Sums of the rate "above the pooled q-quantile", the treatment's readings moved ``shift`` buckets down."""
    pad = np.zeros((*histogram.shape[:2], abs(shift)))
    control, treated = histogram[:, 0], histogram[:, 1]
    if shift >= 0:
        control, treated = np.hstack([pad[:, 0], control]), np.hstack([treated, pad[:, 1]])
    else:
        control, treated = np.hstack([control, pad[:, 0]]), np.hstack([pad[:, 1], treated])
    moved = np.stack([control, treated], axis=1)
    threshold = _quantile(moved.sum(axis=(0, 1)), q)
    slow = moved[..., threshold + 1 :].sum(axis=-1)
    terms: Floats = pair_terms(share, moved.sum(axis=-1), slow, slow).sum(axis=0)
    return terms


def _quantile(counts: Floats, q: float) -> int:
    """The first bucket at which the cumulative share reaches q."""
    below = counts.cumsum()
    return int(np.searchsorted(below, q * below[-1] - 1e-9))


def _walk(refuted: Callable[[int], bool], start: int, step: int, most: int) -> int | None:
    """The last shift before a refuted one, going outwards by doubling steps, then halving; None: none is refuted."""
    inside, reach = start, 1
    while not refuted(start + step * reach):
        inside = start + step * reach
        if reach > most:
            return None
        reach *= 2
    outside = start + step * reach
    while abs(outside - inside) > 1:
        middle = (inside + outside) // 2
        inside, outside = (inside, middle) if refuted(middle) else (middle, outside)
    return inside
