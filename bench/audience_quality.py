"""The encoder against its peers on MovieLens-100K and Amazon Beauty: leave-last-out by time, every item ranked.

``arauto audience evaluate`` prints the same on a log of one's own. Sets that are to be run: ``AUDIENCE_SETS`` (all; of
others the result of before is kept). "beauty_fit" fits Beauty once more, as chosen, and alone: by the clock and of CPU.
On MovieLens, ALS, item2vec and RecTools' SASRec and eSASRec run too, in an environment of their own, each tuned on the
validation item and fitted with several seeds (``AUDIENCE_PEERS``, "implicit_als:5,item2vec:5,…")::

    python -m venv .venv-peers-recommend && .venv-peers-recommend/bin/pip install -r bench/peers-recommend.txt
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from arauto.audience import (
    MOST,
    OURS,
    Evaluation,
    Interactions,
    Recipe,
    Split,
    counted,
    evaluate,
    interactions_of,
    leave_last_out,
)
from bench.experiments_common import data_path
from bench.machine import RESULTS

HERE = Path(__file__).parent
PEERS = "implicit_als:5,item2vec:5,rectools_sasrec:1,rectools_esasrec:1"

SETS = ("movielens_100k", "beauty", "beauty_fit")
CHOSEN = {"ridge": 200.0, "late": 0.5, "back": 0.3, "alike": 0.015, "read": 0.7}
"""What ``evaluate`` chose for Beauty by the validation item."""
PUBLISHED = {"beauty": {"ndcg": 0.0531, "hit_rate": 0.0928, "of": "SASRec with sampled softmax; eSASRec"}}
WANTED = {"beauty": {"ndcg": 0.054, "hit_rate": 0.093, "seconds": 60.0}}


def read(name: str) -> Interactions | None:
    path = data_path(name, "interactions.parquet")
    if path is None:
        return None
    import polars as pl

    frame = pl.read_parquet(path)
    return interactions_of({column: frame[column].to_numpy() for column in ("user_id", "item_id", "timestamp")})


def peers(log: Interactions) -> list[dict[str, Any]]:
    """What runs in the peers' environment: HR@10 and NDCG@10 over users and seeds, with bootstrap intervals."""
    python = Path(os.environ.get("BENCH_PEERS", ".")) / ".venv-peers-recommend" / "bin" / "python"
    if not python.exists():
        return [{"missing": f"{python} is not there: see bench/audience_quality.py"}]
    split = leave_last_out(log)
    names = os.environ.get("AUDIENCE_PEERS", PEERS).split(",")
    with tempfile.TemporaryDirectory() as folder:
        np.savez(
            Path(folder) / "split.npz",
            asked=split.users, valid=split.valid, test=split.test,
            fit_users=split.fit.users, fit_items=split.fit.items,
            known_users=split.known.users, known_items=split.known.items,
        )  # fmt: skip
        done = subprocess.run(
            [python.absolute(), "-P", HERE / "peers_recommend.py", Path(folder) / "split.npz", *names],
            check=False, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    return [_summed(json.loads(line)) for line in done.stdout.splitlines()]


def _summed(found: dict[str, Any]) -> dict[str, Any]:
    if "ranks" not in found:
        return found
    ranks = np.array(found.pop("ranks"))
    hit = ranks < 10
    each = np.stack([hit, np.where(hit, 1 / np.log2(ranks + 2.0), 0.0)])  # 2 × seeds × users
    rng = np.random.default_rng(0)
    draws = [
        each[:, rng.integers(0, len(ranks), len(ranks))][:, :, rng.integers(0, ranks.shape[1], ranks.shape[1])]
        for _ in range(1000)
    ]
    low, high = np.quantile([one.mean(axis=(1, 2)) for one in draws], [0.025, 0.975], axis=0)
    by_seed = each.mean(axis=2)
    return {
        **found,
        **{
            name: {
                "value": float(by_seed[place].mean()),
                "low": float(low[place]),
                "high": float(high[place]),
                "by_seed": by_seed[place].round(4).tolist(),
            }
            for place, name in enumerate(("hit_rate", "ndcg"))
        },
    }


def told(found: Evaluation) -> dict[str, Any]:
    """The table, and what is promised of it."""
    rows = {row.model: row for row in found.rows}
    ours, best = rows[OURS], rows[found.best_peer]
    real_time, again = ours.quality, found.retrained
    return {
        **msgspec.to_builtins(found),
        "at_least_the_best_peer": {
            "ndcg": ours.quality.ndcg.value >= best.quality.ndcg.value,
            "hit_rate": ours.quality.hit_rate.value >= max(row.quality.hit_rate.value for row in found.rows),
        },
        "real_time_of_retrained": {
            "ndcg": real_time.ndcg.value / again.ndcg.value,
            "hit_rate": real_time.hit_rate.value / again.hit_rate.value,
        },
    }


def fit_alone() -> dict[str, Any] | None:
    """Beauty, fitted once as ``evaluate`` chose: seconds by the clock and of CPU, the load before, and the quality."""
    log = read("beauty")
    if log is None:
        return None
    split, recipe = leave_last_out(log), msgspec.convert(CHOSEN, Recipe)
    load, clock, cpu = os.getloadavg()[0], time.perf_counter(), time.process_time()
    statistics = counted(split.fit, recipe)
    matrix = statistics.solve()
    took, spent = time.perf_counter() - clock, time.process_time() - cpu
    found = ranked(matrix, split, recipe)
    return {
        "settings": CHOSEN,
        "fit_seconds": round(took, 1),
        "fit_cpu_seconds": round(spent, 1),
        "load_before": round(load, 2),
        **found,
        "in_time": took <= WANTED["beauty"]["seconds"],
    }


def ranked(matrix: Any, split: Split, recipe: Recipe) -> dict[str, float]:
    """HR@10 and NDCG@10 of the test items among all that their users had not met."""
    sums = {"hit_rate": 0.0, "ndcg": 0.0}
    known, weights = split.known, recipe.reading ** np.arange(MOST)
    for user, wanted in zip(split.users.tolist(), split.test.tolist(), strict=True):
        met = known.items[known.starts[user] : known.starts[user + 1]]
        recent = met[::-1][:MOST]
        scores = weights[: len(recent)] @ matrix[recent]
        scores[met] = -np.inf
        rank = int((scores > scores[wanted]).sum())
        if rank < 10:
            sums["hit_rate"] += 1 / len(split.users)
            sums["ndcg"] += 1 / np.log2(rank + 2) / len(split.users)
    return sums


def before() -> dict[str, Any]:
    """The sets of the last result."""
    path = RESULTS / "audience_quality.json"
    kept: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return {name: kept[name] for name in SETS if name in kept}


def main() -> dict[str, Any]:
    figures = before()
    passed = True
    for name in os.environ.get("AUDIENCE_SETS", ",".join(SETS)).split(","):
        if name == "beauty_fit":
            figures[name] = fit_alone() or {"missing": "beauty: set ARAUTO_DATA_DIR"}
            passed &= figures[name].get("in_time", True)
            continue
        log = read(name)
        if log is None:
            figures[name] = {"missing": f"{name}: set ARAUTO_DATA_DIR"}
            continue
        started = time.perf_counter()
        found = evaluate(log, told=lambda model, name=name: print(f"{name}: {model}", flush=True))  # type: ignore[misc]
        figures[name] = {**told(found), "seconds": round(time.perf_counter() - started, 1)}
        figures[name]["published"] = PUBLISHED.get(name)
        if wanted := WANTED.get(name):
            ours = next(row for row in found.rows if row.model == OURS)
            passed &= ours.quality.ndcg.value >= wanted["ndcg"] and ours.quality.hit_rate.value >= wanted["hit_rate"]
            passed &= ours.fit_seconds <= wanted["seconds"]
        else:
            others = peers(log)
            figures[name]["peers"] = others
            mine = next(row for row in found.rows if row.model == OURS).quality
            passed &= all(
                mine.ndcg.value >= one["ndcg"]["value"] and mine.hit_rate.value >= one["hit_rate"]["value"]
                for one in others
                if "ndcg" in one
            )
            passed &= figures[name]["at_least_the_best_peer"]["ndcg"]
            passed &= figures[name]["real_time_of_retrained"]["ndcg"] >= 0.95
    return {**figures, "passed": bool(passed)}
