"""The visitor index beside FAISS used bare, hnswlib, usearch and voyager: clustered vectors, single and batch queries,
replacement in place while queries run, removal, memory, drift. ``AUDIENCE_SIZES`` (100000,1000000) chooses the sizes,
``AUDIENCE_CONTENDERS`` (all) who runs; of the others the result of before is kept, each with its time.

Each contender runs in a process of its own, so that memory is its own, with one thread (threads of a busy machine wait
for each other); the peers in the peers' environment::

    python -m venv .venv-peers-index && .venv-peers-index/bin/pip install -r bench/peers-index.txt
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import RESULTS

HERE = Path(__file__).parent
RUNNER = HERE / "peers_index.py"
CONTENDERS = ("arauto", "faiss_ivf", "hnswlib", "usearch", "voyager")
TUTORIAL = ("arauto", "faiss_flat")


def run(contender: str, count: int, dimensions: int, kind: str) -> dict[str, Any]:
    """One contender on one set of vectors."""
    ours = contender == "arauto"
    peers = Path(os.environ.get("BENCH_PEERS", ".")) / ".venv-peers-index" / "bin" / "python"
    python = Path(sys.executable) if ours else peers
    if not python.exists():
        return {"missing": f"{python} is not there: see bench/audience_index.py"}
    question = json.dumps({"contender": contender, "count": count, "dimensions": dimensions, "kind": kind})
    done = subprocess.run(
        # -P: this folder has a module named http, which the peers would take for the library's.
        [python.absolute(), "-P", RUNNER, question],
        check=False,
        capture_output=True,
        text=True,
        cwd=HERE.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return {"missing": f"{contender} failed: {(done.stderr.strip() or str(done.returncode)).splitlines()[-1]}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "at": datetime.now(UTC).isoformat(timespec="seconds"), "load": round(os.getloadavg()[0], 1)}


def verdict(found: dict[str, Any]) -> dict[str, bool]:
    """The promises, each kept or not."""
    ours, bare = found["arauto"], found.get("faiss_ivf", {})
    graphs = [found[name] for name in ("hnswlib", "usearch", "voyager") if "p99_ms" in found.get(name, {})]
    kept = {
        "recall": ours["recall"] >= 0.98,
        "recall_after_ten_replacements_and_drift": ours["recall_after_drift"] >= 0.98,
        "replacements_a_second": ours["replaced_a_second"] >= 25_000,
        "removal_us": ours["removal_us"] <= 50,
        "memory": ours["memory_of_raw"] <= 1.4,
    }
    if "p99_ms" in bare:
        kept["single_within_1.2_of_bare_faiss"] = ours["p99_ms"] <= 1.2 * bare["p99_ms"]
        kept["batch_within_1.2_of_bare_faiss"] = ours["batch_a_second"] * 1.2 >= bare["batch_a_second"]
    if graphs:
        kept["single_ahead_of_graphs"] = ours["p99_ms"] <= min(one["p99_ms"] for one in graphs)
        kept["batch_ahead_of_graphs"] = ours["batch_a_second"] >= max(one["batch_a_second"] for one in graphs)
    return kept


def before() -> dict[str, Any]:
    """The sets of the last result."""
    path = RESULTS / "audience_index.json"
    last: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return {name: one for name, one in last.items() if " x " in name}


def main() -> dict[str, Any]:
    figures = before()
    some = os.environ.get("AUDIENCE_CONTENDERS", ",".join(CONTENDERS)).split(",")
    for size in map(int, os.environ.get("AUDIENCE_SIZES", "100000,1000000").split(",")):
        name = f"{size} x 128 clustered"
        found = {**figures.get(name, {}), **{one: run(one, size, 128, "clustered") for one in some}}
        figures[name] = {**found, "kept": verdict(found) if "recall" in found.get("arauto", {}) else {}}
        print(json.dumps(figures[name], indent=1), flush=True)
    if set(TUTORIAL) & set(some):
        figures["10000 x 768 random"] = {name: run(name, 10_000, 768, "random") for name in TUTORIAL}
    kept = [all(one["kept"].values()) for one in figures.values() if "kept" in one]
    return {**figures, "passed": bool(kept) and all(kept)}
