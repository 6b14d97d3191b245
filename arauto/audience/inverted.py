"""Approximate search above a size: FAISS's inverted file of whole vectors, with a hash table from key to place.

Measured against graphs (HNSW of four libraries), it alone replaces vectors in place at tens of thousands a second and
forgets a removed one at once; see docs/decisions/0017-inverted-file.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from arauto.audience.extras import need

Floats = NDArray[np.float32]
Keys = NDArray[np.int64]
_AIM = 0.99
"""Recall of the ten nearest that the number of visited lists is chosen for."""
_ROOTS = (1, 2, 4)
"""How many lists are tried, in roots of the number of vectors: the customary range, from its cheap end."""
_PROBES = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128])
_FAR = 3
"""What comparing with a list's vector costs, in comparisons with a centroid: one comes from memory, the other from the
cache (100,000 vectors of 128 dimensions)."""
_NEAREST = 10
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
        """Centroids from a sample, then all vectors. How many lists there are and how many of them a search visits:
        what finds enough by the fewest comparisons, measured against exact search."""
        faiss = need("faiss")
        kind = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        cut = _best_cut(faiss, vectors, kind, seed)
        index = faiss.IndexIVFFlat(cut.quantizer, vectors.shape[1], cut.quantizer.ntotal, kind)
        index.set_direct_map_type(faiss.DirectMap.Hashtable)
        index.nprobe = cut.probes
        _fill(faiss, index, keys, vectors, cut.own)
        return cls(index, cut.quantizer, cut.recall)

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


@dataclass(frozen=True, slots=True)
class Cut:
    """Vectors cut into lists: each one's ``own``. A search that visits so many ``probes`` finds ``recall`` of the ten
    nearest, and its comparisons, with centroids and with the vectors of those lists, cost ``work``."""

    quantizer: Any
    own: Keys
    probes: int
    recall: float
    work: float


def _best_cut(faiss: Any, vectors: Floats, kind: int, seed: int) -> Cut:
    """The cut that finds enough with the least work; or, where none does, that which finds most."""
    count = len(vectors)
    rng = np.random.default_rng(seed)
    asked = vectors[rng.choice(count, min(count, _QUERIES), replace=False)]
    # The first is the vector itself, which its own list always holds.
    truth = faiss.knn(asked, vectors, min(_NEAREST + 1, count), metric=kind)[1][:, 1:]
    cuts: list[Cut] = []
    for lists in dict.fromkeys(max(1, min(4096, int(roots * np.sqrt(count)), count // 8)) for roots in _ROOTS):
        # Else the centroids alone would cost more than what was found.
        if not any(cut.recall >= _AIM and cut.work <= lists for cut in cuts):
            cuts.append(_cut(faiss, vectors, kind, lists, asked, truth, seed))
    return max(cuts, key=lambda cut: (min(cut.recall, _AIM), -cut.work))


def _cut(faiss: Any, vectors: Floats, kind: int, lists: int, asked: Floats, truth: Keys, seed: int) -> Cut:
    """So many lists, and as few visits as find enough: counted on the lists of the ``truth``, without a search."""
    index = faiss.IndexIVFFlat(quantizer := faiss.IndexFlat(vectors.shape[1], kind), vectors.shape[1], lists, kind)
    index.cp.seed, index.cp.niter, index.cp.max_points_per_centroid = seed + 1, 8, 64
    index.cp.min_points_per_centroid = 1
    chosen = np.random.default_rng(seed).choice(len(vectors), min(len(vectors), 64 * lists), replace=False)
    index.train(vectors[np.sort(chosen)])
    own = quantizer.search(vectors, 1)[1].ravel()
    visited = quantizer.search(asked, min(lists, int(_PROBES[-1])))[1]
    probes = np.minimum(_PROBES, visited.shape[1])
    found = visited[:, :, None] == own[truth][:, None, :]  # queries × visits × neighbours
    recall = found.mean(axis=(0, 2)).cumsum()[probes - 1] if truth.size else np.ones(len(probes))
    met = np.bincount(own, minlength=lists)[visited].mean(axis=0).cumsum()[probes - 1]
    # What looks at half of all is no better than looking at all.
    fit = max(1, int((met <= len(vectors) / 2).sum()))
    enough = recall[:fit] >= _AIM
    at = int(enough.argmax()) if enough.any() else fit - 1
    return Cut(quantizer, own, int(probes[at]), float(recall[at]), lists + _FAR * float(met[at]))


def _fill(faiss: Any, index: Any, keys: Keys, vectors: Floats, own: Keys) -> None:
    """Add the vectors to lists that were made as long as they will be: grown one by one, they would double."""
    for one, size in enumerate(np.bincount(own, minlength=index.nlist).tolist()):
        index.invlists.resize(one, size + size // 20 + 1)
        index.invlists.resize(one, 0)
    at = faiss.swig_ptr
    index.add_core(len(keys), at(vectors), at(keys), at(own))
