"""A visitor's rights over the store: consent, export, erasure (LGPD art. 18, GDPR art. 15 and 17)."""

from __future__ import annotations

from collections import Counter
from importlib import resources
from typing import Any, Literal
from uuid import UUID

import msgspec
from psycopg.rows import DictRow

from arauto.core.clock import Clock
from arauto.core.errors import NotFoundError
from arauto.core.events import MARKS
from arauto.store.database import Connection, Database
from arauto.store.notices import send
from arauto.store.records import Consent
from arauto.store.shards import ERASER
from arauto.store.vitals import bucket_of

_ERASE = resources.files("arauto.store").joinpath("sql", "erase.sql").read_bytes()


class Privacy:
    """Everything kept of a visitor, and its end. A visitor is a random id; nobody else is known by it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def record_consent(self, visitor: UUID, tomb: str, site_id: int, state: Literal["granted", "denied"]) -> None:
        """Write down what a visitor agreed to on a site. Nothing is kept of an erased one."""
        async with self._database.transaction() as connection:
            # The lock that every append takes: an erasure waits for it, or this waits for the erasure.
            await connection.execute("LOCK TABLE exposures IN ROW EXCLUSIVE MODE")
            await connection.execute(
                "INSERT INTO consents (visitor_id, site_id, state, at_ms) SELECT %s, %s, %s, %s"
                " WHERE NOT EXISTS (SELECT FROM erasures WHERE tomb = %s)"
                " ON CONFLICT (visitor_id, site_id) DO UPDATE SET state = EXCLUDED.state, at_ms = EXCLUDED.at_ms",
                [visitor, site_id, state, self._clock.now_ms(), tomb],
            )

    async def consents(self, visitor: UUID) -> list[Consent]:
        rows = await self._database.fetch("SELECT * FROM consents WHERE visitor_id = %s ORDER BY site_id", [visitor])
        return msgspec.convert(rows, list[Consent])

    async def export(self, visitor: UUID) -> dict[str, Any]:
        """Everything kept of a visitor, ready for JSON: ``visitor``, ``consent``, ``exposures``, ``events``.

        Raises:
            NotFoundError: nothing is kept.
        """
        consents = await self._database.fetch(
            "SELECT site_id, state, at_ms FROM consents WHERE visitor_id = %s ORDER BY site_id", [visitor]
        )
        exposures = await self._database.fetch(
            "SELECT * FROM exposures WHERE visitor_id = %s ORDER BY decision_id", [visitor]
        )
        events = await self._database.fetch(
            "SELECT * FROM events WHERE visitor_id = %s OR decision_id = ANY(%s) ORDER BY occurred_ms, event_id",
            [visitor, [row["decision_id"] for row in exposures]],
        )
        if not (consents or exposures or events):
            raise NotFoundError("nothing is kept of that visitor", field="visitor", mend="check the id")
        return {
            "visitor": str(visitor),
            "consent": [_told(row) for row in consents],
            "exposures": [_told(row) for row in exposures],
            "events": [_told(row) for row in events],
        }

    async def is_erased(self, tomb: str) -> bool:
        return await self._database.fetch_one("SELECT FROM erasures WHERE tomb = %s", [tomb]) is not None

    async def erase(self, visitor: UUID, tomb: str, actor: str) -> dict[str, int]:
        """Remove every row of a visitor, and what they added to the rollups; refuse their events from now on.

        The audit log keeps that it was done, under the keyed hash. Returns how many rows went, by kind.
        """
        # First the tombstone, for every append that starts from here on; then the lock, for those on their way.
        async with self._database.connection() as connection:
            await connection.execute(
                "INSERT INTO erasures (tomb, at_ms) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [tomb, self._clock.now_ms()],
            )
        async with self._database.transaction() as connection:
            await connection.execute("LOCK TABLE exposures IN SHARE ROW EXCLUSIVE MODE")
            counts = await self._remove(connection, visitor)
            await connection.execute("DELETE FROM entrants WHERE tomb = %s", [tomb])
            await connection.execute(
                "INSERT INTO audit_log (at_ms, actor, action, target, detail) VALUES"
                " (%s, %s, 'visitor.erase', %s, jsonb_build_object('exposures', %s::bigint, 'events', %s::bigint))",
                [self._clock.now_ms(), actor, f"tomb:{tomb}", counts["exposures"], counts["events"]],
            )
            found = await connection.execute("SELECT id FROM erasures WHERE tomb = %s", [tomb])
            for row in await found.fetchall():
                await send(connection, "erasure", row["id"])
        return counts

    async def _remove(self, connection: Connection, visitor: UUID) -> dict[str, int]:
        cursor = await connection.execute(_ERASE, {"visitor": visitor, "shard": ERASER})
        arms = {
            row["decision_id"]: (row["campaign_id"], row["variant_id"], row["stage"]) for row in await cursor.fetchall()
        }
        cursor = await connection.execute(
            "DELETE FROM events WHERE visitor_id = %s OR decision_id = ANY(%s)"
            " RETURNING decision_id, metric::text, reading, type::text, name",
            [visitor, list(arms)],
        )
        events = await cursor.fetchall()
        readings = Counter(
            (*arms[row["decision_id"]], row["metric"], bucket_of(row["reading"]))
            for row in events
            if row["decision_id"] in arms and row["metric"] is not None
        )
        for (campaign, variant, stage, metric, bucket), count in sorted(readings.items()):
            await connection.execute(
                "INSERT INTO rollup_vitals AS kept (campaign_id, variant_id, metric, bucket, stage, shard, readings)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (campaign_id, variant_id, metric, bucket, stage, shard)"
                " DO UPDATE SET readings = kept.readings + EXCLUDED.readings",
                [campaign, variant, metric, bucket, stage, ERASER, -count],
            )
        marks = Counter(
            (*arms[row["decision_id"]], row["name"])
            for row in events
            if row["decision_id"] in arms and row["type"] == "custom" and row["name"] in MARKS
        )
        for (campaign, variant, stage, name), count in sorted(marks.items()):
            await connection.execute(
                "INSERT INTO rollup_marks AS kept (campaign_id, variant_id, name, stage, shard, marks)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (campaign_id, variant_id, name, stage, shard)"
                " DO UPDATE SET marks = kept.marks + EXCLUDED.marks",
                [campaign, variant, name, stage, ERASER, -count],
            )
        await connection.execute("DELETE FROM visitor_states WHERE visitor_id = %s", [visitor])
        cursor = await connection.execute("DELETE FROM consents WHERE visitor_id = %s", [visitor])
        touched = sorted({campaign for campaign, _, _ in arms.values()})
        await connection.execute("DELETE FROM tallies WHERE campaign_id = ANY(%s)", [touched])
        for campaign in touched:
            await send(connection, "totals", campaign)
        return {"exposures": len(arms), "events": len(events), "consents": cursor.rowcount}


def _told(row: DictRow) -> dict[str, Any]:
    """A row without its empty fields, its UUIDs as text."""
    return {name: str(value) if isinstance(value, UUID) else value for name, value in row.items() if value is not None}
