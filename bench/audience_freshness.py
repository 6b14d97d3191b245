"""From an event that was committed to its effect: vector, index, neighbours, offers, segment of the next decision.

100,000 visitors in one process; 2,000 events a second and 2,000 decisions a second, on a clock; each event's cost is
measured from the moment it was due to the answer that shows it, waiting included. Every event is followed by its
visitor's decision; one in twenty also by the question for neighbours and offers. The database's commit is in
bench/events.py, the process in which all of it serves is in bench/http.py.
"""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import numpy as np

from arauto.audience import Candidate, VisitorIndex, Visitors, open_faiss, touch_of, write_faiss
from bench.audience_town import ITEMS, VARIANTS, person, town

VISITORS = int(os.environ.get("AUDIENCE_VISITORS", "100000"))
SECONDS = float(os.environ.get("AUDIENCE_SECONDS", "20"))
RATE = 2000


def recall(visitors: Visitors, rng: np.random.Generator) -> float:
    """Recall@10 of the index against every vector."""
    keys = visitors.index.keys
    rows = visitors.index.vectors(keys)
    asked = rows[rng.choice(len(rows), 300, replace=False)]
    near = asked @ rows.T
    wanted = keys[np.argpartition(-near, 10, axis=1)[:, :10]]
    # Ties (visitors of one vector) count when they are as near as the tenth.
    tenth = np.sort(near, axis=1)[:, -10]
    found, similar = visitors.index.nearest(asked, 10)
    hits = [
        np.mean([key in set(truth) or value >= edge - 1e-5 for key, value in zip(own, values, strict=True)])
        for own, values, truth, edge in zip(found.tolist(), similar.tolist(), wanted.tolist(), tenth, strict=True)
    ]
    return float(np.mean(hits))


def live(visitors: Visitors, codes: list[int], now: int, rng: np.random.Generator) -> dict[str, Any]:
    """Events and decisions by the clock, for a while. An event is timed from when it was DUE: waiting counts."""
    candidates = [Candidate(variant, variant // 4) for variant in range(1, VARIANTS + 1)]
    took: dict[str, list[float]] = {name: [] for name in ("learn", "decide", "event", "neighbours", "offers", "all")}
    who, what = rng.integers(VISITORS, size=1 << 16).tolist(), rng.integers(ITEMS, size=1 << 16).tolist()
    done, clock = 0, time.perf_counter
    began = clock()
    while (elapsed := clock() - began) < SECONDS:
        if done >= int(elapsed * RATE):
            # Asleep until the next is due, as a server is: who never sleeps is made to wait by the system.
            time.sleep(max((done + 1) / RATE - elapsed, 0.0))
            continue
        due = began + (done + 1) / RATE
        one, code = person(who[done & 0xFFFF]), codes[what[done & 0xFFFF]]
        t0 = clock()
        visitors.learn(one, touch_of(UUID(int=(1 << 100) + done), now + done, "view", code))
        t1 = clock()
        visitors.segment(one)
        t2 = clock()
        took["learn"].append(t1 - t0)
        took["decide"].append(t2 - t1)
        took["event"].append(t2 - due)
        if done % 20 == 0:
            visitors.neighbours(one, 10)
            t3 = clock()
            visitors.offers(one, candidates, now + done, rng)
            t4 = clock()
            took["neighbours"].append(t3 - t2)
            took["offers"].append(t4 - t3)
            took["all"].append(t4 - due)
        done += 1
    quantiles = {
        name: {"p50_ms": float(np.quantile(some, 0.5)) * 1000, "p99_ms": float(np.quantile(some, 0.99)) * 1000}
        for name, some in took.items()
    }
    return {"events_a_second": done / SECONDS, "decisions_a_second": done / SECONDS, **quantiles}


def erased(visitors: Visitors, folder: Path) -> dict[str, bool]:
    """Where a forgotten visitor still is: in memory, in the index or a snapshot of it, in an export."""
    who = person(77)
    neighbour = visitors.neighbours(who, 1)[0].visitor
    gone = visitors.vector(who)
    visitors.forget(who)
    visitors.index.save(folder / "i.npz")
    write_faiss(visitors.index, folder / "i.faiss")
    copies = {"snapshot": VisitorIndex.load(folder / "i.npz"), "export": open_faiss(folder / "i.faiss")}
    return {
        "known": who in visitors,
        "index": len(visitors.index) != len(visitors),
        "neighbour": who in [one.visitor for one in visitors.neighbours(neighbour, 50)],
        "states": who in [one for one, _ in visitors.states()],
        "segment": visitors.segment(who) >= 0,
        **{
            name: len(copy) != len(visitors) or float(copy.nearest(gone, 1)[1][0, 0]) > 1 - 1e-6
            for name, copy in copies.items()
        },
    }


def main() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    visitors, _, codes, now = town(VISITORS, rng)
    figures: dict[str, Any] = {
        "visitors": VISITORS,
        "exact": visitors.index.exact,
        "recall_before": recall(visitors, rng),
    }
    # As a serving process does once its audience is made (arauto.server.worker): a full collection would see it all.
    gc.collect()
    gc.freeze()
    figures.update(live(visitors, codes, now, rng))
    figures["recall_after"] = recall(visitors, rng)
    with TemporaryDirectory() as folder:
        figures["erased_but_found"] = erased(visitors, Path(folder))
    figures["kept"] = {
        "fresh_within_5_ms": max(figures[name]["p99_ms"] for name in ("event", "all")) <= 5.0,
        "in_time": figures["events_a_second"] >= 0.99 * RATE and figures["decisions_a_second"] >= 0.99 * RATE,
        "recall": figures["recall_after"] >= 0.98,
        "erased": not any(figures["erased_but_found"].values()),
    }
    return {**figures, "passed": all(figures["kept"].values())}
