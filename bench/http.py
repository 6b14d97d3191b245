"""Decide over HTTP: ours against FastAPI + uvicorn doing the same, one worker each, under the same client.

The two take turns under full load (closed loop), so that whatever else the machine does hits both; the ratio is of the
medians. Then ours gets half of its own saturation as an open loop, where a latency counts from when a request was due.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import msgspec

from arauto.core.settings import Settings
from arauto.server import claim_port, running
from bench.load import Load, Plan, cpu_seconds, run
from bench.peer import ARMS, CAMPAIGN, DESCRIPTION, IMAGE, KEY, TITLE

ROUNDS = 5
SECONDS = 4.0
CONNECTIONS = 16
HALF_SECONDS = 5.0
PROMISED_RATIO = 4.0
PROMISED_P99_MS = 5.0
SATURATED = 0.9
"""A client that is busy for more than this share of the time measures itself."""


class Side(NamedTuple):
    """A server to load."""

    name: str
    url: str
    pid: int
    body: bytes

    def plan(self, seconds: float, rate: float = 0.0, connections: int = CONNECTIONS) -> Plan:
        """One client process against it."""
        parts = urlsplit(self.url)
        return Plan(
            host=parts.hostname or "",
            port=parts.port or 0,
            path="/v1/decide",
            bodies=[self.body],
            connections=connections,
            seconds=seconds,
            rate=rate,
        )


@contextmanager
def ours() -> Iterator[Side]:
    """Our server on an empty embedded database, with a live campaign of 32 arms."""
    with (
        tempfile.TemporaryDirectory(prefix="arauto-bench-") as home,
        running(Settings(home=Path(home) / "home", port=0, rate_limit=0)) as server,
        httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {server.token}"}, timeout=30) as client,
    ):
        copies = [
            {"title": TITLE.format(arm), "description": DESCRIPTION, "image_suggestion": IMAGE} for arm in range(ARMS)
        ]
        brief = {"product": "watch", "link": "https://shop.example/watch"}
        made = client.post("/v1/campaigns", json={"brief": brief, "slug": CAMPAIGN, "copies": copies})
        made.raise_for_status()
        client.post(f"/v1/campaigns/{made.json()['id']}/state", json={"state": "live"}).raise_for_status()
        key = client.get("/v1/sites").json()[0]["key"]
        yield Side("arauto", server.url, server.pid, _body(key))


@contextmanager
def fastapi() -> Iterator[Side]:
    """The peer in a process of its own."""
    port = claim_port("127.0.0.1", 0)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "bench.peer:app", "--port", str(port), "--no-access-log"),
            *("--loop", "uvloop", "--http", "httptools", "--log-level", "warning"),
        ]
    )
    side = Side("fastapi", f"http://127.0.0.1:{port}", process.pid, _body(KEY))
    try:
        for _ in range(600):
            try:
                if httpx.post(f"{side.url}/v1/decide", content=side.body).is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield side
    finally:
        process.terminate()
        process.wait()


def _body(key: str) -> bytes:
    visitor = "6f1d2c1e-0b3a-4d5e-8f90-123456789abc"
    return msgspec.json.encode(
        {"key": key, "campaign": CAMPAIGN, "visitor": visitor, "consent": "granted", "device": "mobile"}
    )


def saturate(side: Side) -> tuple[Load, float]:
    """One round of full load; the second figure is the server's CPU time for one request, in microseconds."""
    before = cpu_seconds(side.pid)
    load = run([side.plan(SECONDS)])
    # The warm-up's requests are in the CPU time, so the rate over the whole round is what divides it.
    spent = cpu_seconds(side.pid) - before
    return load, spent / (load.rate * (SECONDS + side.plan(SECONDS).warm_up)) * 1e6


def _summary(rounds: list[tuple[Load, float]]) -> dict[str, Any]:
    return {
        "requests_per_s": round(median(load.rate for load, _ in rounds)),
        "requests_per_s_by_round": [round(load.rate) for load, _ in rounds],
        "p50_ms": round(median(load.quantile(0.5) for load, _ in rounds), 2),
        "p99_ms": round(median(load.quantile(0.99) for load, _ in rounds), 2),
        "server_cpu_us_per_request": round(median(cpu for _, cpu in rounds), 1),
        "errors": sum(load.errors for load, _ in rounds),
        "client_busy": round(max(load.busy for load, _ in rounds), 2),
    }


def _calm(rounds: list[Load], asked: float) -> dict[str, Any]:
    """Medians of the rounds; a neighbour on a shared machine shows as rounds that differ."""
    return {
        "asked_per_s": round(asked),
        "answered_per_s": round(median(one.rate for one in rounds)),
        "p50_ms": round(median(one.quantile(0.5) for one in rounds), 2),
        "p99_ms": round(median(one.quantile(0.99) for one in rounds), 2),
        "p99_ms_by_round": [round(one.quantile(0.99), 2) for one in rounds],
        "p999_ms": round(median(one.quantile(0.999) for one in rounds), 2),
        "errors": sum(one.errors for one in rounds),
        "client_busy": round(max(one.busy for one in rounds), 2),
    }


def main() -> dict[str, Any]:
    """Both sides, the ratio, and the latency at half of our saturation."""
    with ours() as mine, fastapi() as peer:
        rounds: dict[str, list[tuple[Load, float]]] = {mine.name: [], peer.name: []}
        for _ in range(ROUNDS):
            for side in (mine, peer):
                rounds[side.name].append(saturate(side))
        sums = {name: _summary(one) for name, one in rounds.items()}
        calm: dict[str, list[Load]] = {mine.name: [], peer.name: []}
        for _ in range(ROUNDS):
            for side in (mine, peer):
                half = sums[side.name]["requests_per_s"] / 2
                calm[side.name].append(run([side.plan(HALF_SECONDS, rate=half, connections=4 * CONNECTIONS)]))
    ratio = sums["arauto"]["requests_per_s"] / sums["fastapi"]["requests_per_s"]
    halves = {name: _calm(one, sums[name]["requests_per_s"] / 2) for name, one in calm.items()}
    mine_calm = halves["arauto"]
    return {
        "what": f"POST /v1/decide, {ARMS} arms, one worker, {CONNECTIONS} connections, {ROUNDS} rounds of {SECONDS} s",
        **sums,
        "ratio": round(ratio, 2),
        "client_saturated": sums["arauto"]["client_busy"] > SATURATED,
        "at_half_of_own_saturation": halves,
        "passed": ratio >= PROMISED_RATIO and mine_calm["p99_ms"] < PROMISED_P99_MS and not mine_calm["errors"],
    }


if __name__ == "__main__":
    print(main())
