"""Events over HTTP into the durable log: one worker, the embedded database, synchronous commits on.

Batches of 100 over a few connections, then single events over many (group commit shares the transaction among them).
Every event is sent once; at the end the counters must hold exactly what was acknowledged.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from arauto.core.ids import uuid7
from arauto.core.receipts import ReceiptBook
from arauto.core.settings import Settings
from arauto.server import Running, running
from arauto.store import Store
from bench.load import Load, Plan, cpu_seconds, run

SECONDS = 6.0
WARM_UP = 1.5
BATCH = 100
PROMISED_BATCHED = 20_000
PROMISED_SINGLY = 3_000
ARMS = 8


class _Site:
    """The campaign whose events are sent, and the secret that signs its receipts."""

    def __init__(self, server: Running, book: ReceiptBook) -> None:
        admin = {"authorization": f"Bearer {server.token}"}
        with httpx.Client(base_url=server.url, headers=admin, timeout=60) as client:
            copies = [{"title": f"t{arm}", "description": "d", "image_suggestion": "i"} for arm in range(ARMS)]
            made = client.post("/v1/campaigns", json={"brief": {"product": "watch"}, "copies": copies}).json()
            client.post(f"/v1/campaigns/{made['id']}/state", json={"state": "live"}).raise_for_status()
            self.key = client.get("/v1/sites").json()[0]["key"]
        self.campaign: int = made["id"]
        self._variants = [variant["id"] for variant in made["variants"]]
        self._book = book

    def bodies(self, count: int, size: int) -> list[bytes]:
        """``count`` bodies of ``size`` events, all different: impressions, and a click of every second decision."""
        events: list[dict[str, Any]] = []
        now = time.time_ns() // 1_000_000
        decision = 0
        while len(events) < count * size:
            variant = self._variants[decision % ARMS]
            receipt = self._book.sign_facts(uuid7(now).bytes, self.campaign, variant, 1 / ARMS, 1, 2, bytes(8)).decode()
            kinds = ("impression", "click") if decision % 2 else ("impression",)
            events += [{"type": kind, "id": uuid7(now), "at": now, "receipt": receipt} for kind in kinds]
            decision += 1
        return [
            msgspec.json.encode({"key": self.key, "events": events[place * size : (place + 1) * size]})
            for place in range(count)
        ]


def _measure(server: Running, bodies: list[bytes], connections: int, folder: Path) -> tuple[Load, float]:
    file = folder / "bodies"
    file.write_bytes(msgspec.msgpack.encode(bodies))
    parts = urlsplit(server.url)
    before = cpu_seconds(server.pid)
    load = run(
        [
            Plan(
                host=parts.hostname or "",
                port=parts.port or 0,
                path="/v1/events",
                file=str(file),
                connections=connections,
                seconds=SECONDS,
                warm_up=WARM_UP,
            )
        ]
    )
    return load, cpu_seconds(server.pid) - before


def _told(load: Load, cpu: float, size: int) -> dict[str, Any]:
    return {
        "events_per_s": round(load.rate * size),
        "requests_per_s": round(load.rate),
        "p50_ms": round(load.quantile(0.5), 1),
        "p99_ms": round(load.quantile(0.99), 1),
        "errors": load.errors,
        "bodies_ran_out": load.dry,
        "server_cpu_us_per_event": round(cpu / (load.rate * size * (SECONDS + WARM_UP)) * 1e6, 1),
        "client_busy": round(load.busy, 2),
    }


async def _book(settings: Settings) -> ReceiptBook:
    async with await Store.open(settings) as store:
        return ReceiptBook(await store.receipt_secret())


async def _balance(settings: Settings, campaign: int) -> dict[str, Any]:
    """What the log holds, and whether the counters agree with a recount of the raw rows."""
    async with await Store.open(settings) as store:
        totals = await store.rollups.totals(campaign)
        recount = await store.rollups.recount(campaign)
    counted = sum(total.impressions + total.clicks for total in totals)
    return {"counted": counted, "rollups_equal_recount": totals == recount.totals}


def main() -> dict[str, Any]:
    """Batched, singly, and the balance."""
    with tempfile.TemporaryDirectory(prefix="arauto-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        settings = Settings(home=folder / "home", port=0, rate_limit=0)
        with running(settings) as server:
            site = _Site(server, asyncio.run(_book(settings)))
            batched = _measure(server, site.bodies(4_000, BATCH), 8, folder)
            singly = _measure(server, site.bodies(120_000, 1), 128, folder)
            balance = asyncio.run(_balance(settings, site.campaign))
    told = {"batches_of_100": _told(*batched, BATCH), "singly": _told(*singly, 1)}
    # Answers within the measured window are fewer than all that was acknowledged: the warm-up's count, too.
    acknowledged = batched[0].acknowledged * BATCH + singly[0].acknowledged
    good = balance["rollups_equal_recount"] and balance["counted"] >= acknowledged
    fast = (
        told["batches_of_100"]["events_per_s"] >= PROMISED_BATCHED and told["singly"]["events_per_s"] >= PROMISED_SINGLY
    )
    return {
        "what": "POST /v1/events, one worker, embedded PostgreSQL, synchronous_commit on",
        **told,
        "acknowledged": acknowledged,
        **balance,
        "passed": good and fast and not batched[0].errors and not singly[0].errors,
    }


if __name__ == "__main__":
    print(main())
