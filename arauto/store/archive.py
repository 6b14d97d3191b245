"""Old months of raw events leave the database: first as files, then, when the files are safe, as rows.

An event leaves with its decision's month: one that came later than its month's end stays until the next month goes. The
counters stay, and so do exposures, which hold what each decision came to; with the sums kept here, a recount is whole.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from importlib import resources
from typing import Any, LiteralString

import msgspec
from psycopg import sql
from psycopg.rows import DictRow

from arauto.core.clock import Clock
from arauto.core.events import MARKS
from arauto.store.database import Connection, Database
from arauto.store.partitions import bound, next_month
from arauto.store.vitals import bucket_of

_LEAVE = resources.files("arauto.store").joinpath("sql", "leave.sql").read_bytes()
_LEAVING = "events.event_id < %(until)s AND (events.decision_id IS NULL OR events.decision_id < %(until)s)"
"""As in leave.sql. Rows of earlier months are what those left behind."""
_COUNT = f"SELECT count(*) AS n FROM events WHERE {_LEAVING}".encode()  # noqa: S608
_DELETE = f"DELETE FROM events WHERE {_LEAVING}".encode()  # noqa: S608
_AT_ONCE = 20_000
_LOCK_S = 2
"""How long appends may be held up by a month that leaves; then it leaves another time."""


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """A month of the log (``2026_11``) that is in ``files``. ``dropped_ms`` None: its rows are here as well."""

    month: str
    from_ms: int
    until_ms: int
    rows: int
    files: tuple[str, ...]
    sha256: str
    exported_ms: int
    dropped_ms: int | None


class Archive:
    """Months of the log, and their way out. Every step may be cut short, and is then done again."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def due(self, keep_ms: int) -> list[datetime]:
        """The first instants of the months whose rows are here and that ended ``keep_ms`` ago or more, oldest first."""
        rows = await self._database.fetch(
            "SELECT right(c.relname, 7) AS month FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
            " WHERE inhparent = 'events'::regclass AND c.relname ~ '^events_[0-9]{4}_[0-9]{2}$' ORDER BY 1"
        )
        limit = self._clock.now_ms() - keep_ms
        months = [datetime.strptime(f"{row['month']}+00:00", "%Y_%m%z") for row in rows]
        return [month for month in months if _ms(next_month(month)) <= limit]

    async def all(self) -> list[Archived]:
        """Every month that was written to files, oldest first."""
        rows = await self._database.fetch("SELECT * FROM archives ORDER BY month")
        return msgspec.convert(rows, list[Archived])

    async def rows(self, month: datetime) -> AsyncIterator[list[DictRow]]:
        """The events of a month as they may leave, in the order of a number that hides their decisions."""
        asked = {"salt": secrets.token_hex(16), "until": bound(next_month(month))}
        async with self._database.transaction() as connection, connection.cursor(name="leave") as cursor:
            await cursor.execute(_LEAVE, asked)
            while rows := await cursor.fetchmany(_AT_ONCE):
                yield rows

    async def note(self, month: datetime, rows: int, files: Sequence[str], sha256: str) -> None:
        """Write down that a month is in files; they must be on the disk by now."""
        async with self._database.connection() as connection:
            await connection.execute(
                "INSERT INTO archives (month, from_ms, until_ms, rows, files, sha256, exported_ms)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (month) DO UPDATE SET rows = EXCLUDED.rows,"
                " files = EXCLUDED.files, sha256 = EXCLUDED.sha256, exported_ms = EXCLUDED.exported_ms"
                " WHERE archives.dropped_ms IS NULL",
                [_name(month), _ms(month), _ms(next_month(month)), rows, list(files), sha256, self._clock.now_ms()],
            )

    async def drop(self, month: datetime) -> bool:
        """Drop the rows of a month that is in files, in one transaction. False, and nothing is done, when the rows are
        no longer those that were written (a visitor was erased meanwhile): write it again.

        Raises:
            StoreError: others used the log for too long; try again.
        """
        asked = {"until": bound(next_month(month)), "month": _name(month), "now": self._clock.now_ms()}
        async with self._database.transaction() as connection:
            # One look at everything: whoever erases a visitor meanwhile makes this fail, and come again.
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_S}s'".encode())
            await _run(connection, "LOCK TABLE {month} IN SHARE MODE", month)
            counted = await connection.execute(_COUNT, asked)
            noted = await connection.execute(
                "SELECT rows AS n FROM archives WHERE month = %(month)s AND dropped_ms IS NULL", asked
            )
            if await counted.fetchall() != await noted.fetchall():
                return False
            await self._keep_sums(connection, asked)
            await _run(
                connection,
                "CREATE TEMP TABLE staying ON COMMIT DROP AS SELECT * FROM {month} WHERE decision_id >= %(until)s",
                month,
                asked,
            )
            # From here on appends wait, for the time of some small statements.
            await _run(connection, "ALTER TABLE events DETACH PARTITION {month}", month)
            await _run(connection, "DROP TABLE {month}", month)
            await connection.execute(_DELETE, asked)
            await connection.execute("INSERT INTO events SELECT * FROM staying")
            await connection.execute("UPDATE archives SET dropped_ms = %(now)s WHERE month = %(month)s", asked)
            await connection.execute(
                "INSERT INTO audit_log (at_ms, actor, action, target, detail) SELECT %(now)s, 'arauto',"
                " 'events.archive', 'month:' || month, jsonb_build_object('rows', rows, 'sha256', sha256)"
                " FROM archives WHERE month = %(month)s",
                asked,
            )
        return True

    async def _keep_sums(self, connection: Connection, asked: Mapping[str, Any]) -> None:
        """What exposures do not hold: readings of page loads, and what a release was told of."""
        readings = await connection.execute(
            "SELECT x.campaign_id, x.variant_id, events.metric::text, events.reading, x.stage, count(*) AS n"  # noqa: S608
            " FROM events JOIN exposures AS x USING (decision_id)"
            f" WHERE events.type = 'web_vital' AND {_LEAVING} GROUP BY 1, 2, 3, 4, 5".encode(),
            asked,
        )
        sums: Counter[tuple[Any, ...]] = Counter()
        async for row in readings:
            key = row["campaign_id"], row["variant_id"], row["metric"], bucket_of(row["reading"]), row["stage"]
            sums[key] += row["n"]
        for cell, count in sorted(sums.items()):
            await connection.execute(
                "INSERT INTO archived_vitals AS kept VALUES (%s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (campaign_id, variant_id, metric, bucket, stage)"
                " DO UPDATE SET readings = kept.readings + EXCLUDED.readings",
                [*cell, count],
            )
        await connection.execute(
            "INSERT INTO archived_marks AS kept SELECT x.campaign_id, events.name, x.stage, count(*)"  # noqa: S608
            " FROM events JOIN exposures AS x USING (decision_id) WHERE events.type = 'custom'"
            f" AND x.stage > 0 AND events.name = ANY (%(marks)s) AND {_LEAVING} GROUP BY 1, 2, 3"
            " ON CONFLICT (campaign_id, name, stage) DO UPDATE SET marks = kept.marks + EXCLUDED.marks".encode(),
            {**asked, "marks": list(MARKS)},
        )


async def _run(
    connection: Connection, query: LiteralString, month: datetime, asked: Mapping[str, Any] | None = None
) -> None:
    await connection.execute(sql.SQL(query).format(month=sql.Identifier(f"events_{month:%Y_%m}")), asked)


def _name(month: datetime) -> str:
    return f"{month:%Y_%m}"


def _ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)
