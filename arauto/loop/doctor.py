"""What is wrong with an installation, and the mend: each thing looked at is one finding, fine ones included."""

from __future__ import annotations

import asyncio
import os
import shutil
from http import HTTPStatus
from pathlib import Path
from typing import Literal

import msgspec

from arauto.core.clock import Clock
from arauto.core.errors import ArautoError, StoreError
from arauto.core.ready import readiness
from arauto.core.settings import Settings
from arauto.creative import ModelStore
from arauto.store import Store

State = Literal["ok", "warn", "fail"]

LITTLE_BYTES = 5 * 10**9
"""Free disk below which the log may fill it within days."""
NO_BYTES = 5 * 10**8
SKEW_MS = 2_000
"""Clocks further apart than this put events beside their minute."""
BUSY = 0.8
"""Share of the database's connections in use."""


class Symptom(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at: how it is, and what to do about it when it is not fine."""

    name: str
    state: State
    told: str
    mend: str = ""


async def examine(settings: Settings, clock: Clock, *, recount: bool = False) -> list[Symptom]:
    """Look at everything that this process can reach. ``recount`` compares every counter with the raw events."""
    found = [_disk(settings.home), _model(settings), await _server(settings)]
    try:
        async with await Store.open(settings, clock=clock, patience=5.0) as store:
            found += await _database(store, clock)
            found.append(await _jobs(store))
            if recount:
                found.append(await _counters(store))
    except StoreError as error:
        found.append(Symptom(name="database", state="fail", told=error.problem, mend=error.mend))
    return found


def _disk(home: Path) -> Symptom:
    place = next(folder for folder in (home.absolute(), *home.absolute().parents) if folder.exists())
    if not os.access(place, os.W_OK):
        return Symptom(
            name="disk",
            state="fail",
            told=f"{place} cannot be written to",
            mend="give this user the folder, or set ARAUTO_HOME",
        )
    free = shutil.disk_usage(place).free
    told = f"{free / 1e9:,.1f} GB free for {home}"
    state: State = "fail" if free < NO_BYTES else "warn" if free < LITTLE_BYTES else "ok"
    return Symptom(name="disk", state=state, told=told, mend="" if state == "ok" else "make room, or move ARAUTO_HOME")


def _model(settings: Settings) -> Symptom:
    """Whether the embedded model is there; its bytes are compared by ``arauto models verify``."""
    name = settings.local_model
    if settings.text_engine not in ("auto", "local"):
        return Symptom(name="model", state="ok", told=f"texts are written by {settings.text_engine}")
    try:
        here = ModelStore(settings).path(name).exists()
    except ArautoError as error:
        return Symptom(name="model", state="fail", told=error.problem, mend=error.mend)
    if here:
        return Symptom(name="model", state="ok", told=f"{name} is here")
    state: State = "fail" if settings.text_engine == "local" else "warn"
    return Symptom(name="model", state=state, told=f"{name} is not here", mend="arauto models pull")


async def _server(settings: Settings) -> Symptom:
    url = f"http://{settings.host}:{settings.port}"
    ready = await asyncio.to_thread(readiness, url)
    if ready is None:
        return Symptom(name="server", state="warn", told=f"nobody answers at {url}", mend="arauto up")
    if ready != HTTPStatus.OK:
        return Symptom(name="server", state="fail", told=f"{url}/readyz answers {ready}", mend="look at the database")
    return Symptom(name="server", state="ok", told=f"ready at {url}")


async def _database(store: Store, clock: Clock) -> list[Symptom]:
    seen = await store.health()
    told = f"PostgreSQL {seen.server_version}, pgvector {seen.vector_version}, {seen.size_bytes / 1e6:,.0f} MB"
    found = [Symptom(name="database", state="ok", told=told)]
    if not seen.durable:
        found.append(
            Symptom(
                name="durability",
                state="fail",
                told="acknowledged events can be lost with the machine's power",
                mend="set fsync = on and full_page_writes = on in the database server",
            )
        )
    skew = clock.now_ms() - seen.now_ms
    far = abs(skew) > SKEW_MS
    mend = "let both machines keep time with NTP" if far else ""
    found.append(
        Symptom(name="clock", state="warn" if far else "ok", told=f"{skew:+,} ms from the database's", mend=mend)
    )
    full = seen.connections > BUSY * seen.max_connections
    found.append(
        Symptom(
            name="connections",
            state="warn" if full else "ok",
            told=f"{seen.connections} of {seen.max_connections} in use",
            mend="raise max_connections, or run fewer processes" if full else "",
        )
    )
    if seen.odd_events:
        found.append(
            Symptom(
                name="times",
                state="warn",
                told=f"{seen.odd_events:,} events carry times far from now",
                mend="they are kept and counted; look which page's clock is wrong",
            )
        )
    return found


async def _jobs(store: Store) -> Symptom:
    jobs = await store.jobs.list(100)
    failed = [job for job in jobs if job.state == "failed"]
    waiting = sum(job.state == "waiting" for job in jobs)
    if failed:
        return Symptom(
            name="jobs",
            state="warn",
            told=f"{len(failed)} of the last {len(jobs)} failed; the last: {failed[0].name}: {failed[0].error}",
            mend="mend the cause, then ask for the work again",
        )
    return Symptom(name="jobs", state="ok", told=f"none failed, {waiting} waiting")


async def _counters(store: Store) -> Symptom:
    wrong = []
    campaigns = await store.catalogue.campaigns()
    for campaign in campaigns:
        recount = await store.rollups.recount(campaign.id)
        same = recount.totals == await store.rollups.totals(campaign.id)
        if not same or recount.vitals != await store.rollups.vitals(campaign.id):
            wrong.append(campaign.slug)
    if wrong:
        return Symptom(
            name="counters",
            state="fail",
            told=f"differ from the raw events in {', '.join(wrong)}",
            mend="stop all writers and look again; if they still differ, restore a backup and report it to us",
        )
    return Symptom(name="counters", state="ok", told=f"equal a recount of {len(campaigns)} campaigns' events")
