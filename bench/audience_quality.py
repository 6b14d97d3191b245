"""The encoder against its peers on MovieLens-100K and Amazon Beauty: leave-last-out by time, every item ranked.

``arauto audience evaluate`` prints the same on a log of one's own. Sets that are to be run: ``AUDIENCE_SETS`` (all).
"""

from __future__ import annotations

import os
import time
from typing import Any

import msgspec

from arauto.audience import OURS, Evaluation, Interactions, evaluate, interactions_of
from bench.experiments_common import data_path

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
            passed &= figures[name]["at_least_the_best_peer"]["ndcg"]
            passed &= figures[name]["real_time_of_retrained"]["ndcg"] >= 0.95
    return {**figures, "passed": bool(passed)}
