"""The encoder against its peers on MovieLens-100K and Amazon Beauty: leave-last-out by time, every item ranked.

``arauto audience evaluate`` prints the same on a log of one's own. Sets that are to be run: ``AUDIENCE_SETS`` (all).
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

from arauto.audience import OURS, Evaluation, Interactions, evaluate, interactions_of, leave_last_out
from bench.experiments_common import data_path

HERE = Path(__file__).parent
PEERS = "implicit_als:5,item2vec:5,rectools_sasrec:1,rectools_esasrec:1"

SETS = ("movielens_100k", "beauty")
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


def main() -> dict[str, Any]:
    figures: dict[str, Any] = {}
    passed = True
    for name in os.environ.get("AUDIENCE_SETS", ",".join(SETS)).split(","):
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
