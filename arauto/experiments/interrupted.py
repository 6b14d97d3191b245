"""Before and after: an interrupted time series, for a change that nobody randomised.

Segmented regression (Wagner, Soumerai, Zhang & Ross-Degnan 2002): a level and a trend before, a step and a change of
trend after, the days of the week if the series is long enough. Standard errors allow for autocorrelation (Newey & West
1987, or a first-order model where that is wider, since short series hide it). It is weaker than a test and says so:
whatever else happened at the same moment is counted as the effect.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arauto.core.errors import InputError
from arauto.experiments.intervals import LEVEL, Interval

Floats = NDArray[np.float64]

LEAST_BEFORE = 8
LEAST_AFTER = 4
WEEK = 7


class BeforeAfter(NamedTuple):
    """The change of a metric. ``effect`` is the mean difference, after the change, from what the past foretold.

    ``relative`` is the effect over that expectation. ``warning`` is always ``weaker_than_a_test``, for the reader.
    """

    before: float
    after: float
    expected: float
    effect: float
    interval: Interval
    relative: float
    relative_interval: Interval
    step: float
    trend_change: float
    warning: str = "weaker_than_a_test"


def before_after(
    series: ArrayLike, changed_at: int, *, weights: ArrayLike | None = None, level: float = LEVEL
) -> BeforeAfter:
    """Fit an equally spaced series (days, say), whose item ``changed_at`` is the first after the change.

    Args:
        series: a metric for each day: CTR, CPA, conversion, load time.
        changed_at: at least 8 days before it and 4 from it on.
        weights: how much each day counts: its visitors.
        level: confidence of the intervals.
    """
    y = np.asarray(series, np.float64)
    n = y.size
    w = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    if y.ndim != 1 or not np.all(np.isfinite(y)) or w.shape != y.shape or np.any(w < 0.0):
        raise InputError("does not fit", field="series", mend="give one finite number, and one weight ≥ 0, a day")
    if changed_at < LEAST_BEFORE or n - changed_at < LEAST_AFTER:
        raise InputError(
            f"has {changed_at} days before and {max(0, n - changed_at)} after",
            field="changed_at",
            mend=f"wait for {LEAST_BEFORE} days before and {LEAST_AFTER} after",
        )
    design, after = _design(n, changed_at)
    w = w / max(w.mean(), 1e-300)
    bread = np.linalg.pinv((design * w[:, None]).T @ design)
    beta = bread @ (design.T @ (w * y))
    residual = y - design @ beta
    # The effect is linear in the step and the change of trend: their mean over the days after.
    contrast = np.zeros(design.shape[1])
    contrast[2:4] = np.average(design[after, 2:4], axis=0, weights=w[after])
    effect = float(contrast @ beta)
    free = n - design.shape[1]
    robust = float(contrast @ _newey_west(design * (w * residual)[:, None], bread) @ contrast) * n / free
    plain = float(contrast @ bread @ contrast) * float(w @ residual**2) / free * _inflation(residual, design.shape[1])
    half = student(0.5 + level / 2.0, free) * math.sqrt(max(robust, plain, 0.0))
    mean_after = float(np.average(y[after], weights=w[after]))
    expected = mean_after - effect
    scale = abs(expected) if expected else math.nan
    return BeforeAfter(
        before=float(np.average(y[:changed_at], weights=w[:changed_at])),
        after=mean_after,
        expected=expected,
        effect=effect,
        interval=Interval(effect - half, effect + half),
        relative=effect / scale,
        relative_interval=Interval((effect - half) / scale, (effect + half) / scale),
        step=float(beta[2]),
        trend_change=float(beta[3]),
    )


def student(p: float, freedom: int) -> float:
    """The p-quantile of Student's t, by Cornish & Fisher's expansion; within 1 % for 4 degrees of freedom or more."""
    z = NormalDist().inv_cdf(p)
    v = float(max(freedom, 1))
    first = (z**3 + z) / 4.0
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    third = (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0
    return z + first / v + second / v**2 + third / v**3


def _design(n: int, changed_at: int) -> tuple[Floats, NDArray[np.bool_]]:
    day = np.arange(n, dtype=np.float64)
    after = day >= changed_at
    columns = [np.ones(n), (day - changed_at) / n, after.astype(np.float64), np.where(after, day - changed_at, 0.0) / n]
    if n >= 4 * WEEK and changed_at >= 2 * WEEK:
        columns += [(day % WEEK == weekday).astype(np.float64) for weekday in range(1, WEEK)]
    return np.column_stack(columns), after


def _inflation(residual: Floats, columns: int) -> float:
    """(1 + φ)/(1 − φ), what first-order autocorrelation φ ≥ 0 does to the variance of a mean.

    Residuals of a short series hide it, by about ``columns``/n (Marriott & Pope 1954): that is added back.
    """
    squares = float((residual**2).sum())
    phi = float((residual[1:] * residual[:-1]).sum()) / squares if squares > 0.0 else 0.0
    phi = min(max(phi + columns / residual.size, 0.0), 0.9)
    return (1.0 + phi) / (1.0 - phi)


def _newey_west(moments: Floats, bread: Floats) -> Floats:
    n = moments.shape[0]
    lags = math.floor(4.0 * (n / 100.0) ** (2.0 / 9.0)) + 1
    meat = moments.T @ moments
    for lag in range(1, min(lags, n - 1) + 1):
        cross = moments[lag:].T @ moments[:-lag]
        meat = meat + (1.0 - lag / (lags + 1.0)) * (cross + cross.T)
    return np.asarray(bread @ meat @ bread)
