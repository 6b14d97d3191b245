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
    fits = _predict_folds(log, scaled, fold, weights, binary)
    rows = np.arange(log.arms.size)

    def loss(q: Floats) -> float:
        p = q[rows, log.arms]
        if binary:
            p = np.clip(p, 1e-9, 1.0 - 1e-9)
            return float(-(weights * np.where(log.rewards > 0.0, np.log(p), np.log1p(-p))).sum())
        return float((weights * (log.rewards - p) ** 2).sum())

    return min(fits, key=loss)


def _predict_folds(log: Log, context: Floats, fold: Ints, weights: Floats, binary: bool) -> list[Floats]:
    """Held-out predictions, (n, K), for each penalty, from the strongest down: each starts where the last ended."""
    n, arms = log.target.shape
    d = context.shape[1]
    fits = [np.empty((n, arms)) for _ in RIDGES]
    for held in range(FOLDS):
        test = fold == held
        train = ~test if not test.all() else test
        design = _design(log.arms[train], context[train], arms)
        beta = np.zeros(design.shape[1])
        for q, ridge in zip(fits, sorted(RIDGES, reverse=True), strict=True):
            beta = _ridge(design, log.rewards[train], weights[train], ridge, binary, beta)
            eta = beta[0] + beta[1 : 1 + arms] + (context[test] @ beta[1 + arms : 1 + arms + d])[:, None]
            if beta.size > 1 + arms + d:
                eta = eta + context[test] @ beta[1 + arms + d :].reshape(arms, d).T
            q[test] = 1.0 / (1.0 + np.exp(-eta)) if binary else eta
    return fits


def _design(shown: Ints, context: Floats, arms: int) -> Floats:
    """Columns: one, the arm, the context, and (when few) the context of each arm."""
    n, d = context.shape
    parts = [np.ones((n, 1)), np.eye(arms)[shown], context]
    if 0 < arms * d <= _MOST_INTERACTIONS:
        parts.append((np.eye(arms)[shown][:, :, None] * context[:, None, :]).reshape(n, arms * d))
    return np.hstack(parts)


def _ridge(design: Floats, y: Floats, weights: Floats, ridge: float, binary: bool, start: Floats) -> Floats:
    """Ridge, or ridge logistic regression by damped Newton steps from ``start``; the first column is not penalised."""
    mean = float(np.average(y, weights=weights))
    if not binary:
        penalty = _penalty(design.shape[1], ridge)
        gram = (design * weights[:, None]).T @ design + np.diag(penalty)
        return np.asarray(np.linalg.solve(gram, design.T @ (weights * y)))
    base = min(max(mean, 1e-6), 1.0 - 1e-6)
    # A penalty of ``ridge`` rows at the base rate, whose information a row is p(1 − p).
    penalty = _penalty(design.shape[1], ridge * base * (1.0 - base))
    beta = start.copy()
    if not beta.any():
        beta[0] = np.log(base / (1.0 - base))
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ beta, -30.0, 30.0)))
        gradient = design.T @ (weights * (y - p)) - penalty * beta
        information = (design * (weights * p * (1.0 - p))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(information, gradient)
        longest = float(np.abs(step).max())
        beta += step / max(1.0, longest / 2.0)
        if longest < 1e-4:
            break
    return beta


def _penalty(columns: int, ridge: float) -> Floats:
    penalty = np.full(columns, ridge)
    penalty[0] = 1e-6
    return penalty


def _standardise(context: Floats) -> Floats:
    if not context.shape[1]:
        return context
    spread = context.std(axis=0)
    kept = spread > 0.0
    return np.asarray((context[:, kept] - context[:, kept].mean(axis=0)) / spread[kept])
