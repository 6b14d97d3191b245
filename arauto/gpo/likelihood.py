"""What the counts can tell about texts: within-test contrasts with their precision, and the ridge that fits them.

Clicks are binomial, with a free level for every test and a random one for every image in it::

    clicks_i ~ Binomial(impressions_i, p_i),   log p_i = test + image + s(text_i) + e_i
    image ~ N(0, IMAGE²),  e_i ~ N(0, RESIDUAL²)

At the click rates of marketing log(clicks/impressions) is close to normal with variance 1/clicks, so the likelihood of
s is a Gaussian one: an arm with many clicks speaks louder, up to what its own residual allows, and the test's level is
projected out. Fitting is then weighted least squares in closed form (Laird & Ware 1982, random-effects models).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arauto.gpo.table import Floats, Ints, Table

RESIDUAL = 0.14
"""Standard deviation of an arm's log rate that no model of its text explains."""
IMAGE = 0.3
"""Standard deviation of an image's effect on the log rate within a test."""


@dataclass(frozen=True)
class Contrasts:
    """k independent contrasts of unit variance: ``mix[i] @ s + noise = y[i]``, each within one test.

    ``rows`` and ``weights`` are the sparse mix: contrast i is Σ ``weights[j] · s(rows[j])`` over j with ``of[j] == i``.
    """

    rows: Ints
    weights: Floats
    of: Ints
    y: Floats
    test: Ints

    def apply(self, features: NDArray[np.floating]) -> NDArray[np.floating]:
        """The contrasts of the rows of ``features`` (n, d), as (k, d)."""
        starts = np.flatnonzero(np.diff(self.of, prepend=-1))
        mixed: NDArray[np.floating] = np.add.reduceat(
            features[self.rows] * self.weights[:, None].astype(features.dtype), starts, axis=0
        )
        return mixed


def contrasts_of(table: Table) -> Contrasts:
    """Whiten every test's arms after projecting its level out."""
    log_rate = np.log((table.clicks + 0.5) / (table.impressions + 0.5))
    variance = 1.0 / (table.clicks + 0.5) + RESIDUAL**2
    parts: list[tuple[Ints, Floats]] = []
    tests: list[int] = []
    order = np.argsort(table.test, kind="stable")
    starts = np.flatnonzero(np.diff(table.test[order], prepend=-1))
    for rows in np.split(order, starts[1:]):
        shown = rows[table.impressions[rows] > 0.0]
        if shown.size < 2:
            continue
        same = table.group[shown][:, None] == table.group[shown][None, :]
        whitened = _whiten(np.diag(variance[shown]) + IMAGE**2 * same)
        parts += [(shown, row) for row in whitened]
        tests += [int(table.test[shown[0]])] * len(whitened)
    if not parts:
        return Contrasts(
            *(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))
        )
    lengths = [len(rows) for rows, _ in parts]
    rows = np.concatenate([rows for rows, _ in parts])
    weights = np.concatenate([row for _, row in parts])
    of = np.repeat(np.arange(len(parts)), lengths)
    y = np.add.reduceat(log_rate[rows] * weights, np.flatnonzero(np.diff(of, prepend=-1)))
    return Contrasts(rows, weights, of, y, np.array(tests))


def _whiten(covariance: Floats) -> Floats:
    """L (m-1, m) with L 1 = 0 and L'L = V⁻¹ - V⁻¹11'V⁻¹ / 1'V⁻¹1: unit-variance contrasts free of the level."""
    precision = np.linalg.inv(covariance)
    sums = precision.sum(axis=1)
    projected = precision - np.outer(sums, sums) / sums.sum()
    values, vectors = np.linalg.eigh(projected)
    # One eigenvalue is the level's, exactly zero but for rounding: the smallest.
    root: Floats = (vectors[:, 1:] * np.sqrt(np.maximum(values[1:], 0.0))).T
    return root


def ridge(mixed: NDArray[np.floating], y: Floats, penalty: float, weights: Floats | None = None) -> Floats:
    """argmin_w Σ weights · (mixed w - y)² + penalty · |w|², in closed form, in the smaller of the two dimensions."""
    root: Floats = np.ones(len(y)) if weights is None else np.sqrt(weights)
    x = np.multiply(mixed, root[:, None], dtype=np.float64)
    target = y * root
    if x.shape[1] <= x.shape[0]:
        return np.asarray(np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ target), np.float64)
    return np.asarray(x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(x.shape[0]), target), np.float64)
