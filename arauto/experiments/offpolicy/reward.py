"""The reward model q(x, a): ridge regression on the arm and the context, cross-fitted by visitor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arauto.experiments.offpolicy.log import Log

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FOLDS = 5
RIDGES = (1.0, 10.0, 100.0, 1000.0)
"""Penalties tried, in rows: an arm shown ``ridge`` times is drawn halfway to the mean."""
_MOST_INTERACTIONS = 256
"""Arm × context columns are added while there are no more of them than this."""
_STEPS = 25


def cross_fit(log: Log, rng: np.random.Generator, sample_weights: Floats | None = None) -> Floats:
    """q(x_i, a) for every row i and arm a, (n, K), from models that never saw the visitor of row i.

    Binary rewards get a logistic link. The penalty is the one of :data:`RIDGES` with the least held-out loss.
    ``sample_weights`` make it the regression of MRDR (Farajtabar, Chow & Ghavamzadeh 2018).
    """
    fold = rng.permutation(int(log.clusters.max()) + 1)[log.clusters] % FOLDS
    binary = bool(np.all((log.rewards == 0.0) | (log.rewards == 1.0)))
    weights = np.ones(log.arms.size) if sample_weights is None else sample_weights / max(sample_weights.mean(), 1e-300)
    scaled = _standardise(log.context)
    fits = {ridge: _predict_folds(log, scaled, fold, weights, ridge, binary) for ridge in RIDGES}
    rows = np.arange(log.arms.size)

    def loss(q: Floats) -> float:
        p = q[rows, log.arms]
        if binary:
            p = np.clip(p, 1e-9, 1.0 - 1e-9)
            return float(-(weights * np.where(log.rewards > 0.0, np.log(p), np.log1p(-p))).sum())
        return float((weights * (log.rewards - p) ** 2).sum())

    return min(fits.values(), key=loss)


def _predict_folds(log: Log, context: Floats, fold: Ints, weights: Floats, ridge: float, binary: bool) -> Floats:
    n, arms = log.target.shape
    q = np.empty((n, arms))
    for held in range(FOLDS):
        test = fold == held
        train = ~test
        if not train.any():
            train = test
        design = _design(log.arms[train], context[train], arms)
        beta = _ridge(design, log.rewards[train], weights[train], ridge, binary)
        d = context.shape[1]
        eta = beta[0] + beta[1 : 1 + arms] + (context[test] @ beta[1 + arms : 1 + arms + d])[:, None]
        if beta.size > 1 + arms + d:
            eta = eta + context[test] @ beta[1 + arms + d :].reshape(arms, d).T
        q[test] = 1.0 / (1.0 + np.exp(-eta)) if binary else eta
    return q


def _design(shown: Ints, context: Floats, arms: int) -> Floats:
    """Columns: one, the arm, the context, and (when few) the context of each arm."""
    n, d = context.shape
    parts = [np.ones((n, 1)), np.eye(arms)[shown], context]
    if 0 < arms * d <= _MOST_INTERACTIONS:
        parts.append((np.eye(arms)[shown][:, :, None] * context[:, None, :]).reshape(n, arms * d))
    return np.hstack(parts)


def _ridge(design: Floats, y: Floats, weights: Floats, ridge: float, binary: bool) -> Floats:
    """Penalised least squares, or logistic regression by Newton's method with step halving; no penalty on the first."""
    penalty = np.full(design.shape[1], ridge if not binary else ridge * 0.25)
    penalty[0] = 1e-6
    if not binary:
        spread = max(float(np.average((y - np.average(y, weights=weights)) ** 2, weights=weights)), 1e-12)
        gram = (design * weights[:, None]).T @ design + np.diag(penalty * min(spread, 1.0))
        return np.asarray(np.linalg.solve(gram, design.T @ (weights * y)))
    base = np.clip(np.average(y, weights=weights), 1e-6, 1.0 - 1e-6)
    # A penalty of ``ridge`` rows at the base rate, whose information a row is p(1 − p).
    penalty[1:] *= 4.0 * base * (1.0 - base)
    beta = np.zeros(design.shape[1])
    beta[0] = np.log(base / (1.0 - base))
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ beta, -30.0, 30.0)))
        gradient = design.T @ (weights * (y - p)) - penalty * beta
        information = (design * (weights * p * (1.0 - p))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(information, gradient)
        beta += step / max(1.0, float(np.abs(step).max()) / 2.0)
        if float(np.abs(step).max()) < 1e-6:
            break
    return beta


def _standardise(context: Floats) -> Floats:
    if not context.shape[1]:
        return context
    spread = context.std(axis=0)
    kept = spread > 0.0
    return np.asarray((context[:, kept] - context[:, kept].mean(axis=0)) / spread[kept])
