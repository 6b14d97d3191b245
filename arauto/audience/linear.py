"""Linear autoregression: ridge regression of the next items on the decayed history, in closed form.

With x the decayed history of a user before an event (the last item weighs 1, the one before γ, …) and y what came next
(the next item 1, the one after δ, …), ``B = (XᵀX + λI)⁻¹ XᵀY`` (SLIT of Choi et al. 2021, "Session-aware Linear
Item-Item Models for Session-based Recommendation", without its normalisations). Both products are sums over events, so
an event is learned by adding to them, and logs that were counted apart are added. Where tastes move on, an item's score
is weighted by how much of its interest is late: the share of its events that are among the last of their users, for
those are nearer to today than the rest (after TALE's trend-aware normalisation, Park et al. 2025; here by order).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from arauto.audience.extras import need
from arauto.audience.interactions import Interactions
from arauto.core.errors import InputError
from arauto.core.spread import Spread

Floats = NDArray[np.float32]
_SMALL = 1e-3
"""Weights below this are left out."""
_BLOCK = 1024
LAST = 3
"""Events of a user that are late."""
MOST = 64
"""Items of a history that count."""
SHRINK = 5.0
"""Events that are added to each item's before cosines, so that few users in common prove little."""
PART = 500_000
"""Events that are counted at a time."""


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the linear model is fitted: γ, λ, δ, how much the reversed histories count, the power of lateness, the weight
    of the pairs reversed and of the cosine, and the γ that a history is read with (0: the one of the fit)."""

    decay: Annotated[float, Meta(gt=0, lt=1)] = 0.85
    ridge: Annotated[float, Meta(gt=0)] = 100.0
    ahead: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    reverse: Annotated[float, Meta(ge=0, le=1)] = 0.0
    late: Annotated[float, Meta(ge=0, le=1)] = 0.0
    back: Annotated[float, Meta(ge=0, le=1)] = 0.0
    alike: Annotated[float, Meta(ge=0, le=1)] = 0.0
    read: Annotated[float, Meta(ge=0, lt=1)] = 0.0

    @property
    def reading(self) -> float:
        """The γ that a history is read with."""
        return self.read or self.decay


def weights_back(decay: float) -> Floats:
    """1, γ, γ², … for as long as they matter."""
    if decay in (0.0, 1.0):
        return np.ones(1 if decay == 0 else MOST, dtype=np.float32)
    count = min(MOST, int(np.log(_SMALL) / np.log(decay)) + 1)
    weights: Floats = (decay ** np.arange(count)).astype(np.float32)
    return weights


def histories(log: Interactions, decay: float, *, upto: bool) -> Any:
    """A sparse matrix with the decayed history before each row of ``log``; with ``upto``, one row a user: all of it."""
    sparse = need("scipy.sparse")
    if upto:
        weights = weights_back(decay)
        kept = (log.left < len(weights)) | (decay == 1.0)
        values = np.ones(kept.sum(), np.float32) if decay == 1.0 else weights[log.left[kept]]
        shape = (len(log.user_names), len(log.item_names))
        return sparse.csr_matrix((values, (log.users[kept], log.items[kept])), shape=shape)
    return _lagged(log, weights_back(decay), log.place, -1)


def _lagged(log: Interactions, weights: Floats, room: NDArray[np.int64], step: int) -> Any:
    """Row r holds ``weights[l]`` at the item l + 1 rows before it (``step`` −1), or l rows after it (``step`` 1)."""
    sparse = need("scipy.sparse")
    every = np.arange(len(log.users))
    first = 1 if step < 0 else 0
    rows = [every[room >= lag + first] for lag in range(len(weights))]
    columns = [log.items[one + step * (lag + first)] for lag, one in enumerate(rows)]
    values = [np.full(len(one), weight, dtype=np.float32) for one, weight in zip(rows, weights, strict=True)]
    place = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_matrix((np.concatenate(values), place), shape=(len(every), len(log.item_names)))


class Statistics:
    """``gram`` = XᵀX and ``cross`` = XᵀY of some events, and the ``pairs`` of items that a user met one after the other
    (counted where the recipe asks), sparse, items × items; by item, how often it was ``met``, and how often among the
    last of a user."""

    def __init__(self, items: int, recipe: Recipe) -> None:
        sparse = need("scipy.sparse")
        self.recipe = recipe
        self.events = 0
        self.gram: Any = sparse.csr_matrix((items, items), dtype=np.float32)
        self.cross: Any = sparse.csr_matrix((items, items), dtype=np.float32)
        self.pairs: Any = sparse.csr_matrix((items, items), dtype=np.float32)
        self.met = np.zeros(items)
        self.last = np.zeros(items)

    def count(self, log: Interactions) -> None:
        """Add a whole log."""
        self.events += len(log.users)
        self.met += np.bincount(log.items, minlength=len(self.met))
        self.last += np.bincount(log.items[log.left < LAST], minlength=len(self.last))
        self._count(log, 1.0)
        if self.recipe.reverse:
            self._count(_reversed(log), self.recipe.reverse)
        if self.recipe.alike:
            self._pair(log)

    def add(self, other: Statistics) -> None:
        """Add what was counted of other users."""
        self.events += other.events
        self.met, self.last = self.met + other.met, self.last + other.last
        self.gram, self.cross, self.pairs = self.gram + other.gram, self.cross + other.cross, self.pairs + other.pairs

    def _count(self, log: Interactions, weight: float) -> None:
        before = histories(log, self.recipe.decay, upto=False)
        after = _lagged(log, weights_back(self.recipe.ahead), log.left, 1)
        self.gram = self.gram + weight * (before.T @ before)
        self.cross = self.cross + weight * (before.T @ after)

    def _pair(self, log: Interactions) -> None:
        every, now = np.ones(MOST, np.float32), np.ones(1, np.float32)
        self.pairs = self.pairs + _lagged(log, every, log.place, -1).T @ _lagged(log, now, log.left, 1)

    def learn(self, history: NDArray[np.int64], item: int) -> None:
        """Add one event: ``item`` (a code) came after ``history``, the latest last.

        Exactly what :meth:`count` adds for it when the recipe looks one step ahead and not back.
        """
        sparse = need("scipy.sparse")
        self.events += 1
        self.met[item] += 1
        self.last[item] += 1
        if len(history) >= LAST:
            self.last[history[-LAST]] -= 1
        weights = weights_back(self.recipe.decay)
        recent = history[::-1][: len(weights)]
        size = self.gram.shape[0]
        before = sparse.csr_matrix((weights[: len(recent)], (np.zeros(len(recent), int), recent)), shape=(1, size))
        after = sparse.csr_matrix((np.ones(1, np.float32), ([0], [item])), shape=(1, size))
        self.gram = self.gram + before.T @ before
        self.cross = self.cross + before.T @ after
        if self.recipe.alike:
            all_before = history[-MOST:]
            ones = (np.ones(len(all_before), np.float32), (np.zeros(len(all_before), int), all_before))
            self.pairs = self.pairs + sparse.csr_matrix(ones, shape=(1, size)).T @ after

    def solve(self) -> Floats:
        """B, items × items: row i says what an event with item i adds to the score of each item.

        Raises:
            InputError: nobody has two items.
        """
        if not self.cross.nnz:
            raise InputError("has no user with two items", field="data", mend="give a longer log")
        recipe = self.recipe
        inverse = inverse_of(self.gram, recipe.ridge)
        cross = self.cross + recipe.back * self.cross.T if recipe.back else self.cross
        # inverse is symmetric: B = inverse · cross = (crossᵀ · inverse)ᵀ, which keeps cross sparse
        solved: Floats = np.ascontiguousarray((cross.T.tocsr() @ inverse).T)
        if recipe.alike:
            near = self._cosines()
            solved[near.row, near.col] += recipe.alike * near.data
        solved *= (((self.last + 1) / (self.met + LAST)) ** recipe.late).astype(np.float32)
        return solved

    def _cosines(self) -> Any:
        """Of each two items: how many of their users they share, over the root of the product of how many they have."""
        both = (self.pairs + self.pairs.T).tocoo()
        apart = both.row != both.col
        row, col, shared = both.row[apart], both.col[apart], both.data[apart]
        many = (self.met + SHRINK).astype(np.float32)
        return need("scipy.sparse").coo_matrix((shared / np.sqrt(many[row] * many[col]), (row, col)), shape=both.shape)


def counted(log: Interactions, recipe: Recipe, ray: str = "") -> Statistics:
    """The statistics of a whole log, counted in parts of :data:`PART` events or little more, users whole, and added in
    their order. ``ray`` is the setting ``ray_address``: where that is done."""
    found = Statistics(len(log.item_names), recipe)
    for one in Spread(_count_part, (len(log.item_names), recipe), ray)(log.parts(PART)):
        found.add(one)
    return found


def _count_part(shared: tuple[int, Recipe], log: Interactions) -> Statistics:
    one = Statistics(*shared)
    one.count(log)
    return one


def inverse_of(gram: Any, ridge: float) -> Floats:
    """``(gram + ridge·I)⁻¹`` of a sparse positive matrix, by Cholesky's factor.

    Raises:
        InputError: the sum is not positive.
    """
    lapack = need("scipy.linalg").lapack
    whole = np.asarray(gram.todense(), dtype=np.float32, order="F")
    whole[np.diag_indices_from(whole)] += ridge
    factor, failed = lapack.spotrf(whole, lower=1, overwrite_a=1)
    if failed:
        raise InputError("is too small", field="ridge", mend="give a larger one")
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    _mirror(inverse)
    symmetric: Floats = inverse.T
    return symmetric


def _mirror(lower: Floats) -> None:
    """Copy the lower triangle over the upper one, in place and in blocks."""
    size = len(lower)
    for start in range(0, size, _BLOCK):
        end = min(start + _BLOCK, size)
        corner = np.tril(lower[start:end, start:end])
        lower[start:end, start:end] = corner + np.tril(corner, -1).T
        lower[start:end, end:] = lower[end:, start:end].T


def _reversed(log: Interactions) -> Interactions:
    """Each user's history told backwards."""
    last = len(log.user_names) - 1
    counts = np.diff(log.starts)[::-1]
    return Interactions(
        last - log.users[::-1],
        log.items[::-1],
        -log.times[::-1],
        log.user_names[::-1],
        log.item_names,
        np.concatenate([[0], np.cumsum(counts)]),
    )


def factor(matrix: Floats, rank: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """``U·S`` and ``V``: the best product of that rank, by the randomised method (Halko, Martinsson & Tropp 2011,
    algorithm 4.4, two power iterations). V has orthonormal columns, so products of rows of ``x @ U·S`` are products of
    the predicted scores."""
    rank = min(rank, len(matrix))
    width = min(rank + 16, len(matrix))
    basis = rng.standard_normal((len(matrix), width)).astype(np.float32)
    for _ in range(2):
        left, _ = np.linalg.qr(matrix @ basis)
        basis, _ = np.linalg.qr(matrix.T @ left)
    left, _ = np.linalg.qr(matrix @ basis)
    small = left.T @ matrix
    inner, sizes, right = np.linalg.svd(small, full_matrices=False)
    inputs: Floats = (left @ inner[:, :rank] * sizes[:rank]).astype(np.float32)
    outputs: Floats = np.ascontiguousarray(right[:rank].T, dtype=np.float32)
    return inputs, outputs
