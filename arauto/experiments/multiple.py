"""Many variants, many metrics: which findings may be announced, and what a wrong choice would cost."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arauto.core.errors import InputError
from arauto.experiments.bandits import Posterior
from arauto.experiments.mixture import Prior, log_evidence

Floats = NDArray[np.float64]


def discoveries(evidence: ArrayLike, alpha: float = 0.05) -> NDArray[np.bool_]:
    """Which of many log e-values are findings, at most a share ``alpha`` of them false in expectation.

    The e-BH procedure (Wang & Ramdas 2022): the k greatest, for the largest k whose k-th is at least m/(kα). It needs
    no independence, and the e-values may be read at any time: metrics of one experiment, variants of one control.
    """
    e = np.asarray(evidence, np.float64)
    if e.ndim != 1 or np.any(np.isnan(e)) or not 0.0 < alpha < 1.0:
        raise InputError("cannot be ranked", field="evidence", mend="give a list of log e-values and an alpha below 1")
    order = np.argsort(-e, kind="stable")
    needed = math.log(max(e.size, 1) / alpha) - np.log(np.arange(1, e.size + 1))
    passing = np.flatnonzero(e[order] >= needed)
    found = np.zeros(e.size, dtype=bool)
    if passing.size:
        found[order[: passing[-1] + 1]] = True
    return found


def expected_loss(posterior: Posterior, rng: np.random.Generator, draws: int = 20_000) -> Floats:
    """What choosing each arm for good would cost in rate, on average over the posterior: E[max_j θ_j − θ_k]."""
    theta = rng.beta(posterior.alpha, posterior.beta, size=(draws, posterior.alpha.size))
    return np.asarray((theta.max(axis=1, keepdims=True) - theta).mean(axis=0))


def clock_needed(lift: float, level: float = 0.95, prior: Prior | None = None, *, pace: float = 0.0) -> float:
    """The clock V of :func:`~arauto.experiments.lift_score` at which a true ``lift`` is found, on average.

    ``pace`` is how far the clock goes with a visitor; only without a ``prior`` does it matter.
    """
    if lift == 0.0 or not math.isfinite(lift) or lift <= -1.0:
        raise InputError(f"is {lift}", field="lift", mend="give a relative effect that is not 0, such as 0.05")
    limit, low, high = -math.log1p(-level), 0.0, 1e12
    # S is ℓV on average, and the noise of S adds half a unit of evidence.
    for _ in range(200):
        middle = math.sqrt(low * high) if low else high / 2.0**20
        visitors = middle / pace if pace else 0.0
        enough = float(log_evidence(lift * middle, middle, prior, visitors=visitors)) + 0.5 >= limit
        low, high = (low, middle) if enough else (middle, high)
        if high <= low * 1.000001:
            break
    return high


def visitors_needed(
    rate: float, lift: float, *, share: float = 0.5, level: float = 0.95, prior: Prior | None = None
) -> int:
    """How many visitors, both arms together, a rate needs on average until a ``lift`` is found."""
    if not (0.0 < rate < 1.0 and 0.0 < share < 1.0):
        raise InputError(f"are {rate} and {share}", field="rate", mend="give a rate and a share between 0 and 1")
    pace = rate * share * (1.0 - share) / (1.0 - rate)
    return math.ceil(clock_needed(lift, level, prior, pace=pace) / pace)


def visitors_left(
    clock: float, visitors: int, lift: float, *, level: float = 0.95, prior: Prior | None = None
) -> int | None:
    """How many more, at the clock's pace so far; None while it stands still. 0: by now it should have been found."""
    if clock <= 0.0 or visitors <= 0:
        return None
    return max(0, math.ceil(visitors * (clock_needed(lift, level, prior, pace=clock / visitors) / clock - 1.0)))
