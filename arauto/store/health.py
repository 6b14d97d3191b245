"""How the database is: what a doctor asks of it."""

from __future__ import annotations

import msgspec

from arauto.store.database import Database

_ASK = """
SELECT
    current_setting('server_version') AS server_version,
    (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS vector_version,
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
    current_setting('max_connections')::integer AS max_connections,
    current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on' AS durable,
    pg_database_size(current_database()) AS size_bytes,
    (SELECT count(*) FROM (SELECT FROM events_default LIMIT 10000) AS first_ones) AS odd_events
"""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What a database says of itself.

    ``now_ms`` is its clock. ``durable``: whether what was committed outlives the
    machine's power. ``odd_events`` counts events outside the
    months made for them, up to 10,000: their clients' clocks are wrong.
    """

    server_version: str
    vector_version: str
    now_ms: int
    connections: int
    max_connections: int
    durable: bool
    size_bytes: int
    odd_events: int


async def health(database: Database) -> Health:
    """Raises :class:`StoreError` when it cannot be asked."""
    row = await database.fetch_one(_ASK.encode())
    return Health(**(row or {}))
