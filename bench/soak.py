"""Hours of steady load: memory, latency, connections and partitions must stay as they are.

One server with its own PostgreSQL, together held to :data:`SHARE` of a core, so that half of what they can do leaves
the machine to others. What they can do is measured first: visitors who never pause. ``python -m bench.soak MINUTES
RATE`` asks for so many pages a second instead, of an unbounded server. Each page is a decision and its events. All is
looked at twice a minute; the slopes come from a line fitted through the looks after the first fifth. Two hours is what
is promised of a release; a shorter run says how long it was.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import psycopg

from arauto.core.campaign import CampaignPlan
from arauto.core.settings import Secret, Settings
from arauto.loop import Remote
from arauto.server import running
from arauto.store import Store
from arauto.store.embedded import EmbeddedPostgres
from bench import visitors
from bench.machine import write_result
from bench.quota import limited
from bench.visitors import Ledger, Visitor, balance

MINUTES = 120.0
SHARE = 0.05
"""Of a core, for server and database together."""
CROWD, CROWD_S = 12, 40.0
"""How many visitors without a pause saturate them, and for how long; the first half is not counted."""
LOOK_S = 30.0
MOST_SLOPE = 0.01
"""Of memory, an hour."""


def look(pid: int, dsn: str) -> dict[str, float]:
    """What could leak. Memory is that of a process alone (USS), in MB."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    found: dict[str, float] = {"server_mb": 0.0, "files": 0, "threads": 0}
    for process in family:
        if process.name().startswith("postgres"):
            continue
        found["server_mb"] += process.memory_full_info().uss / 2**20
        found["files"] += process.num_fds()
        found["threads"] += process.num_threads()
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
            " (SELECT count(*) FROM pg_inherits), (SELECT count(*) FROM procrastinate_workers),"
            " (SELECT count(*) FROM events), pg_database_size(current_database())"
        ).fetchone()
    connections, partitions, workers, events, size = row or (0, 0, 0, 0, 0)
    return {
        **found, "connections": connections, "partitions": partitions, "job_workers": workers, "events": events,
        "database_mb": size / 2**20,
    }  # fmt: skip


def slope_per_hour(minutes: list[float], values: list[float]) -> float:
    """Of a fitted line, as a share of the mean."""
    if len(values) < 3:
        return float("nan")
    return float(np.polyfit(np.asarray(minutes) / 60, values, 1)[0] / np.mean(values))


def leaked(looks: list[dict[str, float]]) -> list[str]:
    """What was more at every look of the last third than at any of the first: a single look may find one more
    connection between two jobs."""
    third = max(1, len(looks) // 3)
    names = ("connections", "partitions", "job_workers")
    return [n for n in names if min(one[n] for one in looks[-third:]) > max(one[n] for one in looks[:third])]


async def _saturation(url: str, key: str, slug: str, ledger: Ledger) -> float:
    """Pages a second that are answered when visitors never pause."""
    crowd = [Visitor([url], key, slug, ledger, random.Random(number), pace=0.0) for number in range(CROWD)]
    tasks = [asyncio.create_task(one.run()) for one in crowd]
    await asyncio.sleep(CROWD_S / 2)
    before = len(ledger.decides)
    await asyncio.sleep(CROWD_S / 2)
    found = sum(ask.status == 200 for ask in ledger.decides[before:]) / (CROWD_S / 2)
    for one in crowd:
        one.end()
    await asyncio.wait(tasks, timeout=120)
    ledger.decides, ledger.sends, ledger.waits = [], [], []
    return found


async def _soak(url: str, pid: int, dsn: str, settings: Settings, minutes: float, rate: float | None) -> dict[str, Any]:
    async with Remote(url, key="", token=settings.admin_token.reveal()) as admin:
        draft = await admin.draft(
            {"brief": {"product": "soak"}, "plan": msgspec.to_builtins(CampaignPlan(simulated=True, refresh_ms=200))}
        )
        live = await admin.move(draft.id, "live")
        key = next(site.key for site in await admin.sites() if site.id == live.site_id)
    ledger, looks, most = Ledger(), [], None
    if rate is None:
        most = await _saturation(url, key, live.slug, ledger)
        rate = most / 2
    print({"saturation_per_s": most, "asked_per_s": rate}, flush=True)
    count = max(1, round(rate * visitors.PACE_S))
    crowd = [Visitor([url], key, live.slug, ledger, random.Random(number)) for number in range(count)]
    tasks = [asyncio.create_task(one.run()) for one in crowd]
    began = time.monotonic()
    answered = failed = 0
    while (passed := time.monotonic() - began) < minutes * 60:
        await asyncio.sleep(min(LOOK_S, minutes * 60 - passed))
        lasted = time.monotonic() - began - passed
        asks, ledger.decides = ledger.decides, []
        sends, ledger.sends, ledger.waits = ledger.sends, [], []
        good = sorted(ask.seconds for ask in asks if ask.status == 200)
        answered += len(good)
        failed += len(asks) - len(good) + sum(send.status != 200 for send in sends)
        found = await asyncio.to_thread(look, pid, dsn)
        at = {"minute": (time.monotonic() - began) / 60, "per_s": len(good) / lasted}
        for name, q in (("p50_ms", 0.5), ("p99_ms", 0.99)):
            at[name] = good[int(q * len(good))] * 1000 if good else float("nan")
        looks.append({**at, **found})
        print({name: round(value, 2) for name, value in looks[-1].items()}, flush=True)
    for one in crowd:
        one.end()
    await asyncio.wait(tasks, timeout=60)
    async with await Store.open(settings) as store:
        told = await balance(store, dsn, live.id, ledger)
    steady = [one for one in looks if one["minute"] > minutes / 5]
    minutes_of = [one["minute"] for one in steady]
    slopes = {
        name: round(slope_per_hour(minutes_of, [one[name] for one in steady]), 4)
        for name in ("server_mb", "p50_ms", "p99_ms", "files", "threads", "connections", "partitions")
    }
    first, last = ({name: round(value, 1) for name, value in one.items()} for one in (steady[0], steady[-1]))
    return {
        "minutes": round(minutes, 1), "saturation_per_s": most, "asked_per_s": rate,
        "answered": answered, "failed": failed, "slope_per_hour": slopes,
        "leaked": leaked(steady), "first": first, "last": last, **told,
    }  # fmt: skip


def main(minutes: float = MINUTES, rate: float | None = None) -> dict[str, Any]:
    """Run it; the answer says how long it was."""
    with tempfile.TemporaryDirectory(prefix="arauto-soak-") as name:
        Path(name).chmod(0o755)
        token = Secret("of-the-soak")
        settings = Settings(home=Path(name) / "home", port=0, rate_limit=0, admin_token=token)
        with running(settings, timeout=300) as server:
            dsn = EmbeddedPostgres(settings.home / "postgres").dsn
            head = psutil.Process(server.pid)
            with limited([[head, *head.children(recursive=True)]] if rate is None else [], SHARE) as held:
                if not held:
                    raise SystemExit("no process can be held to a share of a core here: name a RATE")
                told = asyncio.run(_soak(server.url, server.pid, dsn, settings, minutes, rate))
    slopes = told["slope_per_hour"]
    return {
        "what": "steady load on one server with the embedded PostgreSQL",
        "share_of_a_core": SHARE if rate is None else None,
        **told,
        "passed": not any(told[fault] for fault in ("failed", "lost", "stored_twice", "miscounted", "refused"))
        and told["rollups_equal_recount"]
        and slopes["server_mb"] <= MOST_SLOPE
        and not told["leaked"],
    }


if __name__ == "__main__":
    write_result("soak", main(*(float(number) for number in sys.argv[1:])))
