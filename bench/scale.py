"""One, two and four servers with one PostgreSQL, each in a network namespace of its own (:mod:`bench.house`; as root).

Two cores hold the servers, the database and the clients, so a second server cannot double anything there; and both are
measured: servers that share the cores as they come, and servers of which each may use a fifth of a core and no more
(cgroup quota), as if they were small machines. Then what must hold whatever the speed: a decision made by one server
and told to others counts once, and how stale a server's policy is after another was told something.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil

from arauto.core.campaign import CampaignPlan
from arauto.core.ids import uuid7
from arauto.core.receipts import ReceiptBook
from arauto.loop import Remote
from arauto.store import Store
from bench.house import PORT, TOKEN, House, Kept, house, server_address, wait_for
from bench.load import Load, Plan, run
from bench.machine import write_result
from bench.quota import limited
from bench.visitors import Ledger, balance

SERVERS = 4
COUNTS = (1, 2, 4)
SECONDS = 4.0
WARM_UP = 0.7
CONNECTIONS = 16
BODIES = 2600
"""Batches of events for one measurement, all servers together."""
SHARE = 0.2
"""Of a core, that a small machine may use."""
TOLD = 200
STALE_S = 20.0


def _url(number: int) -> str:
    return f"http://{server_address(number)}:{PORT}"


def _cpu(servers: list[Kept]) -> float:
    total = 0.0
    for server in servers:
        for process in server.family():
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
    return total


def _load(path: str, bodies: list[list[bytes]], folder: Path) -> Load:
    """One client process, its connections spread over the servers (a plan each)."""
    plans = []
    for place, own in enumerate(bodies):
        file = folder / f"bodies{place}"
        file.write_bytes(msgspec.msgpack.encode(own))
        fields: dict[str, Any] = {"bodies": own} if len(own) == 1 else {"file": str(file)}
        plans.append(
            Plan(
                host=server_address(place + 1),
                port=PORT,
                path=path,
                connections=CONNECTIONS,
                seconds=SECONDS,
                warm_up=WARM_UP,
                **fields,
            )
        )
    return run(plans)


class _Shop:
    """A live campaign, and bodies about it."""

    def __init__(self, made: House, campaign: int, variants: list[int], key: str, slug: str, book: ReceiptBook) -> None:
        self.campaign, self.key, self.slug = campaign, key, slug
        self._made, self._variants, self._book = made, variants, book

    def decide(self) -> bytes:
        return msgspec.json.encode({"key": self.key, "campaign": self.slug})

    def events(self, count: int, size: int) -> list[bytes]:
        now = time.time_ns() // 1_000_000
        bodies = []
        for _ in range(count):
            events = []
            for _ in range(size):
                variant = random.choice(self._variants)
                receipt = self._book.sign_facts(uuid7(now).bytes, self.campaign, variant, 0.25, 1, 2, bytes(8)).decode()
                events.append({"type": "impression", "id": uuid7(now), "at": now, "receipt": receipt})
            bodies.append(msgspec.json.encode({"key": self.key, "events": events}))
        return bodies


async def _open(made: House, **plan: Any) -> _Shop:
    async with Remote(_url(1), key="", token=TOKEN) as admin:
        draft = await admin.draft(
            {"brief": {"product": "scale"}, "plan": msgspec.to_builtins(CampaignPlan(simulated=True, **plan))}
        )
        live = await admin.move(draft.id, "live")
        key = next(site.key for site in await admin.sites() if site.id == live.site_id)
    async with await Store.open(made.settings) as store:
        book = ReceiptBook(await store.receipt_secret())
        variants = [variant.id for variant in await store.catalogue.variants(live.id)]
    return _Shop(made, live.id, variants, key, live.slug, book)


def throughput(made: House, shop: _Shop, what: str) -> dict[str, Any]:
    """Decisions, then events in batches of 50, through one, two and four servers."""
    found: dict[str, Any] = {"servers": what}
    for kind, path, size in (("decisions", "/v1/decide", 1), ("events", "/v1/events", 50)):
        for count in COUNTS:
            most = BODIES // count
            bodies = [[shop.decide()] if kind == "decisions" else shop.events(most, size) for _ in range(count)]
            used, began, database = _cpu(made.servers[:count]), time.perf_counter(), _cpu([made.database])
            load = _load(path, bodies, made.folder)
            passed = time.perf_counter() - began
            done = load.acknowledged * size
            found[f"{kind}_{count}"] = {
                "per_s": round(load.rate * size),
                "p50_ms": round(load.quantile(0.5), 1),
                "p99_ms": round(load.quantile(0.99), 1),
                "errors": load.errors,
                "bodies_ran_out": load.dry,
                "server_cpu_us": round((_cpu(made.servers[:count]) - used) / max(1, done) * 1e6, 1),
                "database_cpu_us": round((_cpu([made.database]) - database) / max(1, done) * 1e6, 1),
                "cores_used_by_servers": round((_cpu(made.servers[:count]) - used) / passed, 2),
                "client_busy": round(load.busy, 2),
            }
        one = found[f"{kind}_1"]["per_s"]
        found[f"{kind}_growth"] = {
            str(count): round(found[f"{kind}_{count}"]["per_s"] / one, 2) for count in COUNTS[1:]
        }
    return found


async def told_elsewhere(made: House) -> dict[str, Any]:
    """Decided by one server, told to two others, both times at once: counted once."""
    shop = await _open(made, refresh_ms=200)
    ledger, stored = Ledger(), 0
    names = {}
    async with httpx.AsyncClient(timeout=20) as http:
        for number in range(TOLD):
            decided, first, second = random.sample(range(1, SERVERS + 1), 3)
            answer = (await http.post(f"{_url(decided)}/v1/decide", content=shop.decide())).json()
            now = time.time_ns() // 1_000_000
            kinds = ("impression", "click") if number % 2 else ("impression",)
            events = [{"type": kind, "id": str(uuid7(now)), "at": now, "receipt": answer["receipt"]} for kind in kinds]
            body = {"key": shop.key, "consent": "granted", "events": events}
            told = await asyncio.gather(*(http.post(f"{_url(one)}/v1/events", json=body) for one in (first, second)))
            stored += sum(one.json()["stored"] for one in told)
            for event in events:
                ledger.sent[answer["variant"], event["type"]] += 1
            names[answer["variant"]] = decided
    async with await Store.open(made.settings) as store:
        told_all = await balance(store, made.url, shop.campaign, ledger)
    return {
        "decisions": TOLD,
        "events": sum(ledger.sent.values()),
        "stored": stored,
        "miscounted": told_all["miscounted"],
        "rollups_equal_recount": told_all["rollups_equal_recount"],
    }


async def staleness(made: House) -> dict[str, Any]:
    """One server is told of impressions; how long another decides without knowing of one, from its acknowledgement on.

    A policy's version counts what was known when it was made, and here nothing but impressions comes.
    """
    shop = await _open(made, refresh_ms=200)
    acks: list[float] = []
    stale: list[float] = []
    ending = asyncio.Event()
    async with httpx.AsyncClient(timeout=20) as http:
        version = (await http.post(f"{_url(2)}/v1/decide", content=shop.decide())).json()["policy_version"]

        async def tell() -> None:
            while not ending.is_set():
                answer = await http.post(f"{_url(1)}/v1/events", content=shop.events(1, 1)[0])
                assert answer.json()["stored"] == 1
                acks.append(time.monotonic())
                await asyncio.sleep(0.01)

        telling = asyncio.create_task(tell())
        deadline = time.monotonic() + STALE_S
        while time.monotonic() < deadline:
            answer = await http.post(f"{_url(2)}/v1/decide", content=shop.decide())
            now = time.monotonic()
            known = answer.json()["policy_version"] - version
            unknown = acks[known] if known < len(acks) else now
            stale.append(max(0.0, now - unknown))
            await asyncio.sleep(0.02)
        ending.set()
        await telling
    stale.sort()
    return {
        "looks": len(stale),
        "impressions": len(acks),
        "refresh_ms": 200,
        "p50_s": round(stale[len(stale) // 2], 3),
        "p99_s": round(stale[int(len(stale) * 0.99)], 3),
        "max_s": round(stale[-1], 3),
    }


def main() -> dict[str, Any]:
    """All of it."""
    with house(SERVERS) as made:
        for number in range(1, SERVERS + 1):
            wait_for(lambda number=number: httpx.get(f"{_url(number)}/readyz", timeout=3).raise_for_status())  # type: ignore[misc]
        shop = asyncio.run(_open(made))
        with limited([server.family() for server in made.servers], SHARE) as held:
            quota = throughput(made, shop, f"each at most {SHARE} of a core") if held else None
        print(quota, flush=True)
        elsewhere = asyncio.run(told_elsewhere(made))
        print(elsewhere, flush=True)
        stale = asyncio.run(staleness(made))
        print(stale, flush=True)
        free = throughput(made, shop, "as many cores as there are")
    kept = elsewhere["stored"] == elsewhere["events"] and not elsewhere["miscounted"]
    grows = quota is not None and quota["decisions_growth"]["2"] >= 1.8
    return {
        "what": "1, 2, 4 servers in network namespaces, one PostgreSQL; clients, servers and database on one machine",
        "cores": os.cpu_count(),
        "small_servers": quota,
        "free_servers": free,
        "told_elsewhere": elsewhere,
        "staleness": stale,
        "passed": kept and grows and elsewhere["rollups_equal_recount"] and stale["p99_s"] <= 2.0,
    }


if __name__ == "__main__":
    write_result("scale", main())
