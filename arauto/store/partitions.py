"""Months of the log: partitions of ``events`` and ``exposures`` by the time inside their UUIDv7, made ahead."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from psycopg import sql

from arauto.core.clock import to_datetime
from arauto.store.database import Connection
from arauto.store.migrate import LOCK

TABLES = {"events": "event_id", "exposures": "decision_id"}
"""The partitioned tables, and the key each is cut by."""
MONTHS_BEHIND = 1
MONTHS_AHEAD = 2


def months_around(now_ms: int) -> list[datetime]:
    """The first instants of the months to have: the last one, this one, and two ahead."""
    now = to_datetime(now_ms)
    first = now.year * 12 + now.month - 1
    return [
        datetime(place // 12, place % 12 + 1, 1, tzinfo=UTC)
        for place in range(first - MONTHS_BEHIND, first + MONTHS_AHEAD + 1)
    ]


def next_month(month: datetime) -> datetime:
    """The first instant of the month after."""
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def bound(instant: datetime) -> UUID:
    """The least UUID that a UUIDv7 of ``instant`` can be."""
    return UUID(int=int(instant.timestamp() * 1000) << 80)


async def ensure_partitions(connection: Connection, now_ms: int) -> list[str]:
    """Make the months around now. Returns the names of the new partitions.

    Rows that came before their month did (a client's clock was ahead) move from the default partition into it.
    """
    made: list[str] = []
    wanted = [(table, month, f"{table}_{month:%Y_%m}") for table in TABLES for month in months_around(now_ms)]
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        names = [name for _, _, name in wanted]
        rows = await connection.execute(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL", [names]
        )
        missing = {row["name"] for row in await rows.fetchall()}
        for table, month, name in wanted:
            if name in missing:
                await _make(connection, table, month, name)
                made.append(name)
    return made


async def _make(connection: Connection, table: str, month: datetime, name: str) -> None:
    key, low, high = TABLES[table], bound(month), bound(next_month(month))
    words = {
        "table": sql.Identifier(table),
        "rest": sql.Identifier(f"{table}_default"),
        "name": sql.Identifier(name),
        "key": sql.Identifier(key),
        "low": sql.Literal(str(low)),
        "high": sql.Literal(str(high)),
    }
    for step in (
        "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE",
        "CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) WITH (fillfactor = 85)",
        "WITH moved AS (DELETE FROM {rest} WHERE {key} >= {low} AND {key} < {high} RETURNING *)"
        " INSERT INTO {name} SELECT * FROM moved",
        "ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({low}) TO ({high})",
    ):
        await connection.execute(sql.SQL(step).format(**words))
