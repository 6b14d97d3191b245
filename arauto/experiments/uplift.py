"""Who should be shown it at all? The effect by visitor, and what a policy that chooses its audience is worth.

From a randomised test with a known chance e of treatment. The effect τ(x) is fitted by the R-learner (Nie & Wager
2021): least squares of y − m(x) − (A − e)τ(x), ridge on standardised features. Everything that is *reported* must come
from visitors the model has not seen: split first, fit on one part, value on the other.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arauto.core.errors import InputError
from arauto.experiments.intervals import LEVEL, Interval

Floats = NDArray[np.float64]


class UpliftModel(NamedTuple):
    """τ(x) = ``intercept`` + ((x − ``centre``)/``scale``)·``slopes``."""

    intercept: float
    slopes: Floats
    centre: Floats
    scale: Floats

    def predict(self, features: ArrayLike) -> Floats:
        x = np.asarray(features, np.float64)
        return np.asarray(self.intercept + ((x - self.centre) / self.scale) @ self.slopes)


class PolicyValue(NamedTuple):
    """Reward a visitor under the policy, its gain over treating all and over treating none, and the share treated."""

    value: float
    interval: Interval
    over_all: float
    over_all_interval: Interval
    over_none: float
    over_none_interval: Interval
    treated_share: float


class UpliftCurve(NamedTuple):
    """Gain a visitor when the best ``share`` by predicted uplift are treated, for shares 0 … 1.

    ``auuc`` is the area under it; ``qini`` the area between it and treating at random.
    """

    share: Floats
    gain: Floats
    auuc: float
    qini: float


def fit_uplift(
    features: ArrayLike, treated: ArrayLike, outcome: ArrayLike, share: float, ridge: float = 100.0
) -> UpliftModel:
    """Fit τ(x). ``ridge`` is in visitors: weak evidence for a difference between visitors is drawn to no difference."""
    x, a, y = _checked(features, treated, outcome, share)
    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0.0, scale, 1.0)
    z = (x - centre) / scale
    baseline = _least_squares(np.column_stack([np.ones(y.size), z]), y, ridge)
    residual = y - baseline[0] - z @ baseline[1:]
    tilt = (a - share)[:, None]
    beta = _least_squares(tilt * np.column_stack([np.ones(y.size), z]), residual, ridge * share * (1.0 - share))
    return UpliftModel(float(beta[0]), beta[1:], centre, scale)


def policy_value(
    treat: ArrayLike, treated: ArrayLike, outcome: ArrayLike, share: float, cost: float = 0.0, level: float = LEVEL
) -> PolicyValue:
    """The worth of treating those marked in ``treat``, from a random test on visitors the policy was not fitted on.

    By inverse propensity with the arms' means as baseline (AIPW), at one look: a report after the end of a test.
    ``cost`` is what one treatment costs, in units of the outcome.
    """
    chosen = np.asarray(treat, np.float64)
    _, a, y = _checked(chosen[:, None], treated, outcome, share)
    ones, zeros = y[a > 0.0], y[a == 0.0]
    if not ones.size or not zeros.size:
        raise InputError("has an empty arm", field="treated", mend="give visitors of both arms")
    with_it = ones.mean() + a * (y - ones.mean()) / share - cost
    without = zeros.mean() + (1.0 - a) * (y - zeros.mean()) / (1.0 - share)
    rewards = np.where(chosen > 0.0, with_it, without)
    z = NormalDist().inv_cdf(0.5 + level / 2.0)

    def bound(values: Floats) -> tuple[float, Interval]:
        mean, half = float(values.mean()), z * float(values.std()) / values.size**0.5
        return mean, Interval(mean - half, mean + half)

    return PolicyValue(
        *bound(rewards), *bound(rewards - with_it), *bound(rewards - without), float((chosen > 0.0).mean())
    )


def uplift_curve(predicted: ArrayLike, treated: ArrayLike, outcome: ArrayLike, share: float) -> UpliftCurve:
    """The uplift curve of predictions on visitors they were not fitted on (Radcliffe 2007); 101 points."""
    tau = np.asarray(predicted, np.float64)
    _, a, y = _checked(tau[:, None], treated, outcome, share)
    effect = (a / share - (1.0 - a) / (1.0 - share)) * (y - y.mean())
    order = np.argsort(-tau, kind="stable")
    gained = np.concatenate([[0.0], effect[order].cumsum()]) / tau.size
    shares = np.linspace(0.0, 1.0, 101)
    gain = np.interp(shares * tau.size, np.arange(tau.size + 1), gained)
    area = float(np.trapezoid(gain, shares))
    return UpliftCurve(shares, gain, area, area - 0.5 * float(gain[-1]))


def _least_squares(design: Floats, y: Floats, ridge: float) -> Floats:
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 1e-9
    return np.asarray(np.linalg.solve(design.T @ design + np.diag(penalty), design.T @ y))


def _checked(
    features: ArrayLike, treated: ArrayLike, outcome: ArrayLike, share: float
) -> tuple[Floats, Floats, Floats]:
    x, a, y = (np.asarray(part, np.float64) for part in (features, treated, outcome))
    if x.ndim != 2 or a.shape != (x.shape[0],) or y.shape != a.shape or not np.all((a == 0.0) | (a == 1.0)):
        raise InputError("do not fit", field="treated", mend="give a row of features, 0 or 1, and an outcome each")
    if not 0.0 < share < 1.0:
        raise InputError(f"is {share}", field="share", mend="give the chance of treatment, between 0 and 1")
    return x, a, y
