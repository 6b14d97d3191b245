"""The writer's own connection, and the number that keeps its rollup rows apart from every other process's."""

from __future__ import annotations

import random

from arauto.store.database import Connection, Database

ERASER = 0
"""The shard of erasures, which take their turn."""
SHARDS = 64
_LOCKS = 0x4172  # first half of the advisory locks' keys


class Shard:
    """A connection that holds a shard's number as a session lock, so the number is free again when its holder dies.

    When all are taken, one is shared: its rows are then waited for, and counts stay exact.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None
        self.number = -1

    async def connection(self) -> Connection:
        """The connection, made anew if it was lost; :attr:`number` is then another."""
        if self._connection is not None and not self._connection.closed:
            return self._connection
        connection = await self._database.connect()
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        found = await connection.execute(
            "SELECT number FROM generate_series(1, %s) AS number WHERE pg_try_advisory_lock(%s, number) LIMIT 1",
            [SHARDS - 1, _LOCKS],
        )
        row = await found.fetchone()
        self.number = row["number"] if row is not None else random.randrange(1, SHARDS)  # noqa: S311
        self._connection = connection
        return connection

    async def close(self) -> None:
        """Give the number back."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()
