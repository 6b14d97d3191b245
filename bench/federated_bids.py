"""Real auctions, the last fifth held out: clicks by method and budget; federated against centralised and local-only."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from arauto.core.errors import InputError
from arauto.federated import (
    Auctions,
    Market,
    check_auctions,
    compare,
    counts_of,
    federated_market,
    market_of,
    regions_of,
)
from arauto.federated.bids import FRACTIONS, Bidder, fitted

REGIONS = 10


def read() -> Auctions:
    import polars as pl

    folder = os.environ.get("ARAUTO_DATA_DIR")
    if not folder:
        raise InputError("is not set", field="ARAUTO_DATA_DIR", mend="name the folder that holds ipinyou_2997/")
    frame = pl.read_parquet(Path(folder) / "ipinyou_2997" / "auctions.parquet")
    return check_auctions({name: frame[name].to_numpy() for name in frame.columns}, "ipinyou")


def milliseconds(bidder: Bidder, log: Auctions, budget: float) -> dict[str, float]:
    """One bid at a time, as in live bidding."""
    took = []
    for n in range(5000):
        began = time.perf_counter()
        bidder.bids(1000 - n % 1000, np.array([budget * (1 - n % 1000 / 1000)]), log.ctr[n : n + 1])
        took.append((time.perf_counter() - began) * 1000)
    return {"p50": round(float(np.quantile(took, 0.5)), 4), "p99": round(float(np.quantile(took, 0.99)), 4)}


def main() -> dict[str, Any]:
    log = read()
    cut = int(0.8 * len(log.price))
    train, test = (Auctions(log.click[part], log.price[part], log.ctr[part]) for part in (slice(cut), slice(cut, None)))
    regions = regions_of(train, REGIONS)
    markets: dict[str, Market] = {
        "centralised": market_of(counts_of(train).astype(np.float64)),
        "federated": federated_market(regions),
    }
    markets |= {f"local {n}": market_of(counts_of(one).astype(np.float64)) for n, one in enumerate(regions)}
    found: dict[str, Any] = {}
    for auction in ("second", "first"):
        of_auction = markets if auction == "second" else {name: markets[name] for name in ("centralised", "federated")}
        results = compare(train, test, of_auction, auction)
        clicks: dict[str, list[float]] = {}
        for one in results:
            clicks.setdefault(one.method, []).append(one.clicks)
        local = [row for name, row in clicks.items() if "local" in name]
        if local:
            clicks["joint/local, mean of ten"] = [
                round(float(np.mean(column)), 2) for column in zip(*local, strict=True)
            ]
        found[auction] = {
            "budgets": [f"1/{one}" for one in FRACTIONS],
            "clicks": {name: row for name, row in clicks.items() if "local " not in name},
            "results": [one._asdict() for one in results if "local" not in one.method],
        }
    cost = float(train.price.mean()) * 1000
    bidder = fitted("joint", markets["federated"], train, cost / 8)
    speed = milliseconds(bidder, test, cost / 8)
    clicks = found["second"]["clicks"]
    good = {
        "federated_within_3_percent": all(
            abs(a - b) <= 0.03 * b for a, b in zip(clicks["joint/federated"], clicks["joint"], strict=True)
        ),
        "above_local": sum(clicks["joint/federated"]) > sum(clicks["joint/local, mean of ten"]),
        "p99_below_1_ms": speed["p99"] <= 1.0,
    }
    return {
        "auctions": {"train": len(train.price), "test": len(test.price), "test_clicks": int(test.click.sum())},
        "regions": REGIONS,
        **found,
        "bid_ms": speed,
        "promises": good,
        "passed": all(good.values()),
    }
