"""How long raw events stay in the database, and what becomes of them: Parquet files, a month a folder.

A file names no visitor, order or item, and tells times to the minute (``arauto/store/sql/leave.sql``). Counters,
reports and tests do not change when a month leaves.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

from arauto.core.campaign import DAY_MS
from arauto.core.errors import ConflictError, InputError
from arauto.core.settings import Settings
from arauto.store import Archived, JobContext, Store

RETENTION_JOB = "events.archive"
PART_ROWS = 500_000
"""Rows of one file."""
_TRIES = 3

_SCHEMA = {
    "decision": "Int64",
    "type": "String",
    "minute_ms": "Int64",
    "site_id": "Int32",
    "campaign_id": "Int32",
    "variant_id": "Int32",
    "segment": "String",
    "stage": "Int32",
    "propensity": "Float64",
    "policy_version": "Int64",
    "metric": "String",
    "reading": "Float64",
    "value_cents": "Int64",
    "currency": "String",
    "score": "Int16",
    "name": "String",
}


def register_retention(store: Store, settings: Settings) -> None:
    """Tell the store's worker how this job is done."""

    async def run(context: JobContext, _args: dict[str, Any]) -> None:
        await archive_events(store, settings, context)

    store.jobs.register(RETENTION_JOB, run)


async def archive_events(store: Store, settings: Settings, context: JobContext | None = None) -> list[Archived]:
    """Let every month go that the settings no longer keep. Returns all months that ever went.

    Cut short at any point, it goes on from there: files are complete before they have their name, and rows are dropped
    only when they are what the files hold.

    Raises:
        InputError: the library that writes Parquet is not installed, or the folder cannot be written to.
        ConflictError: erasures kept changing a month; try again.
    """
    days = settings.keep_events_days
    due = await store.archive.due(days * DAY_MS) if days else []
    noted = {one.month for one in await store.archive.all()}
    for place, month in enumerate(due):
        if context is not None:
            await context.progress(place, len(due), f"{month:%Y-%m}")
        for _ in range(_TRIES):
            if f"{month:%Y_%m}" not in noted or not _here(settings, month):
                await _export(store, settings, month)
            if await store.archive.drop(month):
                break
            noted.discard(f"{month:%Y_%m}")
        else:
            raise ConflictError(f"the events of {month:%Y-%m} kept changing", field="month", mend="try again later")
    if context is not None and due:
        await context.progress(len(due), len(due))
    return await store.archive.all()


async def _export(store: Store, settings: Settings, month: datetime) -> None:
    folder = _folder(settings, month)
    fresh = folder.with_name(f"{folder.name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        names: list[str] = []
        rows, whole = 0, hashlib.sha256()
        async for part in _parts(store, month):
            name = f"events-{len(names):04}.parquet"
            whole.update(await asyncio.to_thread(_write, fresh / name, part))
            names.append(name)
            rows += len(part)
        _flush(fresh)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
        _flush(folder.parent)
    except OSError as failure:
        raise InputError(
            f"cannot be written to: {failure.strerror}", field="archive_dir", mend="make room, or choose another folder"
        ) from None
    await store.archive.note(month, rows, names, whole.hexdigest())


async def _parts(store: Store, month: datetime) -> AsyncIterator[list[dict[str, Any]]]:
    waiting: list[dict[str, Any]] = []
    async for rows in store.archive.rows(month):
        waiting += rows
        while len(waiting) >= PART_ROWS:
            yield waiting[:PART_ROWS]
            waiting = waiting[PART_ROWS:]
    if waiting:
        yield waiting


def _write(path: Path, rows: list[dict[str, Any]]) -> bytes:
    """Write one file, down to the disk; its bytes, for the hash."""
    polars = _polars()
    frame = polars.DataFrame(rows, schema={name: getattr(polars, kind) for name, kind in _SCHEMA.items()})
    with path.open("wb") as file:
        frame.write_parquet(file, compression="zstd", statistics=True)
        file.flush()
        os.fsync(file.fileno())
    return path.read_bytes()


def _here(settings: Settings, month: datetime) -> bool:
    return _folder(settings, month).is_dir()


def _folder(settings: Settings, month: datetime) -> Path:
    return (settings.archive_dir or settings.home / "archive") / f"{month:%Y-%m}"


def _flush(folder: Path) -> None:
    """Bring a folder's names down to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _polars() -> Any:
    try:
        import polars
    except ImportError:
        raise InputError("polars is not installed", field="archive", mend="pip install 'arauto[data]'") from None
    return polars
