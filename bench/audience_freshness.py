"""From an event that was committed to its effect: vector, index, neighbours, offers, segment of the next decision.

100,000 visitors in one process; 2,000 events a second and 2,000 decisions a second, on a clock; each event's cost is
measured from the commit's callback to the answer that shows it. The database's own commit is in bench/events.py.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import msgspec
import numpy as np

from arauto.audience import (
    Candidate,
    Kind,
    Recipe,
    Visitors,
    adjusted_rand,
    code_of,
    fit,
    interactions_of,
    pack,
    touch_of,
    write_faiss,
)
from arauto.core.clock import SystemClock

VISITORS = int(os.environ.get("AUDIENCE_VISITORS", "100000"))
SECONDS = float(os.environ.get("AUDIENCE_SECONDS", "20"))
RATE = 2000
ITEMS, TASTES = 2000, 40
VARIANTS = 32
SHOWN: tuple[Kind, ...] = ("impression", "impression", "click")


def person(number: int) -> UUID:
    return UUID(int=(number + 1) << 70 | 0x4000_8000_0000_0000_0001)


def town(rng: np.random.Generator) -> tuple[Visitors, np.ndarray[Any, Any], list[int]]:
    """Visitors of some tastes, each with a dozen touches, encoded by an encoder that was fitted on a tenth of them."""
    tastes = rng.integers(0, TASTES, VISITORS)
    own = ITEMS // TASTES
    codes = [code_of(f"item-{n}") for n in range(ITEMS)]
    items = tastes[:, None] * own + rng.integers(0, own, (VISITORS, 12))
    stray = rng.random(items.shape) < 0.15
    items[stray] = rng.integers(0, ITEMS, int(stray.sum()))
    some = VISITORS // 10
    log = interactions_of(
        {
            "user_id": np.repeat(np.arange(some), 12),
            "item_id": np.array([f"item-{n}" for n in items[:some].ravel()]),
            "timestamp": np.tile(np.arange(12.0), some),
        }
    )
    visitors = Visitors(fit(log, Recipe()))
    now = SystemClock().now_ms() - 86_400_000
    states = []
    for number in range(VISITORS):
        touches = [
            touch_of(UUID(int=number * 64 + place + 1), now + place * 1000, "view", codes[item])
            for place, item in enumerate(items[number].tolist())
        ]
        touches += [
            touch_of(
                UUID(int=number * 64 + 40 + place), now + 20_000 + place, kind, int(rng.integers(1, VARIANTS + 1)), 0.03
            )
            for place, kind in enumerate(SHOWN)
        ]
        states.append((person(number), pack(touches)))
    visitors.load(states)
    visitors.index.rebuild()
    visitors.regroup(8)
    return visitors, tastes, codes


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


async def live(visitors: Visitors, codes: list[int], rng: np.random.Generator) -> dict[str, Any]:
    """Events and decisions by the clock, for a while."""
    candidates = [Candidate(variant, variant // 4) for variant in range(1, VARIANTS + 1)]
    took: dict[str, list[float]] = {"learn": [], "neighbours": [], "offers": [], "decide": [], "all": []}
    deadline = time.perf_counter() + SECONDS
    began = time.perf_counter()
    done = late = 0
    now = SystemClock().now_ms()
    while time.perf_counter() < deadline:
        due = int((time.perf_counter() - began) * RATE)
        late = max(late, due - done)
        if done >= due:
            await asyncio.sleep(0)
            continue
        who = person(int(rng.integers(VISITORS)))
        code = codes[int(rng.integers(ITEMS))]
        t0 = time.perf_counter()
        visitors.learn(who, touch_of(UUID(int=(1 << 100) + done), now + done, "view", code))
        t1 = time.perf_counter()
        visitors.segment(who)
        t2 = time.perf_counter()
        took["learn"].append(t1 - t0)
        took["decide"].append(t2 - t1)
        if done % 20 == 0:
            visitors.neighbours(who, 10)
            t3 = time.perf_counter()
            visitors.offers(who, candidates, now + done, rng)
            t4 = time.perf_counter()
            took["neighbours"].append(t3 - t2)
            took["offers"].append(t4 - t3)
            took["all"].append(t4 - t0)
        done += 1
        if done % 50 == 0:
            await asyncio.sleep(0)
    quantiles = {
        name: {"p50_ms": float(np.quantile(some, 0.5)) * 1000, "p99_ms": float(np.quantile(some, 0.99)) * 1000}
        for name, some in took.items()
    }
    return {"events_a_second": done / SECONDS, "most_behind": late, **quantiles}


def erased(visitors: Visitors, folder: Path) -> dict[str, bool]:
    """Whether a forgotten visitor is anywhere."""
    who = person(77)
    visitors.forget(who)
    visitors.index.save(folder / "i.npz")
    write_faiss(visitors.index, folder / "i.faiss")
    return {
        "known": who in visitors,
        "in_index": len(visitors.index) != len(visitors),
        "selected": who in [one for one, _ in visitors.states()],
        "in_segment": visitors.segment(who) >= 0,
    }


def days(
    visitors: Visitors, codes: list[int], tastes: np.ndarray[Any, Any], rng: np.random.Generator
) -> dict[str, Any]:
    """A day of unchanged behaviour, then one on which a tenth of one taste's visitors turn to another."""
    own = ITEMS // TASTES
    now = SystemClock().now_ms() + 3_600_000
    count = 0
    found: dict[str, Any] = {}
    for name in ("unchanged", "shift"):
        before = np.array([visitors.segment(person(n)) for n in range(VISITORS)])
        if name == "shift":
            moved = np.flatnonzero(tastes < 5)
            tastes[moved[: len(moved) // 4]] = 30
        active = rng.choice(VISITORS, VISITORS // 5, replace=False)
        if name == "shift":
            active = np.union1d(active, moved[: len(moved) // 4])
        for number in active.tolist():
            for _ in range(4):
                count += 1
                item = int(tastes[number]) * own + int(rng.integers(own))
                touch = touch_of(UUID(int=(1 << 90) + count), now + count, "view", codes[item])
                visitors.learn(person(number), touch)
        started = time.perf_counter()
        _, drift = visitors.regroup(8)
        after = np.array([visitors.segment(person(n)) for n in range(VISITORS)])
        found[name] = {
            **msgspec.to_builtins(drift),
            "adjusted_rand_over_the_day": adjusted_rand(after, before),
            "regroup_s": time.perf_counter() - started,
        }
        now += 86_400_000
    return found


def main() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    visitors, tastes, codes = town(rng)
    figures: dict[str, Any] = {
        "visitors": VISITORS,
        "exact": visitors.index.exact,
        "recall_before": recall(visitors, rng),
    }
    figures.update(asyncio.run(live(visitors, codes, rng)))
    figures["recall_after"] = recall(visitors, rng)
    figures["days"] = days(visitors, codes, tastes, rng)
    with TemporaryDirectory() as folder:
        figures["erased_but_found"] = erased(visitors, Path(folder))
    figures["passed"] = (
        figures["all"]["p99_ms"] <= 5.0
        and figures["events_a_second"] >= 0.99 * RATE
        and figures["recall_after"] >= 0.98
        and not any(figures["erased_but_found"].values())
        and figures["days"]["unchanged"]["adjusted_rand_over_the_day"] >= 0.8
        and figures["days"]["shift"]["shifted"]
    )
    return figures
