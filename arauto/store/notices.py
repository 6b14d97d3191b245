"""LISTEN and NOTIFY: how processes learn of each other's changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import get_args

import psycopg

from arauto.store.database import CHANNEL, Connection, Database
from arauto.store.records import Notice, NoticeKind

KINDS: tuple[NoticeKind, ...] = get_args(NoticeKind)
_PAUSE_SECONDS = 30.0  # a silent connection is asked now and then, so that a dead one is noticed


async def notify(database: Database, kind: NoticeKind, number: int) -> None:
    """Tell every process that listens."""
    async with database.connection() as connection:
        await send(connection, kind, number)


async def send(connection: Connection, kind: NoticeKind, number: int) -> None:
    """Tell every process that listens, once the connection's transaction commits."""
    await connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"{kind}:{number}"])


async def listen(database: Database) -> AsyncIterator[Notice]:
    """Notices as they come; see :meth:`arauto.store.Store.listen`."""
    again = False
    while True:
        connection = await database.connect()
        try:
            await connection.execute(f"LISTEN {CHANNEL}")
            if again:
                for notice in await _everything(connection):
                    yield notice
            while True:
                async for message in connection.notifies(timeout=_PAUSE_SECONDS):
                    if (heard := read(message.payload)) is not None:
                        yield heard
                await connection.execute("SELECT 1")
        except psycopg.OperationalError:
            again = True
        finally:
            await connection.close()


def read(payload: str) -> Notice | None:
    """The notice of a payload, or None for what is not ours."""
    kind, _, number = payload.partition(":")
    for known in KINDS:
        if kind == known and number.isdecimal():
            return Notice(known, int(number))
    return None


async def _everything(connection: Connection) -> list[Notice]:
    rows = await (await connection.execute("SELECT id FROM campaigns WHERE state <> 'draft' ORDER BY id")).fetchall()
    return [Notice("campaign", row["id"]) for row in rows] + [Notice("totals", row["id"]) for row in rows]
