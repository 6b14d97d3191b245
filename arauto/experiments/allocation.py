"""Which arm to show: Beta-Bernoulli Thompson sampling, turned into numbers from which the arm is then drawn.

Textbook Thompson sampling draws one sample from each posterior and shows the arm of the greatest (Thompson 1933;
Chapelle & Li 2011); the probability of that choice has no closed form. Here the probabilities are computed first, by
Monte Carlo, and the arm is drawn from *them*: whatever the Monte Carlo error, the propensity that is logged is exactly
the one that was used, which is what off-policy estimates need.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arauto.core.errors import InputError
from arauto.experiments.bandits import Posterior, best_probabilities, revenue_chances, top_two

Floats = NDArray[np.float64]

DRAWS = 2000
"""Posterior draws behind a set of propensities: their standard error is at most 0.5/√2000 ≈ 0.011."""


def beta_posterior(successes: ArrayLike, trials: ArrayLike) -> tuple[Floats, Floats]:
    """The two parameters of each arm's posterior Beta(1 + s, 1 + n − s): a uniform prior and ``s`` of ``n`` successes.

    Raises:
        InputError: when there is no arm, the lengths differ, or not 0 ≤ s ≤ n.
    """
    s, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    if s.ndim != 1 or s.shape != n.shape or not s.size:
        raise InputError(
            f"has the shape {s.shape}, trials {n.shape}",
            field="successes",
            mend="give one number of successes and one of trials for each arm, and at least one arm",
        )
    if not (np.all(np.isfinite(n)) and np.all(s >= 0) and np.all(s <= n)):
        raise InputError(
            "is not from 0 to trials for every arm", field="successes", mend="count each trial's success at most once"
        )
    return 1.0 + s, 1.0 + n - s


def thompson_propensities(
    successes: ArrayLike, trials: ArrayLike, *, floor: float, draws: int = DRAWS, rng: np.random.Generator
) -> Floats:
    """The probability with which each of K arms is to be shown next.

    The posteriors of :func:`beta_posterior` are drawn ``draws`` times together; w_k is the share of draws that arm k
    wins. The propensity is f + (1 − K·f)·w_k with f = min(``floor``, 1/K): every arm keeps at least f, so that every
    arm can recover and every importance weight is at most 1/f.

    Returns:
        K float64 ≥ f whose exactly rounded sum (``math.fsum``) is 1.
    """
    alpha, beta = beta_posterior(successes, trials)
    return _floored(_wins(alpha, beta, draws, rng), floor)


def uniform_propensities(arms: int) -> Floats:
    """1/K for each of K arms."""
    if arms < 1:
        raise InputError(f"is {arms}", field="arms", mend="give at least one arm")
    return _exact(np.full(arms, 1.0 / arms), 0.0)


def fixed_propensities(shares: ArrayLike) -> Floats:
    """Shares above 0, scaled to sum to 1 exactly."""
    p = np.asarray(shares, dtype=np.float64)
    if p.ndim != 1 or not p.size or not np.all(p > 0.0) or not np.all(np.isfinite(p)):
        raise InputError("are not shares", field="shares", mend="give each arm a share above 0")
    return _exact(p / math.fsum(p), 0.0)


def top_two_propensities(successes: ArrayLike, trials: ArrayLike, *, floor: float) -> Floats:
    """Like :func:`thompson_propensities` by top-two Thompson sampling (Russo 2020): the best arm is found sooner."""
    return _floored(top_two(best_probabilities(Posterior(*beta_posterior(successes, trials)))), floor)


def revenue_propensities(
    orders: ArrayLike,
    trials: ArrayLike,
    value: ArrayLike,
    value_sq: ArrayLike,
    *,
    floor: float,
    rng: np.random.Generator,
) -> Floats:
    """Like :func:`thompson_propensities`, for what a trial earns (:func:`~arauto.experiments.revenue_chances`)."""
    return _floored(revenue_chances(orders, trials, value, value_sq, rng), floor)


def segment_propensities(
    successes: ArrayLike,
    trials: ArrayLike,
    *,
    floor: float,
    draws: int = DRAWS,
    rng: np.random.Generator,
    features: ArrayLike | None = None,
) -> Floats:
    """Linear Thompson sampling over the contexts of the traffic, from counts (K arms, C contexts).

    Each arm's rate is a level plus a difference for each feature (Agrawal & Goyal 2013), so that a context with little
    data leans on the others. The prior is centred on the common rate m with the standard deviation m for a level and
    m/3 for a difference; the noise is the outcomes', m(1 − m).

    Args:
        successes: (K, C).
        trials: (K, C), at least the successes.
        floor: the least propensity.
        draws: of the posterior.
        rng: where they come from.
        features: (C, F), what is known of each context; None: each is a segment of its own (its indicator).

    Returns:
        (C, K): in each context, propensities as of :func:`thompson_propensities`.
    """
    s, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    if s.ndim != 2 or s.shape != n.shape or not s.size or np.any(s < 0) or np.any(s > n):
        raise InputError("do not fit", field="successes", mend="give counts by arm and context, 0 ≤ s ≤ n")
    arms, contexts = s.shape
    known = np.eye(contexts) if features is None else np.asarray(features, dtype=np.float64)
    if known.ndim != 2 or known.shape[0] != contexts:
        raise InputError(f"have the shape {known.shape}", field="features", mend="give one row for each context")
    mean = (float(s.sum()) + 1.0) / (float(n.sum()) + 2.0)
    noise = mean * (1.0 - mean)
    design = np.hstack([np.ones((contexts, 1)), known])
    prior = noise / mean**2 * np.diag([1.0, *[9.0] * known.shape[1]])
    drawn = np.empty((arms, draws, design.shape[1]))
    for arm in range(arms):
        information = prior + (design * n[arm][:, None]).T @ design
        centre = np.linalg.solve(information, design.T @ (s[arm] - mean * n[arm]))
        spread = np.linalg.cholesky(noise * np.linalg.inv(information))
        drawn[arm] = centre + rng.standard_normal((draws, design.shape[1])) @ spread.T
    wins = [np.bincount((drawn @ row).argmax(axis=0), minlength=arms) / draws for row in design]
    return np.stack([_floored(share, floor) for share in wins])


def draw_arms(propensities: ArrayLike, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``n`` independent arms (indices from 0), arm k with probability ``propensities[k]``: a block to serve from."""
    p = np.asarray(propensities, dtype=np.float64)
    return rng.choice(p.size, size=n, p=p).astype(np.int64, copy=False)


def chance_to_win(successes: ArrayLike, trials: ArrayLike, rng: np.random.Generator, draws: int = 20_000) -> Floats:
    """The posterior probability of each arm that its rate is the greatest (20,000 draws: standard error ≤ 0.0036).

    A Bayesian summary for the eye. Unlike :func:`~arauto.experiments.rate_sequence` it promises no error rate to one
    who stops when it looks good.
    """
    alpha, beta = beta_posterior(successes, trials)
    return _wins(alpha, beta, draws, rng)


def _floored(chances: Floats, floor: float) -> Floats:
    least = _check_floor(floor, chances.size)
    return _exact(least + (1.0 - chances.size * least) * chances, least)


def _check_floor(floor: float, arms: int) -> float:
    if not 0.0 <= floor <= 1.0:
        raise InputError(f"is {floor}", field="floor", mend="give a share from 0 to 1")
    return min(floor, 1.0 / arms)


def _wins(alpha: Floats, beta: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """The share of ``draws`` joint posterior draws that each arm wins."""
    if draws < 1:
        raise InputError(f"is {draws}", field="draws", mend="give at least one draw")
    winners = rng.beta(alpha, beta, size=(draws, alpha.size)).argmax(axis=1)
    return np.bincount(winners, minlength=alpha.size) / draws


def _exact(p: Floats, least: float) -> Floats:
    """``p`` with the last rounding error moved to its greatest entry, so that it sums to 1 exactly."""
    p = np.maximum(p, least)
    top = int(p.argmax())
    # One rounding, of at most half the distance from 1 to the number below it: so the sum rounds to 1.
    p[top] = math.fsum([1.0, *-p[:top], *-p[top + 1 :]])
    return p
