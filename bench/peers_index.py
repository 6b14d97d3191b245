"""Runs in ours or in the peers' environment: one index library on made vectors (bench/audience_index.py)."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

K = 10
QUERIES = 1000
PASSES = 7
SEED = 7


def make(count: int, dimensions: int, kind: str, seed: int, shift: float = 0.0) -> Any:
    """Unit vectors: around 1,000 centres, or of random directions. ``shift`` moves the centres."""
    rng = np.random.default_rng(seed)
    if kind == "random":
        rows = rng.random((count, dimensions), dtype=np.float32) - 0.5
    else:
        centres = np.random.default_rng(SEED).standard_normal((1000, dimensions), dtype=np.float32)
        centres += shift * np.random.default_rng(SEED + 1).standard_normal((1000, dimensions), dtype=np.float32)
        rows = centres[rng.integers(0, 1000, count)]
        rows += 0.6 * rng.standard_normal((count, dimensions), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def truth(rows: Any, queries: Any) -> Any:
    """The exact answers, in blocks."""
    best = [np.argpartition(-(block @ rows.T), K, axis=1)[:, :K] for block in np.array_split(queries, 20)]
    return np.concatenate(best)


def recall(found: Any, wanted: Any) -> float:
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found.tolist(), wanted.tolist(), strict=True)]))


def resident() -> int:
    """Bytes in memory, once what was freed is handed back to the system (glibc keeps it for later)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Ours:
    def __init__(self, _: int, dimensions: int) -> None:
        sys.path.insert(0, str(Path.cwd()))
        import faiss  # noqa: F401

        from arauto.audience import VisitorIndex

        self.index = VisitorIndex(dimensions)

    def build(self, rows: Any) -> None:
        for start in range(0, len(rows), 50_000):
            self.index.put(np.arange(start, min(start + 50_000, len(rows))), rows[start : start + 50_000])
        if self.index.stale:
            self.index.rebuild()

    def search(self, queries: Any) -> Any:
        return self.index.nearest(queries, K)[0]

    def replace(self, keys: Any, rows: Any) -> None:
        self.index.put(keys, rows)

    def remove(self, key: int) -> None:
        self.index.remove(key)

    def tend(self) -> None:
        if self.index.stale:
            self.index.rebuild()

    def told(self) -> dict[str, Any]:
        engine: Any = self.index.engine
        return {"exact": self.index.exact, "probes": getattr(engine, "probes", 0)}


class FaissIVF:
    def __init__(self, count: int, dimensions: int) -> None:
        import faiss

        self.faiss = faiss
        self.lists = max(1, min(4096, int(4 * np.sqrt(count)), count // 8))
        quantizer = faiss.IndexFlatIP(dimensions)
        self.quantizer = quantizer
        self.index = faiss.IndexIVFFlat(quantizer, dimensions, self.lists, faiss.METRIC_INNER_PRODUCT)

    def build(self, rows: Any) -> None:
        self.index.cp.niter = 8
        self.index.cp.max_points_per_centroid = 64
        self.index.train(rows[np.random.default_rng(0).permutation(len(rows))[: 64 * self.lists]])
        self.index.set_direct_map_type(self.faiss.DirectMap.Hashtable)
        self.index.add_with_ids(rows, np.arange(len(rows)))
        queries = rows[np.random.default_rng(1).permutation(len(rows))[:256]]
        _, wanted = self.faiss.knn(queries, rows, K, metric=self.faiss.METRIC_INNER_PRODUCT)
        for probes in (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64):
            self.index.nprobe = probes
            if recall(self.search(queries), wanted) >= 0.99:
                break

    def search(self, queries: Any) -> Any:
        return self.index.search(queries, K)[1]

    def replace(self, keys: Any, rows: Any) -> None:
        self.index.remove_ids(self.faiss.IDSelectorArray(keys))
        self.index.add_with_ids(rows, keys)

    def remove(self, key: int) -> None:
        self.index.remove_ids(self.faiss.IDSelectorArray(np.array([key], dtype=np.int64)))

    def tend(self) -> None:
        pass

    def told(self) -> dict[str, Any]:
        return {"probes": self.index.nprobe, "lists": self.lists}


class FaissFlat(FaissIVF):
    def __init__(self, _: int, dimensions: int) -> None:
        import faiss

        self.faiss, self.lists = faiss, 0
        self.index = faiss.IndexFlatIP(dimensions)

    def build(self, rows: Any) -> None:
        self.index.add(rows)

    def told(self) -> dict[str, Any]:
        return {}


class Hnswlib:
    def __init__(self, count: int, dimensions: int) -> None:
        import hnswlib  # type: ignore[import-not-found]

        self.index = hnswlib.Index(space="ip", dim=dimensions)
        self.index.init_index(max_elements=count, ef_construction=100, M=16)
        self.index.set_ef(64)

    def build(self, rows: Any) -> None:
        self.index.add_items(rows, np.arange(len(rows)))

    def search(self, queries: Any) -> Any:
        return self.index.knn_query(queries, k=K)[0]

    def replace(self, keys: Any, rows: Any) -> None:
        self.index.add_items(rows, keys)

    def remove(self, key: int) -> None:
        self.index.mark_deleted(key)

    def tend(self) -> None:
        pass

    def told(self) -> dict[str, Any]:
        return {"ef": 64, "M": 16}


class Usearch(Hnswlib):
    def __init__(self, _: int, dimensions: int) -> None:
        from usearch.index import Index  # type: ignore[import-not-found]

        self.index = Index(
            ndim=dimensions, metric="ip", dtype="f32", connectivity=16, expansion_add=100, expansion_search=64
        )

    def build(self, rows: Any) -> None:
        self.index.add(np.arange(len(rows)), rows)

    def search(self, queries: Any) -> Any:
        return self.index.search(queries, K).keys.reshape(len(queries), -1)

    def replace(self, keys: Any, rows: Any) -> None:
        self.index.remove(keys)
        self.index.add(keys, rows)

    def remove(self, key: int) -> None:
        self.index.remove(key)


class Voyager(Hnswlib):
    def __init__(self, count: int, dimensions: int) -> None:
        from voyager import Index, Space  # type: ignore[import-not-found]

        self.index = Index(Space.InnerProduct, num_dimensions=dimensions, M=16, ef_construction=100, max_elements=count)
        self.index.ef = 64

    def build(self, rows: Any) -> None:
        self.index.add_items(rows, list(range(len(rows))))

    def search(self, queries: Any) -> Any:
        return self.index.query(queries, k=K)[0]

    def replace(self, keys: Any, rows: Any) -> None:
        self.index.add_items(rows, keys.tolist())


CONTENDERS: dict[str, Any] = {
    "arauto": Ours,
    "faiss_ivf": FaissIVF,
    "faiss_flat": FaissFlat,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
    "voyager": Voyager,
}


def speed(one: Any, queries: Any) -> dict[str, float]:
    """Single queries one after the other, then all at once. Quantiles are the median of those of several passes: one
    pause of a busy machine would be the p99 of a pass."""
    for query in queries[:50]:
        one.search(query[None])
    quantiles = []
    for _ in range(PASSES):
        took = []
        for query in queries:
            began = time.perf_counter()
            one.search(query[None])
            took.append((time.perf_counter() - began) * 1000)
        quantiles.append(np.quantile(took, [0.5, 0.99]))
    began = time.perf_counter()
    for _ in range(5):
        one.search(queries)
    batch = 5 * len(queries) / (time.perf_counter() - began)
    p50, p99 = np.median(quantiles, axis=0)
    return {"p50_ms": float(p50), "p99_ms": float(p99), "batch_a_second": batch}


def replacing(one: Any, keys: Any, rows: Any, queries: Any) -> float:
    """Vectors replaced a second, in blocks of 256, while another thread queries."""
    stop = threading.Event()

    def ask() -> None:
        place = 0
        while not stop.wait(0.002):
            one.search(queries[place % len(queries)][None])
            place += 1

    # The peers are not safe for a write during a search: they are asked between the blocks, by the same thread.
    safe = isinstance(one, Ours)
    asking = threading.Thread(target=ask)
    if safe:
        asking.start()
    began = time.perf_counter()
    for start in range(0, len(keys), 256):
        one.replace(keys[start : start + 256], rows[start : start + 256])
        if not safe and start % 2560 == 0:
            one.search(queries[:1])
    took = time.perf_counter() - began
    stop.set()
    if safe:
        asking.join()
    return len(keys) / took


def main() -> None:
    asked = json.loads(sys.argv[1])
    name, count, dimensions, kind = (asked[key] for key in ("contender", "count", "dimensions", "kind"))
    rows, queries = make(count, dimensions, kind, 1), make(QUERIES, dimensions, kind, 2)
    wanted = truth(rows, queries)
    with contextlib.suppress(Exception):
        # Its libraries are not what is measured.
        CONTENDERS[name](16, dimensions).build(rows[:16])
    gc.collect()
    before = resident()
    began = time.perf_counter()
    one = CONTENDERS[name](count, dimensions)
    one.build(rows)
    built = time.perf_counter() - began
    gc.collect()
    memory = resident() - before
    found: dict[str, Any] = {
        "build_s": built,
        "memory_of_raw": memory / rows.nbytes,
        "recall": recall(one.search(queries), wanted),
        **speed(one, queries),
        **one.told(),
    }
    if kind == "clustered":
        some = min(count, 20_000)
        keys = np.random.default_rng(3).permutation(count)[:some]
        block = 20_000 if name in ("arauto", "faiss_ivf") else 2_000
        found["replaced_a_second"] = replacing(one, keys[:block], rows[keys[:block]], queries)
        removed = keys[:500]
        began = time.perf_counter()
        for key in removed.tolist():
            one.remove(key)
        found["removal_us"] = (time.perf_counter() - began) / len(removed) * 1e6
        if name == "arauto":
            one.replace(removed, rows[removed])
            found.update(drift(one, count, dimensions, queries))
    print(json.dumps({key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}))


def drift(one: Any, count: int, dimensions: int, _: Any) -> dict[str, Any]:
    """Every vector replaced ten times, while the centres move on."""
    rebuilt = 0.0
    rows = None
    for turn in range(1, 11):
        rows = make(count, dimensions, "clustered", 10 + turn, shift=0.1 * turn)
        for start in range(0, count, 4096):
            one.replace(np.arange(start, min(start + 4096, count)), rows[start : start + 4096])
        began = time.perf_counter()
        one.tend()
        rebuilt += time.perf_counter() - began
    queries = make(QUERIES, dimensions, "clustered", 99, shift=1.0)
    figures = speed(one, queries)
    return {
        "recall_after_drift": recall(one.search(queries), truth(rows, queries)),
        "p99_ms_after_drift": figures["p99_ms"],
        "rebuilding_s": rebuilt,
    }


if __name__ == "__main__":
    main()
