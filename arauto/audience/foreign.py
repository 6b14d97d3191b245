"""Other libraries' index files: FAISS's and Annoy's open as ours, and ours is written as FAISS's.

Both are read as vectors and keys. A compressed FAISS index holds no whole vectors: what it decodes is taken.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from arauto.audience.extras import need
from arauto.audience.index import Metric, VisitorIndex
from arauto.core.errors import InputError
from arauto.core.files import write_whole

MOST_BYTES = 16 * 2**30
_ANNOY_HEAD = {"angular": 12, "euclidean": 16}
"""Bytes of a node of Annoy 1.x before its vector: the number of descendants, (euclidean) an offset, the children."""


def open_faiss(path: Path) -> VisitorIndex:
    """A user's ``index.faiss``: flat, IVF, HNSW and the like, with or without an id map.

    Raises:
        InputError: it cannot be read as an index with vectors.
    """
    faiss = need("faiss")
    _check(path)
    try:
        found = faiss.read_index(str(path))
        keys, vectors = _contents(faiss, found)
    except (RuntimeError, AttributeError) as failure:
        reason = str(failure).splitlines()[-1][:200] if str(failure) else "of an unknown kind"
        raise InputError(
            f"cannot be read: {reason}", field="file", mend="give an index that holds its vectors"
        ) from None
    metric: Metric = "l2" if found.metric_type == faiss.METRIC_L2 else "cosine"
    return _filled(keys, vectors, metric)


def _contents(faiss: Any, found: Any) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if isinstance(found, faiss.IndexIDMap):  # IndexIDMap2 is one, too
        _, vectors = _contents(faiss, faiss.downcast_index(found.index))
        return faiss.vector_to_array(found.id_map).astype(np.int64), vectors
    if isinstance(found, faiss.IndexPreTransform):
        raise InputError("transforms its vectors", field="file", mend="give an index of the whole vectors")
    if isinstance(found, faiss.IndexIVF):
        lists = found.invlists
        parts = [
            faiss.rev_swig_ptr(lists.get_ids(one), lists.list_size(one)).copy()
            for one in range(lists.nlist)
            if lists.list_size(one)
        ]
        keys = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        found.set_direct_map_type(faiss.DirectMap.Hashtable)
        return keys, found.reconstruct_batch(keys)
    return np.arange(found.ntotal, dtype=np.int64), found.reconstruct_n(0, found.ntotal)


def open_annoy(path: Path, dimensions: int, metric: Literal["angular", "euclidean"] = "angular") -> VisitorIndex:
    """A user's ``.ann`` file. It does not say how long its vectors are, nor its metric: both are asked for.

    The layout is that of Annoy 1.x on a little-endian machine: nodes of one size, items first, an item being a node
    with one descendant.

    Raises:
        InputError: the file does not have that layout.
    """
    _check(path)
    head = _ANNOY_HEAD[metric]
    size = head + 4 * dimensions
    body = path.read_bytes()
    if not body or len(body) % size:
        raise InputError(
            f"is not made of nodes of {size} bytes",
            field="file",
            mend="give the dimensions and metric it was built with",
        )
    nodes = np.frombuffer(body, dtype=np.uint8).reshape(-1, size)
    descendants = nodes[:, :4].copy().view("<i4").ravel()
    inner = np.flatnonzero(descendants > 1)
    items = int(inner[0]) if len(inner) else len(nodes)
    keys = np.flatnonzero(descendants[:items] == 1)
    if not len(keys) or (descendants < 0).any():
        raise InputError("holds no item", field="file", mend="give the dimensions and metric it was built with")
    vectors = nodes[keys, head:].copy().view("<f4")
    return _filled(keys, vectors, "cosine" if metric == "angular" else "l2")


def write_faiss(index: VisitorIndex, path: Path) -> int:
    """Write ``index`` as a flat FAISS index behind an id map, which any FAISS opens. Returns the number of vectors."""
    faiss = need("faiss")
    keys = index.keys
    kind = faiss.METRIC_L2 if index.metric == "l2" else faiss.METRIC_INNER_PRODUCT
    flat = faiss.IndexIDMap2(faiss.IndexFlat(index.dimensions, kind))
    if len(keys):
        flat.add_with_ids(index.vectors(keys), keys)
    write_whole(path, faiss.serialize_index(flat).tobytes())
    return len(keys)


def _filled(keys: NDArray[np.int64], vectors: NDArray[np.float32], metric: Metric) -> VisitorIndex:
    index = VisitorIndex(vectors.shape[1], metric=metric)
    index.put(keys, vectors)
    if index.stale:
        index.rebuild()
    return index


def _check(path: Path) -> None:
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path} is no file of at most 16 GiB", field="file", mend="name an index file")
