"""What open dashboards cost: fifty readers of one campaign whose numbers keep changing.

A server of its own takes a decision and its events every twentieth of a second; fifty clients hold the overview's
stream open. Rounds with nobody looking and with fifty alternate, so that what else the machine does hits both.
Measured: CPU seconds of the server's processes a second, and the latency of decide, each as the median of its rounds;
and the time to a campaign's first page.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import psutil

from arauto.core.ids import uuid7
from arauto.core.settings import Settings
from arauto.server import Running, running

READERS, ROUNDS, SECONDS, PACE_S = 50, 7, 7.0, 0.05
SLOWER = 1.1
"""So many times its latency without readers may the 99th percentile of decide be."""
COPIES = [{"title": f"Title {name}", "description": "d", "image_suggestion": "i"} for name in "abcd"]


def main() -> dict[str, Any]:
    """Measure. Kept: fifty readers cost less than a fifth of a core, and slow decide by at most a tenth."""
    with (
        TemporaryDirectory(prefix="arauto-bench-") as home,
        running(Settings(home=Path(home), port=0, rate_limit=0, text_engine="slot")) as server,
    ):
        return asyncio.run(_measure(server))


async def _measure(server: Running) -> dict[str, Any]:
    async with httpx.AsyncClient(
        base_url=server.url, timeout=60, headers={"Authorization": f"Bearer {server.token}"}
    ) as admin:
        made = await admin.post(
            "/v1/campaigns",
            json={
                "brief": {"product": "watch", "link": "https://shop.example"},
                "slug": "bench",
                "copies": COPIES,
                "plan": {"simulated": True, "seed": 3},
            },
        )
        made.raise_for_status()
        campaign = made.json()["id"]
        (await admin.post(f"/v1/campaigns/{campaign}/state", json={"state": "live"})).raise_for_status()
        key = (await admin.get("/v1/sites")).json()[0]["key"]
        async with _session(server) as reader:
            path = f"/dashboard/campaigns/{campaign}"
            await _drive(server, key, 5.0)
            rounds: dict[str, list[dict[str, float]]] = {"nobody": [], "fifty": []}
            broken = 0
            for _ in range(ROUNDS):
                rounds["nobody"].append(await _drive(server, key, SECONDS))
                streams = [asyncio.create_task(_read(reader, path)) for _ in range(READERS)]
                await asyncio.sleep(1.5)
                rounds["fifty"].append(await _drive(server, key, SECONDS))
                for stream in streams:
                    stream.cancel()
                told = await asyncio.gather(*streams, return_exceptions=True)
                broken += sum(isinstance(one, Exception) for one in told)
                await asyncio.sleep(0.5)
            pages = []
            for _ in range(20):
                began = time.perf_counter()
                (await reader.get(path)).raise_for_status()
                pages.append(time.perf_counter() - began)
    nobody, fifty = (
        {name: float(np.median([one[name] for one in rounds[kind]])) for name in rounds[kind][0]}
        for kind in ("nobody", "fifty")
    )
    cost, slower = fifty["cpu"] - nobody["cpu"], fifty["decide_p99_ms"] / nobody["decide_p99_ms"]
    return {
        "readers": READERS,
        "rounds": ROUNDS,
        "seconds": SECONDS,
        "broken_streams": broken,
        "nobody": nobody,
        "fifty": fifty,
        "cost_of_a_core": cost,
        "decide_p99_ratio": slower,
        "decide_p99_ms_by_round": {kind: [round(one["decide_p99_ms"], 2) for one in rounds[kind]] for kind in rounds},
        "passed": not broken and cost < 0.2 and slower <= SLOWER,
        "first_page_ms": {"median": 1000 * float(np.median(pages)), "most": 1000 * max(pages)},
    }


def _session(server: Running) -> httpx.AsyncClient:
    client = httpx.AsyncClient(
        base_url=server.url,
        timeout=60,
        limits=httpx.Limits(max_connections=READERS + 10, max_keepalive_connections=READERS + 10),
        headers={"Origin": server.url},
    )
    answer = httpx.post(f"{server.url}/login", data={"token": server.token}, headers={"Origin": server.url}, timeout=60)
    answer.raise_for_status()
    client.cookies.update(answer.cookies)
    return client


async def _read(reader: httpx.AsyncClient, path: str) -> None:
    """Hold a stream open, and throw away what comes."""
    async with reader.stream("GET", f"{path}/live", headers={"Accept": "text/event-stream"}, timeout=None) as answer:
        answer.raise_for_status()
        async for _ in answer.aiter_raw():
            pass


async def _drive(server: Running, key: str, seconds: float) -> dict[str, float]:
    """Decisions with events, one a :data:`PACE_S`; CPU of the server's own processes, without the database's."""
    took = []
    began, cpu = time.perf_counter(), _cpu(server.pid)
    place = 0
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        while (now := time.perf_counter()) - began < seconds:
            answer = await client.post("/v1/decide", json={"key": key, "campaign": "bench", "device": "mobile"})
            took.append(time.perf_counter() - now)
            receipt, at = answer.json()["receipt"], time.time_ns() // 1_000_000
            kinds = ["impression", *(["click"] if place % 7 == 0 else [])]
            events = [{"id": str(uuid7()), "at": at, "receipt": receipt, "type": kind} for kind in kinds]
            (await client.post("/v1/events", json={"key": key, "events": events})).raise_for_status()
            place += 1
            await asyncio.sleep(max(0.0, PACE_S - (time.perf_counter() - now)))
    spent = time.perf_counter() - began
    return {
        "cpu": (_cpu(server.pid) - cpu) / spent,
        "decisions": float(place),
        "decide_p50_ms": 1000 * float(np.percentile(took, 50)),
        "decide_p99_ms": 1000 * float(np.percentile(took, 99)),
    }


def _cpu(pid: int) -> float:
    """CPU seconds of a process and those it started, the database's left out."""
    own = psutil.Process(pid)
    total = 0.0
    for process in [own, *own.children(recursive=True)]:
        if process.name().startswith("postgres"):
            continue
        times = process.cpu_times()
        total += times.user + times.system
    return total
