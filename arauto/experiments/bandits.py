"""Bandits without context: who is shown next, with a propensity that is exactly the one used.

Every policy here is a function from counts to a distribution over arms, from which the arm is then drawn (compare
:mod:`arauto.experiments.allocation`). The chance that an arm is the best is integrated, not sampled, so the same counts
give the same propensities on every server.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arauto.core.errors import InputError

Floats = NDArray[np.float64]

_REACH = np.concatenate([np.linspace(-5.0, 5.0, 15), [6.0, 7.5, 9.5, 12.0]])
"""Where, in posterior standard deviations, each arm puts its points of the common grid."""
_BELOW = 24
_BLOCK = 64
_GROWTH = 16
_MOST_STALE = 128
"""Propensities are renewed when the outcomes have grown by a sixteenth, and at least after so many."""


class Posterior(NamedTuple):
    """Beta(``alpha``, ``beta``) for each arm."""

    alpha: Floats
    beta: Floats


Prior = Callable[[Floats, Floats], Posterior]
"""The arms' prior, given all their successes and trials: their common level may be read off the data themselves."""


def pooled_prior(successes: ArrayLike, trials: ArrayLike) -> Posterior:
    """An empirical-Bayes prior of one success at the arms' common rate: Beta(1, (1 − m)/m).

    The uniform prior expects every second impression to be clicked; where one in fifty is, it wastes the first hundred
    impressions of every arm on finding that out.
    """
    s, n = np.asarray(successes, np.float64), np.asarray(trials, np.float64)
    mean = (float(s.sum()) + 1.0) / (float(n.sum()) + 2.0)
    return Posterior(np.ones(s.shape), np.full(s.shape, (1.0 - mean) / mean))


def best_probabilities(posterior: Posterior) -> Floats:
    """The chance of each arm to have the greatest rate: ∫ f_k(θ) Π_{j≠k} F_j(θ) dθ, by the trapezoid rule.

    The grid joins points around every arm's mean, so that wide and narrow posteriors are both resolved.
    """
    a, b = posterior
    total = a + b
    mean = a / total
    spread = np.sqrt(mean * (1.0 - mean) / (total + 1.0))
    points = (mean[:, None] + spread[:, None] * _REACH).ravel()
    least = float((mean - 5.0 * spread).max())
    # The best arm lies above ``least``: below it only each arm's mass is needed.
    below_least = np.linspace(0.0, max(least, 0.0), _BELOW)
    grid = np.sort(np.clip(np.concatenate([points[points >= least], below_least]), 1e-9, 1.0 - 1e-9))
    step = np.diff(grid)
    log_density = (a[:, None] - 1.0) * np.log(grid) + (b[:, None] - 1.0) * np.log1p(-grid)
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    cells = 0.5 * (density[:, 1:] + density[:, :-1]) * step
    mass = cells.sum(axis=1, keepdims=True)
    below = np.cumsum(cells, axis=1) / mass
    # F at the middle of each cell, where its mass lies.
    middle = np.log(np.maximum(below - 0.5 * cells / mass, 1e-300))
    chance = (cells / mass * np.exp(middle.sum(axis=0) - middle)).sum(axis=1)
    return np.asarray(chance / chance.sum())


def floored(chances: ArrayLike, floor: float) -> Floats:
    """``chances`` mixed with the uniform, so that each of K arms has at least ``floor`` (at most 1/K)."""
    p = np.asarray(chances, np.float64)
    if p.ndim != 1 or not p.size or np.any(p < 0.0) or not p.sum() > 0.0 or not 0.0 <= floor <= 1.0:
        raise InputError("is not a distribution with a floor", field="chances", mend="give shares ≥ 0 and a floor ≤ 1")
    least = min(floor, 1.0 / p.size)
    return np.asarray(least + (1.0 - p.size * least) * p / p.sum())


def top_two(chances: ArrayLike, share: float = 0.5) -> Floats:
    """Top-two Thompson sampling, to find the best arm soon (Russo 2020): the leader, or with 1 − ``share`` its rival.

    The rival is drawn like the leader until it differs; with p the chances that is Σ_j p_j · p_k/(1 − p_j) over j ≠ k.
    """
    p = np.asarray(chances, np.float64)
    if p.size == 1:
        return np.ones(1)
    odds = p / np.maximum(1.0 - p, 1e-12)
    rival = p * (odds.sum() - odds)
    return np.asarray(share * p + (1.0 - share) * rival / rival.sum()) if rival.sum() > 0.0 else p


def revenue_chances(
    orders: ArrayLike, trials: ArrayLike, value: ArrayLike, value_sq: ArrayLike, rng: np.random.Generator
) -> Floats:
    """The chance of each arm to earn most a visitor, by 2,000 posterior draws of rate × mean order value.

    ``value`` and ``value_sq`` are Σv and Σv² over the arm's orders. The rate is Beta; the mean value is normal around
    the arm's mean, drawn towards all arms' common mean by the weight of two orders, so that an arm without orders is
    judged by its rate alone.
    """
    k, n, v, vv = (np.asarray(a, np.float64) for a in (orders, trials, value, value_sq))
    prior = pooled_prior(k, n)
    rates = rng.beta(prior.alpha + k, prior.beta + n - k, size=(2000, k.size))
    if not v.sum() > 0.0:
        return np.bincount(rates.argmax(axis=1), minlength=k.size) / 2000
    common = float(v.sum() / k.sum())
    variance = max(float(vv.sum() / k.sum()) - common**2, (0.1 * common) ** 2)
    means = (v + 2.0 * common) / (k + 2.0)
    worth = np.maximum(rng.normal(means, np.sqrt(variance / (k + 2.0)), size=rates.shape), 0.0)
    return np.bincount((rates * worth).argmax(axis=1), minlength=k.size) / 2000


def effective_trials(ages: ArrayLike, delays: ArrayLike) -> float:
    """How many trials count already, when outcomes come late: each by the share of outcomes that arrive by its age.

    ``ages`` are those of the impressions without outcome, ``delays`` the observed delays of outcomes, in one unit
    (compare Vernade, Cappé & Perchet 2017). With no delay known every trial counts.
    """
    age, known = np.asarray(ages, np.float64), np.sort(np.asarray(delays, np.float64))
    if not known.size:
        return float(age.size)
    return float((np.searchsorted(known, age, side="right") / known.size).sum())


class BernoulliBandit:
    """Thompson sampling over K arms, one event at a time or in batches; outcomes may come late and in any order.

    ``prior`` may be a warm start (:meth:`arauto.experiments.warm.Trust.prior`). ``sharpness`` counts all evidence,
    the prior's too, that often: less exploration, for tests that end long before the arms are told apart (posterior
    reshaping, Chapelle & Li 2011, who found it better than the plain posterior on click logs); 3 suits a warm start.
    ``discount`` < 1 forgets: each update multiplies all earlier counts by it, for rates that drift (discounted Thompson
    sampling, Raj & Kalyani 2017). ``best_arm`` plays top-two instead.
    """

    def __init__(
        self,
        arms: int,
        *,
        floor: float = 0.0,
        prior: Prior = pooled_prior,
        sharpness: float = 2.0,
        discount: float = 1.0,
        best_arm: bool = False,
        seed: int = 0,
    ) -> None:
        if arms < 1 or not 0.5 <= discount <= 1.0 or not 0.0 < sharpness <= 100.0:
            raise InputError("cannot be used", field="arms", mend="give arms ≥ 1, 0.5 ≤ discount ≤ 1, sharpness > 0")
        self.successes = [0.0] * arms
        self.trials = [0.0] * arms
        self._floor = floor
        self._prior = prior
        self._sharpness = sharpness
        self._log_discount = math.log(discount)
        self._best_arm = best_arm
        self._rng = np.random.default_rng(seed)
        self._updates = 0
        self._weight = 1.0
        self._stale = 0
        self._block: list[int] = []
        self.propensities: Sequence[float] = ()
        self.refresh()

    def decide(self) -> tuple[int, float]:
        """The arm to show and its propensity."""
        if not self._block:
            self._draw()
        arm = self._block.pop()
        return arm, self.propensities[arm]

    def update(self, arm: int, successes: float, trials: float = 1.0) -> None:
        """Count outcomes of an arm. ``trials=0`` adds a late success to an impression counted before."""
        # Forgetting the past by d is weighing the new by 1/d, without touching the other arms.
        if self._log_discount:
            self._weight *= math.exp(-self._log_discount * trials)
        self.successes[arm] += successes * self._weight
        self.trials[arm] += trials * self._weight
        self._updates += 1
        self._stale += 1
        if self._stale * _GROWTH >= self._updates or self._stale >= _MOST_STALE:
            self.refresh()

    def posterior(self) -> Posterior:
        """The arms' posteriors now."""
        s, n = np.array(self.successes) / self._weight, np.array(self.trials) / self._weight
        prior = self._prior(s, n)
        c = self._sharpness
        return Posterior(c * (prior.alpha + s), c * (prior.beta + np.maximum(n - s, 0.0)))

    def refresh(self) -> None:
        """Renew the propensities and draw the next arms from them."""
        chances = best_probabilities(self.posterior())
        self.propensities = floored(top_two(chances) if self._best_arm else chances, self._floor).tolist()
        self._stale = 0
        self._block = []
        if self._weight > 1e100:
            self.successes = [s / self._weight for s in self.successes]
            self.trials = [n / self._weight for n in self.trials]
            self._weight = 1.0

    def _draw(self) -> None:
        edges = np.cumsum(self.propensities)
        drawn = np.searchsorted(edges, self._rng.random(_BLOCK) * edges[-1], side="right")
        self._block = np.minimum(drawn, edges.size - 1).tolist()
