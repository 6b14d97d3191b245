"""Events over HTTP, each acknowledged after a durable commit: in batches of 100, and one a request.

One server process, the embedded database with synchronous commits, receipts that are really checked, rollups and posteriors
kept up to date meanwhile. Every body is used once, so every event is new. The peer is the bare table: the same database,
the same number of rows in single-row INSERTs, each committed, and in batches, with nothing checked and nothing counted.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg

from arauto.core.ids import uuid7
from arauto.core.receipts import Receipt, ReceiptBook
from arauto.core.settings import Settings
from arauto.server import Running, running
from arauto.store import Store
from arauto.store.embedded import EmbeddedPostgres
from bench.load import Load, Plan, cpu_seconds, run

SECONDS = 10.0
BATCHES, BATCH = 6_000, 100
SINGLES = 120_000
CONNECTIONS_BATCH, CONNECTIONS_SINGLE = 8, 128


def campaign_of(server: Running) -> tuple[str, int, list[int]]:
    """A live campaign: the site's key, its id, its variants."""
    admin = httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.token}"})
    made = admin.post("/v1/campaigns", json={"brief": {"product": "smartwatch"}}).json()
    admin.post(f"/v1/campaigns/{made['id']}/state", json={"state": "live"}).raise_for_status()
    return admin.get("/v1/sites").json()[0]["key"], made["id"], [variant["id"] for variant in made["variants"]]


async def book_of(settings: Settings) -> ReceiptBook:
    async with await Store.open(settings) as store:
        return ReceiptBook(await store.receipt_secret())


def told(book: ReceiptBook, campaign: int, variants: list[int], dice: random.Random) -> list[dict[str, Any]]:
    """What one page tells: an impression, three load times, now and then a click or a purchase."""
    receipt = book.sign(Receipt(uuid7(), campaign, dice.choice(variants), 0.25, 1, 2))
    now = time.time_ns() // 1_000_000
    facts: list[dict[str, Any]] = [{"type": "impression"}]
    facts += [
        {"type": "web_vital", "metric": metric, "reading": round(dice.lognormvariate(7.5, 0.4), 1)}
        for metric in ("LCP", "TTFB", "load")
    ]
    if dice.random() < 0.08:
        facts.append({"type": "click"})
        if dice.random() < 0.1:
            facts.append({"type": "purchase", "value": dice.randint(990, 99_000) / 100, "currency": "BRL"})
    return [{"id": str(uuid7(now)), "at": now, "receipt": receipt, **fact} for fact in facts]


def bodies(book: ReceiptBook, key: str, campaign: int, variants: list[int], count: int, size: int) -> list[bytes]:
    dice = random.Random(size)
    made: list[bytes] = []
    waiting: list[dict[str, Any]] = []
    while len(made) < count:
        while len(waiting) < size:
            waiting += told(book, campaign, variants, dice)
        made.append(msgspec.json.encode({"key": key, "events": waiting[:size]}))
        waiting = waiting[size:]
    return made


def measure(server: Running, made: list[bytes], size: int, connections: int) -> dict[str, Any]:
    port = int(server.url.rpartition(":")[2])
    plan = Plan(host="127.0.0.1", port=port, path="/v1/events", bodies=made, connections=connections, seconds=SECONDS)
    before = cpu_seconds(server.pid)
    load: Load = run([plan])
    used = (cpu_seconds(server.pid) - before) * plan.seconds / (plan.seconds + plan.warm_up)
    sent = load.answers * (plan.seconds + plan.warm_up) / plan.seconds
    if sent > len(made):
        raise RuntimeError(f"{len(made)} bodies were not enough: some events were repeats")
    return {
        "events_a_second": round(load.rate * size),
        "requests_a_second": round(load.rate),
        "p50_ms": round(load.quantile(0.5), 2),
        "p99_ms": round(load.quantile(0.99), 2),
        "server_cpu_us_an_event": round(used / load.answers / size * 1e6, 1),
        "errors": load.errors,
        "connections": connections,
    }


def bare(settings: Settings) -> dict[str, int]:
    """The peer: one connection, a table of the same columns that matter, nothing checked, nothing counted."""
    dsn = EmbeddedPostgres(settings.home / "postgres").dsn
    insert = "INSERT INTO bare (id, decision, campaign, variant, type, at) VALUES (%s, %s, %s, %s, %s, %s)"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE bare (id uuid PRIMARY KEY, decision uuid, campaign int, variant int, type text, at bigint)"
        )
        rates = {}
        for name, size in (("single", 1), ("batch", BATCH)):
            rows, began = 0, time.perf_counter()
            while time.perf_counter() - began < SECONDS / 2:
                with connection.transaction(), connection.cursor() as cursor:
                    cursor.executemany(insert, [(uuid7(), uuid7(), 1, 1, "impression", 1) for _ in range(size)])
                rows += size
            rates[f"bare_{name}_rows_a_second"] = round(rows / (time.perf_counter() - began))
    return rates


def main() -> dict[str, Any]:
    """Run; the answer goes to ``bench/results/events.json``."""
    with tempfile.TemporaryDirectory(prefix="arauto-events-") as folder:
        # The database's own user must be able to enter.
        Path(folder).chmod(0o755)
        settings = Settings(home=Path(folder) / "home", port=0, rate_limit=0)
        with running(settings) as server:
            key, campaign, variants = campaign_of(server)
            book = asyncio.run(book_of(settings))
            batches = measure(server, bodies(book, key, campaign, variants, BATCHES, BATCH), BATCH, CONNECTIONS_BATCH)
            print(batches, flush=True)
            singles = measure(server, bodies(book, key, campaign, variants, SINGLES, 1), 1, CONNECTIONS_SINGLE)
            print(singles, flush=True)
            peer = bare(settings)
    return {
        "passed": batches["events_a_second"] >= 20_000 and singles["events_a_second"] >= 3_000,
        "batches_of_100": batches,
        "single": singles,
        "peer": peer,
        "ratio_to_bare_inserts": {
            "batches_of_100": round(batches["events_a_second"] / peer["bare_batch_rows_a_second"], 2),
            "single": round(singles["events_a_second"] / peer["bare_single_rows_a_second"], 2),
        },
    }


if __name__ == "__main__":
    print(msgspec.json.format(msgspec.json.encode(main()), indent=2).decode())
