"""Each fault at least twenty times under load: what visitors saw, what was lost, how long until all was well again.

A PostgreSQL and a server, each in a network namespace of its own (:mod:`bench.house`; needs root), visitors that behave
as the browser snippet does (:mod:`bench.visitors`) in another, and ghosts, who misbehave, in a fourth. ``python -m
bench.faults NAME…`` runs some of the faults and keeps the results of the others.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx
import msgspec
import psutil

from arauto.core.campaign import CampaignPlan
from arauto.loop import Remote
from arauto.store import Store
from bench.house import GHOSTS, PORT, TOKEN, House, Kept, house, inside, server_address, until, wait_for
from bench.load import Plan, run
from bench.machine import RESULTS, write_result
from bench.visitors import Ask, Ledger, Visitor, balance

TRIALS = 20
VISITORS = 8
CALM_S = 1.5
CUT_S = 30.0
FULL_S = 8.0
JUMP_S = 4.0
SPIKE_S = 5.0
TIMES = 100
GHOSTLY = 40
DISK_MB = 500
HOLD = os.environ.get("BENCH_HOLD", "")
"""A file: while it is there, no trial begins (somebody else measures on this machine)."""


class Scene(NamedTuple):
    """What a fault works on."""

    house: House
    ledger: Ledger
    dice: random.Random
    key: str
    slug: str
    notes: dict[str, list[float]]

    def note(self, name: str, value: float) -> None:
        self.notes.setdefault(name, []).append(value)


Fault = Callable[[Scene], Awaitable[None]]
"""Does harm, and returns when the harm is over; what comes after is recovery."""


async def kill_server(scene: Scene) -> None:
    scene.house.servers[0].kill()


async def kill_database(scene: Scene) -> None:
    scene.house.database.kill()


async def kill_jobs(scene: Scene) -> None:
    """The process for background jobs dies in the middle of one."""
    async with _admin() as admin:
        job = await admin.post("/v1/campaigns/1/variants", json={"write": 3, "engine": "slot"})
        number = job.json()["id"]
        await asyncio.sleep(scene.dice.uniform(0, 0.3))
        _jobs_process(scene.house.servers[0]).kill()
        began = time.monotonic()
        while True:
            told = (await admin.get(f"/v1/jobs/{number}")).json()
            if told["state"] == "done":
                break
            if told["state"] == "failed" or time.monotonic() - began > 60:
                raise RuntimeError(f"a job was lost: {told}")
            await asyncio.sleep(0.1)
        scene.note("job_done_s", time.monotonic() - began)


def _jobs_process(server: Kept) -> psutil.Process:
    """The child that does not listen."""
    for child in psutil.Process(server.process.pid).children():
        listening = {row.inode for row in sockets_of(child.pid) if row.state == LISTENING}
        held = {str(file.readlink()) for file in Path(f"/proc/{child.pid}/fd").iterdir() if file.is_symlink()}
        if "spawn_main" in " ".join(child.cmdline()) and not {f"socket:[{inode}]" for inode in listening} & held:
            return child
    raise RuntimeError("there is no process for jobs")


async def cut_database(scene: Scene) -> None:
    scene.house.cut("database", up=False)
    await asyncio.sleep(CUT_S)
    scene.house.cut("database", up=True)


async def fill_disk(scene: Scene) -> None:
    ballast = scene.house.folder / "database" / "ballast"
    with ballast.open("wb") as file, suppress(OSError):
        while True:
            file.write(bytes(2**20))
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    scene.note("free_bytes", shutil.disk_usage(ballast.parent).free)
    await asyncio.sleep(FULL_S)
    ballast.unlink()


async def jump_clock(scene: Scene) -> None:
    """An hour ahead or behind, and back."""
    scene.house.jump(scene.dice.choice((3600, -3600)))
    await asyncio.sleep(JUMP_S)
    scene.house.jump(0)


async def slow_clients(scene: Scene) -> None:
    """Heads and bodies that come a byte at a time, and answers that nobody reads."""
    lasted = await asyncio.to_thread(inside, "ghosts", lambda: _drip(scene.key))
    scene.note("held_for_s", lasted)


def _drip(key: str) -> float:
    head = f'POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{{"key": "{key}'
    wanted = [head.encode()[:40], head.encode(), b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"]
    address = (server_address(1), PORT)
    lines = [socket.create_connection(address, timeout=5) for _ in range(GHOSTLY)]
    began, alive = time.monotonic(), dict(enumerate(lines))
    for place, line in alive.items():
        line.sendall(wanted[place % 3])
        line.settimeout(0.01)
    while alive and time.monotonic() - began < 60:
        for place, line in list(alive.items()):
            try:
                if place % 3 < 2:
                    line.send(b"a")
                if line.recv(4096) == b"":
                    raise ConnectionError
            except TimeoutError:
                continue
            except OSError:
                line.close()
                del alive[place]
        time.sleep(0.5)
    return time.monotonic() - began


async def half_open(scene: Scene) -> None:
    """Clients whose machine vanishes: no end of the connection ever comes."""
    lines = await asyncio.to_thread(inside, "ghosts", _half)
    scene.house.cut("ghosts", up=False)
    began = time.monotonic()
    server = scene.house.servers[0]
    await until(lambda: not _from_ghosts(server), 90)
    scene.note("held_for_s", time.monotonic() - began)
    for line in lines:
        line.close()
    scene.house.cut("ghosts", up=True)


def _half() -> list[socket.socket]:
    lines = [socket.create_connection((server_address(1), PORT), timeout=5) for _ in range(GHOSTLY)]
    for place, line in enumerate(lines):
        head = b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n{"
        line.sendall(head if place % 2 else head[:20])
    return lines


def _from_ghosts(server: Kept) -> int:
    """How many connections to the ghosts the server's machine has open."""
    ghosts = socket.inet_aton(GHOSTS)[::-1].hex().upper()
    return sum(row.peer == ghosts and row.state == ESTABLISHED for row in sockets_of(server.process.pid))


class Row(NamedTuple):
    """A line of ``/proc/PID/net/tcp``."""

    peer: str
    state: str
    inode: str


ESTABLISHED, LISTENING = "01", "0A"


def sockets_of(pid: int) -> list[Row]:
    """The TCP sockets of a process's network namespace (psutil knows only our own)."""
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return [Row(line[2].partition(":")[0], line[3], line[9]) for line in lines]


async def spike(scene: Scene) -> None:
    """A hundred times the traffic, as decisions and batches of events, whatever the answers are."""
    batch = {"key": scene.key, "events": [{"type": "custom", "id": "0199c6a1-0000-7000-8000-000000000000"}] * 200}
    calm = VISITORS / 0.2
    kinds = (
        ("/v1/decide", msgspec.json.encode({"key": scene.key, "campaign": scene.slug}), calm * TIMES * 0.9),
        ("/v1/events", msgspec.json.encode(batch), calm * TIMES * 0.1),
    )
    plans = [
        Plan(host=server_address(1), port=PORT, path=path, bodies=[body], connections=600, seconds=SPIKE_S,
             warm_up=0.5, rate=rate)
        for path, body, rate in kinds
    ]  # fmt: skip
    load = await asyncio.to_thread(inside, "ghosts", lambda: run(plans))
    scene.note("asked_per_s", calm * TIMES)
    scene.note("answered_per_s", (load.answers + load.errors) / load.seconds)
    scene.note("good_per_s", load.answers / load.seconds)


class Setting(NamedTuple):
    """A fault, and the house it needs."""

    run: Fault
    what: str
    options: Mapping[str, Any] = MappingProxyType({})
    trials: int = TRIALS
    calm_s: float = CALM_S


FAULTS = {
    "server_killed": Setting(kill_server, "kill -9 of the server and all its processes; started again by a supervisor"),
    "database_killed": Setting(kill_database, "kill -9 of PostgreSQL, all its processes; started again"),
    "jobs_killed": Setting(kill_jobs, "kill -9 of the process for background jobs, in the middle of one"),
    "database_cut_off": Setting(cut_database, f"the database's network down for {CUT_S:.0f} s"),
    "disk_full": Setting(fill_disk, f"no byte left on the database's disk for {FULL_S:.0f} s", {"disk_mb": DISK_MB}),
    "clock_jumps": Setting(jump_clock, f"the server's clock an hour ahead or behind for {JUMP_S:.0f} s, then back",
                           {"jumps": True}),
    "slow_clients": Setting(slow_clients, f"{GHOSTLY} clients that send a byte each half second, or read nothing"),
    "half_open": Setting(half_open, f"{GHOSTLY} clients whose machine vanishes in the middle of a request"),
    "spike": Setting(spike, f"{TIMES} times the traffic from one address for {SPIKE_S:.0f} s, no rate limit"),
    "spike_limited": Setting(spike, f"the same, with the rate limit on ({6000} a minute and address)",
                             {"rate_limit": 6000}),
}  # fmt: skip


@asynccontextmanager
async def _admin() -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    base = f"http://{server_address(1)}:{PORT}"
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=30) as client:
        yield client


async def _launch() -> tuple[int, str, str]:
    """A live campaign: its id, its site's key, its name."""
    async with Remote(f"http://{server_address(1)}:{PORT}", key="", token=TOKEN) as admin:
        plan = CampaignPlan(simulated=True, refresh_ms=200)
        draft = await admin.draft({"brief": {"product": "fault"}, "plan": msgspec.to_builtins(plan)})
        live = await admin.move(draft.id, "live")
        return live.id, next(site.key for site in await admin.sites() if site.id == live.site_id), live.slug


def _hold(visitors: list[Visitor]) -> None:
    while HOLD and Path(HOLD).exists():
        for visitor in visitors:
            visitor.resting = True
        time.sleep(1)
    for visitor in visitors:
        visitor.resting = False


async def _trials(one: House, setting: Setting, trials: int) -> dict[str, Any]:
    url = f"http://{server_address(1)}:{PORT}"
    await asyncio.to_thread(wait_for, lambda: httpx.get(f"{url}/readyz", timeout=3).raise_for_status())
    campaign, key, slug = await _launch()
    ledger = Ledger()
    notes: dict[str, Any] = {}
    visitors = [Visitor([url], key, slug, ledger, random.Random(number)) for number in range(VISITORS)]
    tasks = [asyncio.create_task(visitor.run()) for visitor in visitors]
    scene = Scene(one, ledger, random.Random(0), key, slug, notes)
    spans: list[tuple[float, float, float]] = []
    try:
        await asyncio.sleep(2)
        for _ in range(trials):
            await asyncio.to_thread(_hold, visitors)
            began = time.monotonic()
            await setting.run(scene)
            over = time.monotonic()
            await until(partial(_well, ledger, over))
            well = max(_first(ledger.decides, over), _first(ledger.sends, over))
            spans.append((began, over, well))
            await asyncio.sleep(setting.calm_s * scene.dice.uniform(0.5, 1.5))
    finally:
        for visitor in visitors:
            visitor.end()
        await asyncio.wait(tasks, timeout=90)
    async with await Store.open(one.settings) as store:
        told = await balance(store, one.url, campaign, ledger)
    return {"what": setting.what, "trials": len(spans), **_seen(ledger, spans), **told, "notes": _summed(notes),
            "untold": sum(not task.done() for task in tasks)}  # fmt: skip


def _first(asks: list[Ask], since: float) -> float:
    """When the first request that began after ``since`` had its good answer; infinity: not yet."""
    return min(
        (ask.at + ask.seconds for ask in asks[-4000:] if ask.at >= since and ask.status == 200), default=float("inf")
    )


def _well(ledger: Ledger, since: float) -> bool:
    return max(_first(ledger.decides, since), _first(ledger.sends, since)) < float("inf")


def _seen(ledger: Ledger, spans: list[tuple[float, float, float]]) -> dict[str, Any]:
    """What visitors saw while a fault lasted and until all was well."""
    during = [
        ask
        for ask in ledger.decides
        for began, _, well in spans
        if began - 0.05 <= ask.at + ask.seconds and ask.at <= well
    ]
    bad = [ask for ask in during if ask.status != 200]
    waits = [wait for at, wait in ledger.waits for began, _, well in spans if at <= well and at + wait >= began]
    refusals = [ask for ask in (*ledger.decides, *ledger.sends) if ask.status in (429, 503)]
    recovery = sorted(well - over for _, over, well in spans)
    good = sorted(ask.seconds for ask in during if ask.status == 200)
    return {
        "recovery_s": {"median": round(recovery[len(recovery) // 2], 2), "max": round(recovery[-1], 2)},
        "decisions_during": len(during),
        "default_shown": len(bad),
        "default_shown_by_status": {
            str(code): sum(one.status == code for one in bad) for code in {one.status for one in bad}
        },
        "decision_p99_ms": round(good[int(0.99 * len(good))] * 1000, 1) if good else None,
        "events_waited_at_most_s": round(max(waits, default=0.0), 1),
        "refusals": len(refusals),
        "refusals_that_say_when": sum(one.patient for one in refusals),
        "default_shown_when_calm": sum(ask.status != 200 for ask in ledger.decides) - len({id(ask) for ask in bad}),
    }


def _summed(notes: dict[str, list[float]]) -> dict[str, Any]:
    return {
        name: {"median": round(sorted(values)[len(values) // 2], 2), "max": round(max(values), 2)}
        for name, values in notes.items()
    }


def good(told: dict[str, Any]) -> bool:
    """Whether nothing was lost, doubled or miscounted, and whoever was refused was told when to come back."""
    return (
        told["rollups_equal_recount"]
        and not any(told[fault] for fault in ("lost", "stored_twice", "miscounted", "refused", "untold"))
        and told["refusals"] == told["refusals_that_say_when"]
    )


def one_fault(name: str, trials: int) -> dict[str, Any]:
    """Run one kind of fault in a house of its own."""
    setting = FAULTS[name]
    with house(1, **setting.options) as made:
        try:
            return asyncio.run(_trials(made, setting, trials))
        except BaseException:
            for log in sorted(made.folder.glob("*.log")):
                print(f"── {log.name}\n{log.read_text('utf-8', 'replace')[-3000:]}", file=sys.stderr)
            raise


def main(names: list[str] | None = None, trials: int = 0) -> dict[str, Any]:
    """All faults, or those named; the others keep their last results."""
    told = {}
    for name in names or FAULTS:
        print(f"── {name}", flush=True)
        told[name] = one_fault(name, trials or FAULTS[name].trials)
        print(json.dumps(told[name]), flush=True)
        if names:
            write_result("faults", _whole({**_kept(), name: told[name]}))
    return _whole(told)


def _kept() -> dict[str, Any]:
    file = RESULTS / "faults.json"
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))["faults"] if file.exists() else {}
    return found


def _whole(told: dict[str, Any]) -> dict[str, Any]:
    return {
        "what": "one server and one PostgreSQL, 8 visitors with 5 pages a second each; faults one after the other",
        "faults": {name: told[name] for name in FAULTS if name in told},
        "passed": all(good(one) for one in told.values()),
    }


if __name__ == "__main__":
    main(sys.argv[1:] or list(FAULTS), int(os.environ.get("TRIALS", "0")))
