"""What experiments were last judged by: kept, so that a screen need not wait until every exposure is read again."""

from __future__ import annotations

import msgspec

from arauto.store.database import Database
from arauto.store.records import Tally


class Tallies:
    """One tally a campaign: the latest."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, campaign_id: int) -> Tally | None:
        """The campaign's latest tally; None where none was kept, or by a version that told it otherwise."""
        row = await self._database.fetch_one("SELECT told::text FROM tallies WHERE campaign_id = %s", [campaign_id])
        try:
            return msgspec.json.decode(row["told"], type=Tally) if row else None
        except msgspec.ValidationError:
            return None

    async def keep(self, campaign_id: int, tally: Tally) -> None:
        """Keep a tally, unless there is a later one."""
        async with self._database.connection() as connection:
            await connection.execute(
                "INSERT INTO tallies AS kept (campaign_id, at_ms, took_ms, told) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (campaign_id) DO UPDATE"
                " SET at_ms = EXCLUDED.at_ms, took_ms = EXCLUDED.took_ms, told = EXCLUDED.told"
                " WHERE kept.at_ms < EXCLUDED.at_ms",
                [campaign_id, tally.at_ms, tally.took_ms, msgspec.json.encode(tally).decode()],
            )
