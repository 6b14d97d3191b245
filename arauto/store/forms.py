"""Half-filled forms: what was typed into a step of a campaign's making, until it is put to use."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from arauto.core.clock import Clock
from arauto.core.errors import NotFoundError
from arauto.store.database import Database


class Forms:
    """One form for each campaign and step: whoever works on it next goes on there."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get(self, campaign_id: int) -> dict[str, dict[str, str]]:
        """The open forms of a campaign, by step."""
        rows = await self._database.fetch(
            "SELECT step, fields::text FROM campaign_forms WHERE campaign_id = %s", [campaign_id]
        )
        return {row["step"]: msgspec.json.decode(row["fields"], type=dict[str, str]) for row in rows}

    async def keep(self, campaign_id: int, step: str, fields: Mapping[str, str]) -> None:
        """Keep what a step's form holds now. Raises :class:`NotFoundError` when there is no such campaign."""
        # A database takes no NUL into its texts, and no page shows one.
        text = msgspec.json.encode({name: value.replace("\0", "") for name, value in fields.items()}).decode()
        row = await self._database.fetch_one(
            "INSERT INTO campaign_forms (campaign_id, step, fields, updated_ms)"
            " SELECT id, %s, %s, %s FROM campaigns WHERE id = %s"
            " ON CONFLICT (campaign_id, step) DO UPDATE"
            " SET fields = EXCLUDED.fields, updated_ms = EXCLUDED.updated_ms RETURNING step",
            [step, text, self._clock.now_ms(), campaign_id if 0 < campaign_id < 2**31 else 0],
        )
        if row is None:
            raise NotFoundError(f"there is no campaign {campaign_id}", field="campaign_id", mend="list the campaigns")

    async def drop(self, campaign_id: int, step: str) -> None:
        """Forget a form: it was put to use."""
        async with self._database.connection() as connection:
            await connection.execute(
                "DELETE FROM campaign_forms WHERE campaign_id = %s AND step = %s", [campaign_id, step]
            )
