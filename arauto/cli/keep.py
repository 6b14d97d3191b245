"""``arauto archive``, ``backup``, ``restore`` and ``doctor``: keeping an installation well."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
from rich.table import Table

import arauto
from arauto.cli.common import as_json, console, megabytes, print_json, settings_of
from arauto.core.clock import SystemClock
from arauto.core.settings import Settings
from arauto.loop import archive_events, examine
from arauto.store import Archived, Store
from arauto.store import backup as write_backup
from arauto.store import restore as read_backup

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(file: Path) -> None:
    """Write the whole database to FILE, while work goes on. Keep it private: it holds visitors' data and secrets."""
    console.print(f"{file}: {megabytes(write_backup(settings_of(), file))}", soft_wrap=True)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def restore(file: Path) -> None:
    """Fill an empty database from a backup FILE: all of it, or nothing."""
    settings = settings_of()
    read_backup(settings, file)
    with arauto.open(settings) as app:  # brings it to this version
        count = len(app.campaigns())
    console.print(f"restored: {count} campaigns", soft_wrap=True)


@click.command()
@as_json
def archive(*, json_: bool) -> None:
    """Move the raw events that are older than `keep_events_days` to Parquet files now; shows every month that went."""
    months = asyncio.run(_archive(settings_of()))
    if json_:
        print_json(months)
        return
    for one in months:
        console.print(f"{one.month.replace('_', '-')}: {one.rows:,} events, {len(one.files)} files", soft_wrap=True)


async def _archive(settings: Settings) -> list[Archived]:
    async with await Store.open(settings) as store:
        return await archive_events(store, settings)


@click.command()
@click.option("--recount", is_flag=True, help="Compare every counter with the raw events; takes a while.")
@as_json
def doctor(*, recount: bool, json_: bool) -> None:
    """Find what is wrong with this installation, and say the mend. Exits with 1 when something is."""
    found = asyncio.run(examine(settings_of(), SystemClock(), recount=recount))
    if json_:
        print_json(found)
    else:
        table = Table("", "", "", "mend", box=None, pad_edge=False)
        for one in found:
            table.add_row(f"[{_COLOURS[one.state]}]{one.state}[/]", one.name, one.told, one.mend)
        console.print(table)
    if any(one.state == "fail" for one in found):
        sys.exit(1)
