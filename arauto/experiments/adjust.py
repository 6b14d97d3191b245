"""Less noise by what was known before: CUPED (Deng, Xu, Kohavi & Walker 2013) and regression adjustment (Lin 2013).

The coefficient is fitted on both arms together, blind to who got what, so the adjusted outcomes are still only
outcomes: :mod:`arauto.experiments.comparison` may compare them at any time with the same promise. A covariate must have
been fixed before the visitor was assigned.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arauto.core.errors import InputError

Floats = NDArray[np.float64]


class Adjusted(NamedTuple):
    """``num`` and ``num2`` are Σy' and Σy'², in the shape given; ``reduction`` is the share of variance gone."""

    num: Floats
    num2: Floats
    theta: float
    reduction: float


def cuped(n: ArrayLike, y: ArrayLike, yy: ArrayLike, x: ArrayLike, xx: ArrayLike, xy: ArrayLike) -> Adjusted:
    """Adjust sums for one covariate: y' = y − θ(x − x̄), θ = Cov(y, x)/Var(x) over everybody.

    Each argument holds a count or a sum for every arm (and block): visitors, Σy, Σy², Σx, Σx², Σxy.
    """
    c, sy, syy, sx, sxx, sxy = (np.asarray(a, np.float64) for a in (n, y, yy, x, xx, xy))
    if not c.shape == sy.shape == syy.shape == sx.shape == sxx.shape == sxy.shape or not c.sum() > 0.0:
        raise InputError("do not fit", field="x", mend="give all six sums for the same arms and blocks")
    total = float(c.sum())
    centre = float(sx.sum()) / total
    spread = float(sxx.sum()) / total - centre**2
    mean = float(sy.sum()) / total
    variance = float(syy.sum()) / total - mean**2
    together = float(sxy.sum()) / total - centre * mean
    theta = together / spread if spread > 1e-12 * max(1.0, centre**2) else 0.0
    away, away2 = sx - centre * c, sxx - 2.0 * centre * sx + centre**2 * c
    num = sy - theta * away
    num2 = syy - 2.0 * theta * (sxy - centre * sy) + theta**2 * away2
    return Adjusted(num, num2, theta, theta * together / variance if variance > 0.0 else 0.0)


def regression_adjusted(y: ArrayLike, covariates: ArrayLike) -> Floats:
    """Outcomes less what several covariates, (n, d), foretell; their mean stays. Rows without a covariate: give NaN.

    A missing value is filled with the covariate's mean and marked by a column of its own.
    """
    outcome, z = np.asarray(y, np.float64), np.asarray(covariates, np.float64)
    if outcome.ndim != 1 or z.ndim != 2 or z.shape[0] != outcome.size or outcome.size < 2:
        raise InputError("do not fit", field="covariates", mend="give one row of covariates for each outcome")
    missing = np.isnan(z)
    known = np.where(missing, 0.0, z)
    filled = np.where(missing, known.sum(axis=0) / np.maximum((~missing).sum(axis=0), 1), z)
    design = np.hstack([filled, missing[:, missing.any(axis=0)].astype(np.float64)])
    design -= design.mean(axis=0)
    theta, *_ = np.linalg.lstsq(design, outcome - outcome.mean(), rcond=None)
    return np.asarray(outcome - design @ theta)
