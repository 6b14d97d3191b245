"""The visitor index: who is nearest to a vector, while vectors come, move and go.

Keys are small numbers (a directory deals them out). Below a size the search is exact, in place over one matrix; above
it an inverted file answers (:mod:`arauto.audience.inverted`), whose recall is measured when it is built. Vectors of
random directions have no neighbourhoods that an inverted file could use: then the search stays exact.
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from arauto.audience.extras import has, need
from arauto.audience.files import read_sealed, write_sealed
from arauto.audience.inverted import InvertedFile
from arauto.core.errors import InputError, ModelFileError, NotFoundError

Floats: TypeAlias = NDArray[np.float32]
Keys: TypeAlias = NDArray[np.int64]
Metric = Literal["cosine", "l2"]
EXACT_BELOW = 20_000
"""Vectors up to which the search is exact: about a millisecond at 128 dimensions."""
RECALL = 0.985
"""What the inverted file must find of the ten nearest, measured on vectors of its own, or it is not used."""
MOST_KEYS = 2**31
_SINGLE = 8
"""Queries up to which NumPy is as fast as FAISS's exact search."""
_FEW = 2000
"""Allowed vectors up to which a filtered search looks at each of them."""


class Engine(Protocol):
    """Where the vectors are. All arguments are checked; ``known`` says which keys are there already."""

    def __len__(self) -> int: ...
    def keys(self) -> Keys: ...
    def put(self, keys: Keys, vectors: Floats, known: NDArray[np.bool_]) -> None: ...
    def remove(self, key: int) -> None: ...
    def vectors(self, keys: Keys) -> Floats: ...
    def nearest(self, queries: Floats, k: int, allowed: NDArray[np.bool_] | None) -> tuple[Keys, Floats]: ...


class Matrix:
    """Exact: the rows of one matrix, overwritten in place; the last row fills the place of a removed one."""

    def __init__(self, dimensions: int, metric: Metric) -> None:
        self._metric = metric
        self._rows = np.zeros((0, dimensions), dtype=np.float32)
        self._keys = np.zeros(0, dtype=np.int64)
        self._place: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._place)

    def keys(self) -> Keys:
        return np.sort(self._keys[: len(self)])

    def put(self, keys: Keys, vectors: Floats, known: NDArray[np.bool_]) -> None:  # noqa: ARG002
        self._reserve(len(self._place) + len(keys))
        for key in keys.tolist():
            if key not in self._place:
                self._keys[len(self._place)] = key
                self._place[key] = len(self._place)
        if len(keys) == 1:
            self._rows[self._place[int(keys[0])]] = vectors[0]
        else:
            self._rows[[self._place[key] for key in keys.tolist()]] = vectors

    def remove(self, key: int) -> None:
        hole, last = self._place.pop(key), len(self._place)
        if hole != last:
            moved = int(self._keys[last])
            self._rows[hole], self._keys[hole] = self._rows[last], moved
            self._place[moved] = hole
        self._rows[last] = 0.0

    def vectors(self, keys: Keys) -> Floats:
        return self._rows[[self._place[key] for key in keys.tolist()]]

    def nearest(self, queries: Floats, k: int, allowed: NDArray[np.bool_] | None) -> tuple[Keys, Floats]:
        keys, rows = self._keys[: len(self)], self._rows[: len(self)]
        if allowed is not None:
            chosen = allowed[keys]
            keys, rows = keys[chosen], rows[chosen]
        places, near = exact(queries, rows, k, self._metric)
        return keys[places], near

    def _reserve(self, count: int) -> None:
        room = len(self._keys)
        if count > room:
            room = max(count, room + room // 4, 64)
            rows = np.zeros((room, self._rows.shape[1]), dtype=np.float32)
            rows[: len(self)] = self._rows[: len(self)]
            self._rows, self._keys = rows, np.resize(self._keys, room)


def exact(queries: Floats, rows: Floats, k: int, metric: Metric) -> tuple[NDArray[np.int64], Floats]:
    """The places of the ``k`` rows nearest to each query, the nearest first, and how near: cosine, or −distance².

    Batches by FAISS where it is installed, whose selection is faster; a few queries, or all without it, by NumPy, with
    the same answers: the import of FAISS would hold up the first event of a small shop.
    """
    k = min(k, len(rows))
    if k == 0:
        return np.zeros((len(queries), 0), dtype=np.int64), np.zeros((len(queries), 0), dtype=np.float32)
    if len(queries) > _SINGLE and has("faiss"):
        faiss = need("faiss")
        kind = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        near, places = faiss.knn(queries, rows, k, metric=kind)
        return places, -near if metric == "l2" else near
    near = queries @ rows.T
    if metric == "l2":
        near = 2 * near - np.square(rows).sum(axis=1) - np.square(queries).sum(axis=1)[:, None]
    places = np.argpartition(near, len(rows) - k, axis=1)[:, len(rows) - k :]
    best = np.take_along_axis(near, places, axis=1)
    order = np.argsort(-best, axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1).astype(np.int64), np.take_along_axis(best, order, axis=1)


class VisitorIndex:
    """Vectors by key. Safe to use from several threads.

    With ``metric`` "cosine" vectors are brought to unit length when they come. ``version`` names their encoder.
    ``engine`` holds them elsewhere (:class:`~arauto.audience.pgvector.PgVectors`, of the same metric).
    """

    def __init__(
        self,
        dimensions: int,
        *,
        metric: Metric = "cosine",
        exact_below: int = EXACT_BELOW,
        version: str = "",
        engine: Engine | None = None,
    ) -> None:
        if not 1 <= dimensions <= 65_536:
            raise InputError(f"is {dimensions}", field="dimensions", mend="give 1 to 65,536")
        self.dimensions, self.metric, self.version = dimensions, metric, version
        self.exact_below = exact_below
        self.engine: Engine = Matrix(dimensions, metric) if engine is None else engine
        self._known = np.zeros(0, dtype=bool)
        if engine is not None and len(held := engine.keys()):
            self._reserve(int(held.max()))
            self._known[held] = True
        self._lock = threading.RLock()
        self._building = threading.Lock()
        self._changed: set[int] | None = None
        self._tried = 0

    def __len__(self) -> int:
        return len(self.engine)

    def __contains__(self, key: int) -> bool:
        return 0 <= key < len(self._known) and bool(self._known[key])

    @property
    def exact(self) -> bool:
        return isinstance(self.engine, Matrix)

    @property
    def keys(self) -> Keys:
        """All keys, ascending."""
        return np.flatnonzero(self._known)

    def put(self, keys: Any, vectors: Any) -> None:
        """Add vectors, or replace those of keys that are there. Of a key given twice, the last counts.

        Raises:
            InputError: shapes do not fit, a number is not finite, or a key is out of range.
        """
        keys = np.atleast_1d(np.asarray(keys, dtype=np.int64))
        checked = self._checked(vectors)
        if len(keys) != len(checked):
            raise InputError(f"are {len(checked)} for {len(keys)} keys", field="vectors", mend="give one vector a key")
        if not len(keys):
            return
        if keys.min() < 0 or keys.max() >= MOST_KEYS:
            raise InputError("are out of range", field="keys", mend="use numbers from 0 to 2³¹ − 1")
        if len(keys) > 1:
            _, last = np.unique(keys[::-1], return_index=True)
            if len(last) != len(keys):
                kept = len(keys) - 1 - last
                keys, checked = keys[kept], checked[kept]
        self.move(keys, checked)

    def move(self, keys: Keys, vectors: Floats) -> None:
        """:meth:`put` for vectors of our own making, which need no check: the hot path. No key comes twice."""
        if not len(keys):
            return
        with self._lock:
            self._reserve(int(keys.max()))
            self.engine.put(keys, vectors, self._known[keys])
            self._known[keys] = True
            if self._changed is not None:
                self._changed.update(keys.tolist())

    def remove(self, key: int) -> bool:
        """Remove a key. Whether it was there."""
        with self._lock:
            if key not in self:
                return False
            self.engine.remove(key)
            self._known[key] = False
            if self._changed is not None:
                self._changed.add(key)
        return True

    def vectors(self, keys: Any) -> Floats:
        """The vectors of keys, keys × dimensions.

        Raises:
            NotFoundError: one of them is not there.
        """
        keys = np.atleast_1d(np.asarray(keys, dtype=np.int64))
        with self._lock:
            for key in keys.tolist():
                if key not in self:
                    raise NotFoundError(f"{key} is not in the index", field="key", mend="add its vector first")
            return self.engine.vectors(keys)

    def nearest(self, queries: Any, k: int = 10, *, allowed: NDArray[np.bool_] | None = None) -> tuple[Keys, Floats]:
        """The keys nearest to each query, the nearest first, and how near: cosine, or with "l2" minus the distance².

        ``allowed`` is a filter by key (shorter arrays stand for False). Both answers are queries × k; where fewer are
        found, the rest is −1 and −∞.

        Raises:
            InputError: shapes do not fit, or ``k`` is out of range.
        """
        if not 1 <= k <= 10_000:
            raise InputError(f"is {k}", field="k", mend="ask for 1 to 10,000")
        asked = self._checked(queries)
        with self._lock:
            if allowed is not None:
                allowed = np.resize(np.pad(allowed, (0, max(0, len(self._known) - len(allowed)))), len(self._known))
                allowed = allowed & self._known
                chosen = np.flatnonzero(allowed)
                if len(chosen) <= _FEW:
                    places, near = exact(asked, self.engine.vectors(chosen), k, self.metric)
                    return _filled(chosen[places], near, k)
            keys, near = self.engine.nearest(asked, k, allowed)
        return (keys, near) if keys.shape[1] == k else _filled(keys, near, k)

    @property
    def stale(self) -> bool:
        """Whether :meth:`rebuild` would make searches faster: too many for an exact one, or the cloud has moved on."""
        if isinstance(self.engine, InvertedFile):
            return self.engine.skewed
        # What was no use once is tried again when there are half as many more.
        return self.exact and len(self) >= self.exact_below and len(self) > 1.5 * self._tried and has("faiss")

    def rebuild(self, seed: int = 0) -> bool:
        """Build the inverted file anew from what is there; searches and changes go on meanwhile. Whether it is in use.

        Raises:
            InputError: FAISS is not installed.
        """
        with self._building:
            with self._lock:
                keys = self.keys
                vectors = self.engine.vectors(keys)
                before = self._known.copy()
                self._changed = set()
                self._tried = len(keys)
            try:
                fresh = InvertedFile.build(keys, vectors, self.metric, seed=seed)
                with self._lock:
                    if fresh.recall < RECALL:
                        return False
                    self._catch_up(fresh, before)
                    self.engine = fresh
                    return True
            finally:
                self._changed = None

    def _catch_up(self, fresh: InvertedFile, before: NDArray[np.bool_]) -> None:
        """Do to ``fresh``, which holds the keys ``before``, what was done since its vectors were read."""
        for key in sorted(self._changed or ()):
            had = before[key : key + 1] if key < len(before) else np.zeros(1, dtype=bool)
            if key in self:
                one = np.array([key], dtype=np.int64)
                fresh.put(one, self.engine.vectors(one), had)
            elif had[0]:
                fresh.remove(key)

    def save(self, path: Path | str, about: Mapping[str, Any] | None = None) -> str:
        """Write keys and vectors (``.npz``) and a description (``.json``). Returns the SHA-256 of the first."""
        with self._lock:
            keys = self.keys
            vectors = self.engine.vectors(keys)
        body = io.BytesIO()
        np.savez(body, keys=keys, vectors=vectors)
        told = {"dimensions": self.dimensions, "metric": self.metric, "version": self.version, **(about or {})}
        return write_sealed(path, body.getvalue(), told)

    @classmethod
    def load(cls, path: Path | str, *, exact_below: int = EXACT_BELOW) -> Self:
        """What :meth:`save` wrote; the inverted file, if one was in use, is built again at once.

        Raises:
            ModelFileError: a file is missing or altered.
        """
        body, about = read_sealed(path)
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
                keys, vectors = arrays["keys"], arrays["vectors"]
            index = cls(
                int(about["dimensions"]), metric=about["metric"], exact_below=exact_below, version=about["version"]
            )
            index.put(keys, vectors)
        except (KeyError, TypeError, ValueError, InputError) as failure:
            raise ModelFileError(f"{path} is no index: {failure}", field="file", mend="write it again") from None
        if index.stale:
            index.rebuild()
        return index

    def _checked(self, vectors: Any) -> Floats:
        """As float32, rows × dimensions, finite; with "cosine" of unit length (zeros stay)."""
        if type(vectors) is np.ndarray and vectors.dtype == np.float32 and vectors.shape == (1, self.dimensions):
            return self._checked_one(np.ascontiguousarray(vectors))
        try:
            rows = np.atleast_2d(np.ascontiguousarray(vectors, dtype=np.float32))
        except (TypeError, ValueError):
            raise InputError("are no numbers", field="vectors", mend="give an array of numbers") from None
        if rows.ndim != 2 or rows.shape[1] != self.dimensions:
            raise InputError(
                f"have the shape {rows.shape}", field="vectors", mend=f"give rows of {self.dimensions} numbers"
            )
        # A number that is not finite, or too large to be squared, shows in its row's size.
        sizes = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        if not np.isfinite(sizes).all():
            raise _not_finite()
        if self.metric == "cosine":
            sizes[sizes == 0] = 1.0
            rows = rows / sizes[:, None]
        return rows

    def _checked_one(self, row: Floats) -> Floats:
        """The same for a single row, 1 × dimensions, at a fifth of the cost: a query has no time to lose."""
        only = row[0]
        size = math.sqrt(only.dot(only))
        if not math.isfinite(size):
            raise _not_finite()
        checked: Floats = row / size if self.metric == "cosine" and size > 0.0 else row
        return checked

    def _reserve(self, key: int) -> None:
        if key >= len(self._known):
            grown = np.zeros(max(key + 1, len(self._known) * 5 // 4), dtype=bool)
            grown[: len(self._known)] = self._known
            self._known = grown


def _not_finite() -> InputError:
    return InputError("hold a number that is not finite", field="vectors", mend="leave that row out")


def _filled(keys: Keys, near: Floats, k: int) -> tuple[Keys, Floats]:
    """Both, ``k`` wide."""
    lacking = k - keys.shape[1]
    if lacking <= 0:
        return keys, near
    return (
        np.pad(keys, ((0, 0), (0, lacking)), constant_values=-1),
        np.pad(near, ((0, 0), (0, lacking)), constant_values=-np.inf),
    )
