"""Is this arm better than that one? Always valid, whatever the traffic split did meanwhile.

Arms are compared by the *assignment*: what the visitor did is taken as given, and only the coin that chose the arm is
random, whose probability e we know because we tossed it. With outcome x, assignment A (1: the treatment) and any
centring m, the increments (A − e)·(x − m) have mean zero under "no difference", for outcomes of any distribution (one
sale of a million included), for rates that drift with the hour and for a split that a bandit changes with what it
sees. Their sum S is therefore a martingale, and exp(λS − λ²V/2) a supermartingale with the clock

    V = max( Σ(A − e)²(x − m)²,  Σe(1 − e)(x − m)² ),

what was realised or what the coin was to realise, whichever is greater: V is at least Delyon's clock (a third of the
first and two of the second: Delyon 2009, proposition 12; Howard et al. 2020, table 3). So for "no difference" the error
rate holds at any sample size. For other nulls (a lift of 12 %: the treatment's outcomes divided by 1.12 have the
control's mean) it holds asymptotically, like the asymptotic sequences of Waudby-Smith et al. 2024, and the interval is
the set of lifts not yet refuted. An effect that itself changes is averaged with weights e(1 − e), the overlap weights
of Li, Morgan & Zaslavsky 2018: naive averages under a bandit weigh arms by different hours (Simpson's paradox).

Everything is computed from sums over visitors, so sums of parts add up. The centring is the pooled mean at the time of
looking, which changes S by a bounded amount; the tests hold it to the promise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arauto.core.errors import InputError
from arauto.experiments.intervals import LEVEL, Interval
from arauto.experiments.mixture import Prior, Side, log_evidence, p_value

Floats = NDArray[np.float64]
Scale = Literal["relative", "absolute"]

# Columns of the sums of one arm. h is 1 − e for the treatment and e for the control; q is e(1 − e).
_N, _NUM, _DEN, _H_NUM, _H_DEN, _H2_NN, _H2_ND, _H2_DD, _Q_NUM, _Q_NN, _Q_ND, _Q_DD = range(12)
WIDTH = 12

_FAR = math.log(1e4)
"""Lifts below −99.99 % or above +999,900 % are reported as unbounded."""
_CELLS = 128
_HALVINGS = 50


class Comparison(NamedTuple):
    """Treatment against control. ``lift`` is relative (0.1: ten percent more), ``difference`` in units of the metric.

    ``p`` is the always-valid two-sided p-value of "no difference", and ``evidence`` its logarithmic e-value. An
    interval's end is infinite while nothing bounds it yet.
    """

    visitors: tuple[int, int]
    means: tuple[float, float]
    lift: float
    lift_interval: Interval
    difference: float
    difference_interval: Interval
    evidence: float
    p: float


def pair_terms(
    share: ArrayLike,
    n: ArrayLike,
    num: ArrayLike,
    num2: ArrayLike,
    *,
    den: ArrayLike | None = None,
    den2: ArrayLike | None = None,
    cross: ArrayLike | None = None,
) -> Floats:
    """The additive terms of B blocks of visitors; :func:`compare` takes their sum over blocks.

    A block is a stretch of traffic during which ``share``, (B,), the treatment's probability among the two arms, did
    not change: one visitor, or all those of one policy version. The others are (B, 2), control first: visitors, Σx and
    Σx². For a ratio Σx/Σy (cost per order, revenue per order) give also Σy (``den``), Σy² (``den2``), Σxy (``cross``).

    Returns:
        (B, 2, 12).
    """
    e = np.asarray(share, np.float64)
    counts, x, xx = (np.asarray(a, np.float64) for a in (n, num, num2))
    if den is None:
        y, yy, xy = counts, counts, x
    elif den2 is None or cross is None:
        raise InputError("is missing", field="den2", mend="give den2 and cross together with den")
    else:
        y, yy, xy = (np.asarray(a, np.float64) for a in (den, den2, cross))
    if np.any(e <= 0.0) or np.any(e >= 1.0) or np.any(np.isnan(e)):
        raise InputError(
            "is not between 0 and 1", field="share", mend="leave out blocks in which one arm had no chance"
        )
    if any(a.shape != (*e.shape, 2) for a in (counts, x, xx, y, yy, xy)):
        raise InputError("does not fit", field="n", mend="give shape (blocks, 2), control first, for every sum")
    h = np.stack([e, 1.0 - e], axis=-1)
    q = (e * (1.0 - e))[..., None]
    columns = (counts, x, y, h * x, h * y, h * h * xx, h * h * xy, h * h * yy, q * x, q * xx, q * xy, q * yy)
    return np.stack(columns, axis=-1)


def lift_score(sums: Floats, null: ArrayLike = 0.0, scale: Scale = "relative") -> tuple[Floats, Floats]:
    """(S, V) of the null "the lift (or the difference) is ``null``", in units that make λ a relative effect.

    Sums are (..., 2, 12); ``null`` broadcasts against the leading axes. Where nothing varies yet both are 0.
    """
    control, treated = sums[..., 0, :], sums[..., 1, :]
    null = np.asarray(null, np.float64)
    shrink, shift = (1.0 / (1.0 + null), np.zeros_like(null)) if scale == "relative" else (np.ones_like(null), null)
    weight = control[..., _DEN] + treated[..., _DEN]
    total = control[..., _NUM] + shrink * treated[..., _NUM] - shift * treated[..., _DEN]
    mean = np.divide(total, weight, out=np.zeros(np.broadcast_shapes(total.shape, weight.shape)), where=weight != 0.0)
    above = mean + shift
    s = (shrink * treated[..., _H_NUM] - above * treated[..., _H_DEN]) - (
        control[..., _H_NUM] - mean * control[..., _H_DEN]
    )
    realised = _squares(treated, _H2_NN, shrink, above) + _squares(control, _H2_NN, 1.0, mean)
    expected = _squares(treated, _Q_NN, shrink, above) + _squares(control, _Q_NN, 1.0, mean)
    size = control[..., _Q_NUM] + shrink * treated[..., _Q_NUM] - shift * treated[..., _Q_DD]
    unit = _unit(expected, size, control[..., _Q_DD] + treated[..., _Q_DD])
    return s / unit, np.maximum(realised, expected) / unit**2


def lift_evidence(
    sums: Floats, null: ArrayLike = 0.0, *, scale: Scale = "relative", side: Side = "two", prior: Prior | None = None
) -> Floats:
    """The logarithmic e-value against ``null``; ``greater`` bets on more than it, ``less`` on less.

    It ever reaches log(1/α) with probability at most α if the null is true, so any rule of stopping is allowed. The
    null of a one-sided bet is "``null`` or less" (``greater``) or "``null`` or more" (``less``).
    """
    s, v = lift_score(sums, null, scale)
    return log_evidence(s, v, prior, side, visitors=sums[..., 0, _N] + sums[..., 1, _N])


def lift_estimate(sums: Floats, scale: Scale = "relative") -> Floats:
    """The lift (or difference) whose score is zero; NaN without control outcomes (or visitors)."""
    control, treated = sums[..., 0, :], sums[..., 1, :]
    weight = control[..., _DEN] + treated[..., _DEN]
    with np.errstate(divide="ignore", invalid="ignore"):
        tilt = (treated[..., _H_DEN] - control[..., _H_DEN]) / weight
        above = treated[..., _H_NUM] - treated[..., _NUM] * tilt
        below = control[..., _H_NUM] + control[..., _NUM] * tilt
        if scale == "absolute":
            return np.asarray((above - below) / (treated[..., _H_DEN] - treated[..., _DEN] * tilt))
        return np.asarray(np.where(below > 0.0, above / below - 1.0, np.nan))


def lift_interval(
    sums: Floats, *, scale: Scale = "relative", level: float = LEVEL, prior: Prior | None = None
) -> Interval:
    """The confidence sequence: every lift (or difference) that the evidence has not refuted, ends included.

    ``sums`` is (2, 12). The ends of a lift are −1 and ∞ while unbounded, those of a difference −∞ and ∞.
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"is {level}", field="level", mend="give a confidence between 0 and 1, such as 0.95")
    limit = -math.log1p(-level)
    centre = float(lift_estimate(sums, scale))
    if scale == "relative":
        inner = [math.log1p(centre)] if math.isfinite(centre) and centre > -1.0 else []
        grid = np.sort(np.append(np.linspace(-_FAR, _FAR, 2 * _CELLS + 1), inner))
        low, high = _accepted(sums, grid, limit, scale, prior)
        return Interval(-1.0 if low is None else math.expm1(low), math.inf if high is None else math.expm1(high))
    if not math.isfinite(centre):
        return Interval(-math.inf, math.inf)
    _, clock = lift_score(sums, centre, "absolute")
    slope = abs(float(lift_score(sums, centre + 1.0, "absolute")[0])) or 1.0
    away = np.geomspace(1e-2, 1e4, _CELLS) * max(math.sqrt(float(clock)) / slope, 1e-12 * max(1.0, abs(centre)))
    grid = np.concatenate([centre - away[::-1], [centre], centre + away])
    low, high = _accepted(sums, grid, limit, scale, prior)
    return Interval(-math.inf if low is None else low, math.inf if high is None else high)


def compare(sums: Floats, *, level: float = LEVEL, prior: Prior | None = None) -> Comparison:
    """Everything that may be said of two arms, from the sum of their :func:`pair_terms`, (2, 12)."""
    if sums.shape != (2, WIDTH):
        raise InputError(f"has the shape {sums.shape}", field="sums", mend="add the terms up over the blocks")
    found = float(lift_evidence(sums, prior=prior))
    first, second = (float(arm[_NUM] / arm[_DEN]) if arm[_DEN] else math.nan for arm in sums)
    return Comparison(
        visitors=(int(sums[0, _N]), int(sums[1, _N])),
        means=(first, second),
        lift=float(lift_estimate(sums)),
        lift_interval=lift_interval(sums, level=level, prior=prior),
        difference=float(lift_estimate(sums, "absolute")),
        difference_interval=lift_interval(sums, scale="absolute", level=level, prior=prior),
        evidence=found,
        p=p_value(found),
    )


def _squares(arm: Floats, first: int, shrink: ArrayLike, mean: Floats) -> Floats:
    """Σw(shrink·x − mean·y)² from the three columns Σwx², Σwxy, Σwy² that start at ``first``, not below 0."""
    k = np.asarray(shrink, np.float64)
    value = k * k * arm[..., first] - 2.0 * k * mean * arm[..., first + 1] + mean * mean * arm[..., first + 2]
    return np.asarray(np.maximum(value, 0.0))


def _unit(expected: Floats, size: Floats, visitors: Floats) -> Floats:
    """Variance over mean: a bet λ on the score is then a bet on a relative effect λ. σ when the mean is not above 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = np.where(size > 0.0, expected / size, np.sqrt(expected / visitors))
    return np.where(unit > 0.0, unit, 1.0)


def _accepted(
    sums: Floats, grid: Floats, limit: float, scale: Scale, prior: Prior | None
) -> tuple[float | None, float | None]:
    """The outermost points that are not refuted, refined outwards by halving; None at an end of the grid.

    On the relative scale the grid is of log(1 + lift).
    """

    def refuted(point: float) -> bool:
        return bool(
            lift_evidence(sums, math.expm1(point) if scale == "relative" else point, scale=scale, prior=prior) >= limit
        )

    nulls = np.expm1(grid) if scale == "relative" else grid
    passing = np.flatnonzero(lift_evidence(sums, nulls, scale=scale, prior=prior) < limit)
    if not passing.size:
        return None, None
    first, last = int(passing[0]), int(passing[-1])
    low = None if first == 0 else _edge(refuted, outside=float(grid[first - 1]), inside=float(grid[first]))
    high = None if last == grid.size - 1 else _edge(refuted, outside=float(grid[last + 1]), inside=float(grid[last]))
    return low, high


def _edge(refuted: Callable[[float], bool], *, outside: float, inside: float) -> float:
    """A point between a refuted and a standing one, on the refuted side, so that rounding never narrows an interval."""
    for _ in range(_HALVINGS):
        middle = (outside + inside) / 2.0
        outside, inside = (middle, inside) if refuted(middle) else (outside, middle)
    return outside
