"""Decisions over HTTP: ours against FastAPI + uvicorn doing the same work, in turn, under the same load.

One server process each, the same client on the same machine, one after the other (A B A B …), so that a drifting machine
harms both alike. Requests a second at saturation, CPU time a request, and our latency at half of our own saturation.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from arauto.core.settings import Settings
from arauto.server import claim_port, running
from bench.load import Load, Plan, cpu_seconds, run
from bench.peer_fastapi import ARMS

ROUNDS = 5
SECONDS = 6.0
CONNECTIONS = 32
HALF_SECONDS = 15.0


@contextmanager
def ours() -> Iterator[tuple[int, Plan]]:
    """Our server with a live campaign of 32 variants; its process and what to ask it."""
    with tempfile.TemporaryDirectory(prefix="arauto-http-") as folder:
        # The database's own user must be able to enter.
        Path(folder).chmod(0o755)
        with running(Settings(home=Path(folder) / "home", port=0, rate_limit=0)) as server:
            admin = httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.token}"})
            copies = [
                {"title": f"t{arm}", "description": "a short description of the product", "image_suggestion": "x"}
                for arm in range(ARMS)
            ]
            made = admin.post("/v1/campaigns", json={"brief": {"product": "smartwatch"}, "copies": copies}).json()
            admin.post(f"/v1/campaigns/{made['id']}/state", json={"state": "live"}).raise_for_status()
            key = admin.get("/v1/sites").json()[0]["key"]
            yield server.pid, plan_of(int(server.url.rpartition(":")[2]), key, made["slug"])


@contextmanager
def peer() -> Iterator[tuple[int, Plan]]:
    """The peer's process, and what to ask it."""
    port = claim_port("127.0.0.1", 0)
    command = [sys.executable, "-m", "uvicorn", "bench.peer_fastapi:app", "--port", str(port)]
    process = subprocess.Popen([*command, "--no-access-log", "--log-level", "error"])
    try:
        plan = plan_of(port, "pk", "smartwatch")
        wait_for(f"http://127.0.0.1:{port}/readyz")
        yield process.pid, plan
    finally:
        process.terminate()
        process.wait()


def plan_of(port: int, key: str, slug: str) -> Plan:
    body = msgspec.json.encode({"key": key, "campaign": slug, "device": "mobile"})
    return Plan(host="127.0.0.1", port=port, path="/v1/decide", bodies=[body], connections=CONNECTIONS, seconds=SECONDS)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer")


def measure(pid: int, plan: Plan) -> dict[str, float]:
    before = cpu_seconds(pid)
    load: Load = run([plan])
    # The CPU time of the warm-up is in the difference, so its answers are counted in by their share.
    share = plan.seconds / (plan.seconds + plan.warm_up)
    return {
        "requests_a_second": round(load.rate),
        "cpu_us_a_request": round((cpu_seconds(pid) - before) * share / load.answers * 1e6, 1),
        "p50_ms": round(load.quantile(0.5), 2),
        "p99_ms": round(load.quantile(0.99), 2),
        "errors": load.errors,
        "client_busy": round(load.busy, 2),
    }


def main() -> dict[str, Any]:
    """Run; the answer goes to ``bench/results/http.json``."""
    rounds = []
    with ours() as (our_pid, our_plan), peer() as (peer_pid, peer_plan):
        for _ in range(ROUNDS):
            rounds.append({"arauto": measure(our_pid, our_plan), "fastapi": measure(peer_pid, peer_plan)})
            print(rounds[-1], flush=True)
        saturation = statistics.median(row["arauto"]["requests_a_second"] for row in rounds)
        half = run([msgspec.structs.replace(our_plan, rate=saturation / 2, seconds=HALF_SECONDS)])
    ratios = [row["arauto"]["requests_a_second"] / row["fastapi"]["requests_a_second"] for row in rounds]
    cpu = [row["fastapi"]["cpu_us_a_request"] / row["arauto"]["cpu_us_a_request"] for row in rounds]
    ratio = statistics.median(ratios)
    return {
        "passed": ratio >= 4 and half.quantile(0.99) < 5,
        "ratio_requests_a_second": {"median": round(ratio, 2), "all": [round(one, 2) for one in ratios]},
        "ratio_cpu_a_request": round(statistics.median(cpu), 2),
        "at_half_saturation": {
            "requests_a_second": round(half.rate),
            "p50_ms": round(half.quantile(0.5), 2),
            "p99_ms": round(half.quantile(0.99), 2),
            "p999_ms": round(half.quantile(0.999), 2),
            "errors": half.errors,
            "client_busy": round(half.busy, 2),
        },
        "rounds": rounds,
        "peer": "FastAPI + uvicorn (uvloop, httptools), one process, the same body, sampling and receipt",
        "connections": CONNECTIONS,
        "arms": ARMS,
    }


if __name__ == "__main__":
    print(msgspec.json.format(msgspec.json.encode(main()), indent=2).decode())
