"""``kill -9`` of server and database at random moments under load: nothing acknowledged is lost, nothing counts twice.

Clients ask for decisions and send events; a body that is not acknowledged is sent again, unchanged, until it is, as the
browser snippet does. Meanwhile a saboteur kills, at random: the whole server (then starts the same command again), one
of its processes, the whole database, its postmaster alone, or one of its backends. At the end every event that was
ever acknowledged must be in the log, once, and the counters must equal what was sent and a recount of the raw rows.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import psutil
import psycopg

from arauto.core.campaign import CampaignPlan
from arauto.core.ids import uuid7
from arauto.core.settings import Secret, Settings
from arauto.loop import Remote
from arauto.server import claim_port, to_environ
from arauto.store import Store
from arauto.store.embedded import EmbeddedPostgres

CLIENTS = 8
TARGETS = ("server", "process", "database", "postmaster", "backend")
QUIET_S = (0.2, 2.5)
"""The least and the greatest time between the server's being up again and the next kill."""
TOKEN = "crash-test"


class Ledger(msgspec.Struct):
    """What the clients did and were told."""

    acknowledged: set[UUID] = msgspec.field(default_factory=set)
    sent: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    repeats: int = 0
    unanswered: int = 0
    wrong: list[str] = []
    recovery_s: list[float] = []
    kills: Counter[str] = msgspec.field(default_factory=Counter)


class Server:
    """The command a supervisor would run, and its end."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._environ = {**os.environ, **to_environ(settings)}
        self._log = log
        self.url = f"http://{settings.host}:{settings.port}"
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "arauto.server"],
                env=self._environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_one(self, dice: random.Random) -> None:
        children = psutil.Process(self.process.pid).children(recursive=True)
        if children:
            dice.choice(children).kill()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def postgres_processes(folder: Path) -> list[psutil.Process]:
    """The postmaster that serves ``folder``, then its children; empty when it is down."""
    try:
        postmaster = psutil.Process(int((folder / "postmaster.pid").read_text().split()[0]))
        return [postmaster, *postmaster.children(recursive=True)]
    except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
        return []


def kill_database(folder: Path, target: str, dice: random.Random) -> None:
    processes = postgres_processes(folder)
    if target == "postmaster":
        processes = processes[:1]
    elif target == "backend":
        processes = [dice.choice(processes[1:])] if processes[1:] else []
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


async def client(url: str, key: str, slug: str, ledger: Ledger, stop: asyncio.Event, dice: random.Random) -> None:
    """One page after the other, for ever: decide, then events, repeated until acknowledged."""
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        while not stop.is_set():
            try:
                asked = await http.post("/v1/decide", json={"key": key, "campaign": slug})
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if asked.status_code != 200:
                await asyncio.sleep(0.05)
                continue
            decision = asked.json()
            events = page(decision["receipt"], dice)
            for event in events:
                ledger.sent[decision["variant"], event["type"]] += 1
            body = msgspec.json.encode({"key": key, "consent": "granted", "events": events})
            await deliver(http, body, events, ledger)
            if dice.random() < 0.2:
                ledger.repeats += 1
                await deliver(http, body, events, ledger)


def page(receipt: str, dice: random.Random) -> list[dict[str, Any]]:
    """What one page reports, in no particular order."""
    kinds = ["impression"] + ["click"] * (dice.random() < 0.4) + ["purchase"] * (dice.random() < 0.2)
    dice.shuffle(kinds)
    now = time.time_ns() // 1_000_000
    return [
        {"type": kind, "id": str(uuid7(now)), "at": now, "receipt": receipt}
        | ({"value": 19.9, "currency": "BRL", "order": f"o{place}"} if kind == "purchase" else {})
        for place, kind in enumerate(kinds)
    ]


async def deliver(http: httpx.AsyncClient, body: bytes, events: list[dict[str, Any]], ledger: Ledger) -> None:
    while True:
        try:
            answer = await http.post("/v1/events", content=body)
        except httpx.TransportError:
            ledger.unanswered += 1
            await asyncio.sleep(0.05)
            continue
        if answer.status_code == 503:
            ledger.unanswered += 1
            await asyncio.sleep(0.1)
            continue
        told = answer.json()
        if answer.status_code != 200 or told["stored"] + told["duplicates"] != len(events):
            ledger.wrong.append(f"{answer.status_code} {answer.text[:300]}")
        ledger.acknowledged.update(UUID(event["id"]) for event in events)
        return


async def sabotage(server: Server, folder: Path, kills: int, ledger: Ledger, dice: random.Random) -> None:
    for number in range(kills):
        await asyncio.sleep(dice.uniform(*QUIET_S))
        target = TARGETS[number % len(TARGETS)]
        ledger.kills[target] += 1
        began = time.perf_counter()
        if target == "server":
            if dice.random() < 0.3:
                kill_database(folder, "database", dice)
            server.kill()
            server.start()
        elif target == "process":
            server.kill_one(dice)
        else:
            kill_database(folder, target, dice)
        await until_ready(server)
        ledger.recovery_s.append(time.perf_counter() - began)
        if number % 10 == 9:
            print(f"{number + 1} kills, {len(ledger.acknowledged)} events acknowledged", flush=True)


async def until_ready(server: Server) -> None:
    deadline = time.monotonic() + 120
    async with httpx.AsyncClient(base_url=server.url, timeout=10) as http:
        while time.monotonic() < deadline:
            try:
                if (await http.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
    raise RuntimeError("not ready two minutes after a kill")


async def storm(settings: Settings, server: Server, kills: int, seed: int, ledger: Ledger) -> int:
    """Load and sabotage; returns the campaign's id."""
    await until_ready(server)
    async with Remote(server.url, key="", token=TOKEN) as admin:
        plan = CampaignPlan(simulated=True, refresh_ms=100)
        draft = await admin.draft({"brief": {"product": "crash test"}, "plan": msgspec.to_builtins(plan)})
        live = await admin.move(draft.id, "live")
        key = next(site.key for site in await admin.sites() if site.id == live.site_id)
    stop = asyncio.Event()
    clients = [
        asyncio.create_task(client(server.url, key, live.slug, ledger, stop, random.Random(seed * 1000 + number)))
        for number in range(CLIENTS)
    ]
    await sabotage(server, settings.home / "postgres", kills, ledger, random.Random(seed))
    stop.set()
    await asyncio.gather(*clients)
    return live.id


async def audit(settings: Settings, campaign_id: int, ledger: Ledger) -> dict[str, Any]:
    """Compare ledger, log and counters."""
    store = await Store.open(settings)
    try:
        totals = await store.rollups.totals(campaign_id)
        recount = await store.rollups.recount(campaign_id)
        names = {variant.id: variant.name for variant in await store.catalogue.variants(campaign_id)}
    finally:
        dsn = EmbeddedPostgres(settings.home / "postgres").dsn
        with psycopg.connect(dsn) as connection:
            rows = [row[0] for row in connection.execute("SELECT event_id FROM events").fetchall()]
        await store.close()
    counted: Counter[tuple[str, str]] = Counter()
    for row in totals:
        for kind, number in (("impression", row.impressions), ("click", row.clicks), ("purchase", row.orders)):
            counted[names[row.variant_id], kind] += number
    kept = Counter(rows)
    return {
        "acknowledged_events": len(ledger.acknowledged),
        "lost": len(ledger.acknowledged - kept.keys()),
        "stored_twice": sum(number - 1 for number in kept.values()),
        "miscounted": sum(abs(counted[key] - ledger.sent[key]) for key in counted.keys() | ledger.sent.keys()),
        "rollups_equal_recount": totals == recount.totals,
        "wrong_answers": ledger.wrong[:5],
    }


def main(kills: int = 110, seed: int = 0) -> dict[str, Any]:
    """Run the storm and print the balance; the answer goes to ``bench/results/crash.json``."""
    ledger = Ledger()
    with tempfile.TemporaryDirectory(prefix="arauto-crash-") as folder:
        # The database's own user must be able to enter.
        Path(folder).chmod(0o755)
        settings = Settings(
            home=Path(folder) / "home", port=claim_port("127.0.0.1", 0), rate_limit=0, admin_token=Secret(TOKEN)
        )
        server = Server(settings, Path(folder) / "server.log")
        try:
            campaign_id = asyncio.run(storm(settings, server, kills, seed, ledger))
        finally:
            server.stop()
        balance = asyncio.run(audit(settings, campaign_id, ledger))
    recovery = sorted(ledger.recovery_s)
    return {
        "passed": balance["rollups_equal_recount"]
        and not any(balance[fault] for fault in ("lost", "stored_twice", "miscounted", "wrong_answers")),
        "kills": dict(ledger.kills),
        **balance,
        "repeated_bodies": ledger.repeats,
        "unanswered_requests": ledger.unanswered,
        "recovery_s": {"median": round(recovery[len(recovery) // 2], 2), "max": round(recovery[-1], 2)},
        "seed": seed,
    }


if __name__ == "__main__":
    print(msgspec.json.format(msgspec.json.encode(main(*(int(number) for number in sys.argv[1:]))), indent=2).decode())
