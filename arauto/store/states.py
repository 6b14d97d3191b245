"""What the audience remembers of visitors, and the log that it is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from importlib import resources
from uuid import UUID

import msgspec

from arauto.core.events import EventType
from arauto.store.database import Database

_LOG = resources.files("arauto.store").joinpath("sql", "touches.sql").read_bytes()
_AT_ONCE = 1000
_SIGN = 1 << 64


class Told(msgspec.Struct, frozen=True, gc=False):
    """An event of a known visitor, joined with what was decided for them."""

    event_id: UUID
    visitor_id: UUID
    type: EventType
    occurred_ms: int
    received_ms: int
    site_id: int
    ref: str | None
    variant_id: int | None
    propensity: float | None


class Remembered(msgspec.Struct, frozen=True, gc=False):
    """A visitor's packed touches, and the tomb by which an erasure would know them."""

    visitor_id: UUID
    touches: bytes
    tomb: str


class States:
    """Packed touches by visitor. Nothing is kept of an erased one, nor of one who took their consent back."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read_ms(self) -> int:
        """Up to when (by arrival) the log is in the states; 0: nothing is."""
        row = await self._database.fetch_one("SELECT read_ms FROM audience_reading")
        return int(row["read_ms"]) if row else 0

    async def names(self) -> dict[int, str]:
        """Item names by code."""
        rows = await self._database.fetch("SELECT code, name FROM audience_items")
        return {row["code"] % _SIGN: row["name"] for row in rows}

    async def every(self) -> AsyncIterator[list[tuple[UUID, bytes]]]:
        """All states, some thousands at a time."""
        async with self._database.transaction() as connection, connection.cursor(name="states") as cursor:
            await cursor.execute("SELECT visitor_id, touches FROM visitor_states")
            while rows := await cursor.fetchmany(_AT_ONCE):
                yield [(row["visitor_id"], bytes(row["touches"])) for row in rows]

    async def log(self, since_ms: int) -> AsyncIterator[list[Told]]:
        """The log of visitors who are known and have not taken their consent back, from an arrival on."""
        async with self._database.transaction() as connection, connection.cursor(name="touches") as cursor:
            await cursor.execute(_LOG, {"since": since_ms})
            while rows := await cursor.fetchmany(_AT_ONCE):
                yield [Told(**row) for row in rows]

    async def save(self, states: Sequence[Remembered], names: Mapping[int, str], read_ms: int) -> None:
        """Keep ``states`` and ``names``, and that the log was read up to ``read_ms``, in one transaction."""
        async with self._database.transaction() as connection:
            # The lock that every append takes: an erasure waits for it, or this waits for the erasure.
            await connection.execute("LOCK TABLE exposures IN ROW EXCLUSIVE MODE")
            await connection.execute(
                "INSERT INTO visitor_states (visitor_id, touches)"
                " SELECT visitor_id, touches FROM unnest(%s::uuid[], %s::bytea[], %s::text[])"
                " AS state (visitor_id, touches, tomb)"
                " WHERE NOT EXISTS (SELECT FROM erasures WHERE erasures.tomb = state.tomb)"
                " ORDER BY visitor_id"
                " ON CONFLICT (visitor_id) DO UPDATE SET touches = EXCLUDED.touches",
                [[one.visitor_id for one in states], [one.touches for one in states], [one.tomb for one in states]],
            )
            codes = sorted(names)
            await connection.execute(
                "INSERT INTO audience_items (code, name) SELECT * FROM unnest(%s::bigint[], %s::text[])"
                " ON CONFLICT DO NOTHING",
                [[code if code < _SIGN // 2 else code - _SIGN for code in codes], [names[code] for code in codes]],
            )
            await connection.execute(
                "INSERT INTO audience_reading (read_ms) VALUES (%s)"
                " ON CONFLICT (one) DO UPDATE SET read_ms = EXCLUDED.read_ms",
                [read_ms],
            )

    async def forget(self, visitor: UUID) -> None:
        """Remove a visitor's state."""
        async with self._database.connection() as connection:
            await connection.execute("DELETE FROM visitor_states WHERE visitor_id = %s", [visitor])

    async def withdrawn(self, since_ms: int) -> dict[UUID, int]:
        """Who took their consent back from then on, and when."""
        rows = await self._database.fetch(
            "SELECT visitor_id, at_ms FROM consents WHERE state = 'denied' AND at_ms >= %s", [since_ms]
        )
        return {row["visitor_id"]: row["at_ms"] for row in rows}

    async def tomb(self, erasure: int) -> str | None:
        """The tomb of an erasure, by its number."""
        row = await self._database.fetch_one("SELECT tomb FROM erasures WHERE id = %s", [erasure])
        return row["tomb"] if row else None
