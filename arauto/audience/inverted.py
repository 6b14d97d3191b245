"""Approximate search above a size: FAISS's inverted file of whole vectors, with a hash table from key to place.

Measured against graphs (HNSW of four libraries), it alone replaces vectors in place at tens of thousands a second and
forgets a removed one at once; see docs/decisions/0017-inverted-file.md.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from arauto.audience.extras import need

Floats = NDArray[np.float32]
Keys = NDArray[np.int64]
_AIM = 0.99
"""Recall of the ten nearest that the number of visited lists is chosen for."""
_PROBES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
_QUERIES = 256
_BLOCK = 256
"""Vectors that are given a list at once: their products stay in the cache."""
_SKEW = 1.25
"""How many times as uneven as when built the lists may become."""


class InvertedFile:
    """Vectors in lists around centroids; a search visits the lists nearest to it. ``recall`` is what it found of the
    ten nearest when it was built."""

    def __init__(self, index: Any, quantizer: Any, recall: float) -> None:
        self._faiss = need("faiss")
        self._index, self._quantizer = index, quantizer
        self._centres: Floats = np.ascontiguousarray(quantizer.reconstruct_n(0, index.nlist).T)
        self._l2 = index.metric_type == self._faiss.METRIC_L2
        self._lift = np.square(self._centres).sum(axis=0) / 2 if self._l2 else None
        self.recall = recall
        self._even = float(index.invlists.imbalance_factor())
        self._changes = 0

    @classmethod
    def build(cls, keys: Keys, vectors: Floats, metric: Literal["cosine", "l2"], *, seed: int = 0) -> Self:
        """Centroids from a sample, then all vectors; the number of visited lists by measuring against exact search."""
        faiss = need("faiss")
        kind = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        dimensions = vectors.shape[1]
        lists = lists_for(len(vectors))
        quantizer = faiss.IndexFlat(dimensions, kind)
        index = faiss.IndexIVFFlat(quantizer, dimensions, lists, kind)
        index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = seed + 1, 8, 64
        index.cp.min_points_per_centroid = 1
        rng = np.random.default_rng(seed)
        sample = rng.choice(len(vectors), min(len(vectors), 64 * lists), replace=False)
        index.train(vectors[np.sort(sample)])
        index.set_direct_map_type(faiss.DirectMap.Hashtable)
        _fill(faiss, index, keys, vectors)
        asked = vectors[rng.choice(len(vectors), min(len(vectors), _QUERIES), replace=False)]
        recall = _choose_probes(faiss, index, asked, keys, vectors, kind)
        return cls(index, quantizer, recall)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def keys(self) -> Keys:
        """All keys, ascending."""
        lists = self._index.invlists
        held = [
            self._faiss.rev_swig_ptr(lists.get_ids(one), lists.list_size(one)).copy()
            for one in range(lists.nlist)
            if lists.list_size(one)
        ]
        return np.sort(np.concatenate(held)) if held else np.zeros(0, dtype=np.int64)

    @property
    def probes(self) -> int:
        return int(self._index.nprobe)

    @property
    def skewed(self) -> bool:
        """Whether the lists became so uneven that searches are slow: the vectors have moved away from the centroids."""
        if self._changes < len(self):
            return False
        return bool(self._index.invlists.imbalance_factor() > _SKEW * self._even)

    def put(self, keys: Keys, vectors: Floats, known: NDArray[np.bool_]) -> None:
        if known.any():
            self._remove(keys[known])
        keys, vectors = np.ascontiguousarray(keys), np.ascontiguousarray(vectors)
        own = self._own(vectors)
        at = self._faiss.swig_ptr
        # One thread: others would wait for each other longer than the copying takes.
        if (threads := self._faiss.omp_get_max_threads()) > 1:
            self._faiss.omp_set_num_threads(1)
        try:
            self._index.add_core(len(keys), at(vectors), at(keys), at(own))
        finally:
            if threads > 1:
                self._faiss.omp_set_num_threads(threads)
        self._changes += len(keys)

    def _own(self, vectors: Floats) -> Keys:
        """The list of each vector, in blocks: of a small block the quantizer's own search waits for its threads."""
        own = np.empty(len(vectors), dtype=np.int64)
        for start in range(0, len(vectors), _BLOCK):
            near = vectors[start : start + _BLOCK] @ self._centres
            if self._lift is not None:
                near -= self._lift
            own[start : start + _BLOCK] = near.argmax(axis=1)
        return own

    def remove(self, key: int) -> None:
        self._remove(np.array([key], dtype=np.int64))
        self._changes += 1

    def _remove(self, keys: Keys) -> None:
        self._index.remove_ids(self._faiss.IDSelectorArray(len(keys), self._faiss.swig_ptr(keys)))

    def vectors(self, keys: Keys) -> Floats:
        keys, at = np.ascontiguousarray(keys), self._faiss.swig_ptr
        found = np.empty((len(keys), self._index.d), dtype=np.float32)
        self._index.reconstruct_batch_c(len(keys), at(keys), at(found))
        return found

    def nearest(self, queries: Floats, k: int, allowed: NDArray[np.bool_] | None) -> tuple[Keys, Floats]:
        params = None
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            chosen = self._faiss.IDSelectorBitmap(len(bits), self._faiss.swig_ptr(bits))
            # A filter thins the lists out: visit as many more.
            wider = min(self._index.nlist, round(self.probes * len(allowed) / max(1, int(allowed.sum()))))
            params = self._faiss.SearchParametersIVF(sel=chosen, nprobe=max(self.probes, wider))
        keys, near = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
        at = self._faiss.swig_ptr
        # Past FAISS's own checks, which ours have made already: of a single search they are a tenth.
        self._index.search_c(len(queries), at(queries), k, at(near), at(keys), params)
        if self._l2:
            near = -near
        # What is lacking is at the end; a single answer is looked at without an array's ado.
        if keys[0, -1] < 0 if len(keys) == 1 else (keys[:, -1] < 0).any():
            near[keys < 0] = -np.inf
        return keys, near


def lists_for(count: int) -> int:
    """How many lists: about four times the root, so that a query's own list and a few beside it hold its neighbours."""
    return max(1, min(4096, int(4 * np.sqrt(count)), count // 8))


def _fill(faiss: Any, index: Any, keys: Keys, vectors: Floats) -> None:
    """Add the vectors to lists that were made as long as they will be: grown one by one, they would double."""
    _, own = index.quantizer.search(vectors, 1)
    for one, size in enumerate(np.bincount(own.ravel(), minlength=index.nlist).tolist()):
        index.invlists.resize(one, size + size // 20 + 1)
        index.invlists.resize(one, 0)
    at = faiss.swig_ptr
    index.add_core(len(keys), at(vectors), at(keys), at(own))


def _choose_probes(faiss: Any, index: Any, asked: Floats, keys: Keys, vectors: Floats, kind: int) -> float:
    """Visit as few lists as find enough. Returns the recall reached."""
    k = min(10, len(keys))
    _, places = faiss.knn(asked, vectors, k, metric=kind)
    truth = keys[places]
    recall = 0.0
    for probes in _PROBES:
        index.nprobe = min(probes, index.nlist)
        _, found = index.search(asked, k)
        recall = float(np.mean([len(set(a) & set(b)) / k for a, b in zip(truth.tolist(), found.tolist(), strict=True)]))
        if recall >= _AIM:
            break
    return recall
