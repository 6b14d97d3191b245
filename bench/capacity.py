"""A capacity model: what a request costs, measured; how many machines that makes; what breaks first.

Costs come from the other benchmarks' results (``http``, ``events``, ``scale``). What the model says of two server
processes is held against what ``scale`` measured of them; how long requests wait at a share of what a process can do is
simulated (a queue with one server, random arrivals, and the measured service time).
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np

from bench.machine import RESULTS

RATES = (1_000, 100_000, 10_000_000)
EVENTS = 1.6
"""Events of a decision: its impression, and clicks, purchases and readings of some."""
USED = 0.6
"""Of a core, so that one machine of three may fail, and for peaks."""
CORES = 16
"""Of a machine."""
DATABASE_CORES = 32
EVENT_BYTES = 320
"""Of an event and its share of an exposure, with indexes (bench/results/soak.json: growth of the database by event)."""
DISK_BYTES = 10e12
"""Of a database, for raw events."""
KEPT_DAYS = 130
"""Of raw events, on that disk: the least that may be set, and the month that is not over."""
WRITERS = 63
"""Processes of one database that have a shard of the counters to themselves (arauto/store/shards.py)."""
LIVE = 50
"""Campaigns that change all the time."""
REFRESH_S = 10.0
"""Where thousands of processes follow, a plan's ``refresh_ms`` is to be raised to this."""
TOTALS_US = 1000
"""A reading of a campaign's totals (bench/results/store.json: 0.97 ms over ten million events)."""
DRAWS = 400_000


class Costs(msgspec.Struct, frozen=True):
    """Microseconds of a core."""

    decide: float
    event: float
    event_database: float


def costs() -> Costs:
    """As measured last."""
    http, events, scale = (
        json.loads((RESULTS / f"{name}.json").read_text("utf-8")) for name in ("http", "events", "scale")
    )
    one = (scale["small_servers"] or scale["free_servers"])["events_1"]
    return Costs(
        decide=http["arauto"]["server_cpu_us_per_request"],
        event=events["batches_of_100"]["server_cpu_us_per_event"],
        event_database=one["database_cpu_us"],
    )


def machines(rate: int, cost: Costs, kept: float) -> dict[str, Any]:
    """For ``rate`` decisions a second, each with its events; ``kept`` is what a process beside another does of what one
    alone does."""
    events = rate * EVENTS
    cores = (rate * cost.decide + events * cost.event) / 1e6 / USED / kept
    processes = max(2, int(np.ceil(cores)))
    written = events * cost.event_database / 1e6 / USED
    needs = {
        "cores": written / DATABASE_CORES,
        "disk": events * 86_400 * KEPT_DAYS * EVENT_BYTES / DISK_BYTES,
        "writers": processes / WRITERS,
    }
    databases = max(1, int(np.ceil(max(needs.values()))))
    read = processes / databases * LIVE / REFRESH_S * TOTALS_US / 1e6
    return {
        "decisions_per_s": rate,
        "events_per_s": round(events),
        "server_cores": round(cores, 1),
        "server_machines": max(2, int(np.ceil(cores / CORES))),
        "database_cores_writing": round(written, 1),
        "databases": databases,
        "breaks_first": max(needs, key=lambda name: needs[name]) if databases > 1 else "",
        "database_cores_reading_totals_each": round(read, 2),
        "rows_a_day_each_database": round(events * 86_400 / databases),
    }


def wait(service_s: float, used: float, seed: int = 0) -> dict[str, float]:
    """Milliseconds from arrival to answer at a process that is ``used`` so far (Lindley's recursion)."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(service_s / used, DRAWS)
    steps = np.cumsum(service_s - gaps)
    waits = steps - np.minimum.accumulate(np.minimum(steps, 0.0))
    total = (waits + service_s) * 1000
    return {"p50_ms": round(float(np.quantile(total, 0.5)), 3), "p99_ms": round(float(np.quantile(total, 0.99)), 3)}


def check() -> dict[str, Any]:
    """Two processes as the model says from one, beside what was measured."""
    scale = json.loads((RESULTS / "scale.json").read_text("utf-8"))
    found = {}
    part = scale["small_servers"] or scale["free_servers"]
    for kind in ("decisions", "events"):
        one, two = part[f"{kind}_1"]["per_s"], part[f"{kind}_2"]["per_s"]
        # A process's share of a core is what limits; the second brings another.
        found[kind] = {"model": 2 * one, "measured": two, "measured_of_model": round(two / (2 * one), 2)}
    return found


def main() -> dict[str, Any]:
    """The table, the check, the waiting times."""
    cost = costs()
    checked = check()
    kept = min(1.0, *(one["measured_of_model"] for one in checked.values()))
    return {
        "what": "machines for so many decisions a second, from measured costs",
        "costs_us": msgspec.structs.asdict(cost),
        "assumed": {
            "events_a_decision": EVENTS,
            "used": USED,
            "cores_a_machine": CORES,
            "database_cores": DATABASE_CORES,
            "a_process_beside_another": kept,
        },
        "machines": [machines(rate, cost, kept) for rate in RATES],
        "model_against_two_processes": checked,
        "waiting": {str(used): wait(cost.decide / 1e6, used) for used in (0.3, 0.5, 0.6, 0.8, 0.9, 0.95)},
        "passed": abs(checked["decisions"]["measured_of_model"] - 1) <= 0.1,
    }


if __name__ == "__main__":
    print(main())
