"""What an encoder is measured against, each by its paper: a matrix of items × items, or counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arauto.audience.extras import need
from arauto.audience.interactions import Codes, Interactions
from arauto.audience.linear import Floats, histories, inverse_of
from arauto.audience.ranking import Scorer


def apply(matrix: Any, known: Interactions, decay: float = 1.0) -> Scorer:
    """Scores by the sum of the rows of what each user knows, older items by ``decay`` less."""
    before = histories(known, decay, upto=True)

    def score(users: Codes) -> NDArray[Any]:
        scores = before[users] @ matrix
        return np.asarray(scores.todense() if hasattr(scores, "todense") else scores)

    return score


def ease(log: Interactions, ridge: float) -> Floats:
    """EASE (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", algorithm 1)."""
    x = histories(log, 1.0, upto=True)
    inverse = inverse_of(x.T @ x, ridge)
    matrix: Floats = inverse / -np.diag(inverse)
    matrix[np.diag_indices_from(matrix)] = 0.0
    return matrix


def item_knn(log: Interactions, neighbours: int, shrink: float) -> Any:
    """Item-based neighbours by cosine with shrinkage (Sarwar et al. 2001; Bell & Koren 2007), sparse."""
    sparse = need("scipy.sparse")
    x = histories(log, 1.0, upto=True)
    both = (x.T @ x).tocsr()
    sizes = np.sqrt(both.diagonal())
    both.setdiag(0)
    rows, columns = both.nonzero()
    values = np.asarray(both[rows, columns]).ravel() / (sizes[rows] * sizes[columns] + shrink)
    # Of each target, the nearest items only.
    order = np.lexsort((-values, columns))
    rank = np.arange(len(order)) - np.searchsorted(columns[order], columns[order])
    kept = order[rank < neighbours]
    return sparse.csr_matrix((values[kept], (rows[kept], columns[kept])), shape=both.shape)


def popularity(log: Interactions) -> Scorer:
    """The same for everyone: how often each item was met."""
    counts = np.bincount(log.items, minlength=len(log.item_names)).astype(np.float64)
    return lambda users: np.tile(counts, (len(users), 1))


def popular_lately(log: Interactions, moments: NDArray[np.float64], share: float) -> Scorer:
    """How often each item was met among the last ``share`` of all events before the user's moment (by user)."""
    order = np.argsort(log.times, kind="stable")
    times, items = log.times[order], log.items[order]
    window = max(1, round(share * len(items)))

    def score(users: Codes) -> NDArray[np.float64]:
        ends = np.searchsorted(times, moments[users])
        counts = [np.bincount(items[max(0, end - window) : end], minlength=len(log.item_names)) for end in ends]
        return np.asarray(counts, dtype=np.float64)

    return score


def implicit_als(log: Interactions, factors: int, ridge: float, alpha: float) -> Callable[[Interactions], Scorer]:
    """Implicit-feedback ALS (Hu, Koren & Volinsky 2008) of the package ``implicit``.

    Users are folded in again with what they know now.
    """
    als = need("implicit.als")
    model = als.AlternatingLeastSquares(
        factors=factors, regularization=ridge, alpha=alpha, iterations=15, random_state=0, num_threads=1
    )
    model.fit(histories(log, 1.0, upto=True), show_progress=False)

    def scorer(known: Interactions) -> Scorer:
        now = histories(known, 1.0, upto=True)
        return lambda users: np.asarray(model.recalculate_user(users, now[users]) @ model.item_factors.T)

    return scorer
