"""What dashboards and posteriors read: counters kept by the append itself, never a scan of the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import msgspec
from psycopg.rows import DictRow

from arauto.core.events import VitalName
from arauto.store.database import Database
from arauto.store.records import COUNTERS, ArmTotals, Recount, SeriesPoint, Step, VitalHistogram, Weights
from arauto.store.vitals import bucket_of

STEPS: dict[Step, int] = {"minute": 60_000, "hour": 3_600_000}
"""The widths of a series' buckets in milliseconds; width 0 is the whole campaign."""
KEEP_WEIGHTS_MS = 7 * 86_400_000

# Sums of squares may pass 64 bits, and come as text.
_SUMS = ", ".join(f"sum({name})::{'text' if name == 'value_sq' else 'bigint'} AS {name}" for name in COUNTERS)
_TOTALS = (
    f"SELECT variant_id, segment, {_SUMS} FROM rollups WHERE campaign_id = %s AND step = 0"  # noqa: S608
    " GROUP BY 1, 2 HAVING sum(impressions) <> 0 ORDER BY 1, 2"
).encode()
# As one JSON text, which is read ten times faster than thousands of rows.
_BARE_SUMS = ", ".join(f"sum({name}) AS {name}" for name in COUNTERS)
_SERIES = (
    "SELECT coalesce(json_agg(point), '[]')::text AS points FROM ("  # noqa: S608
    f"SELECT bucket AS at_ms, variant_id, {_BARE_SUMS} FROM rollups"
    " WHERE campaign_id = %(id)s AND step = %(step)s AND bucket > %(since)s"
    " GROUP BY 1, 2 HAVING sum(impressions) <> 0 ORDER BY 1, 2) AS point"
).encode()
_SQL = resources.files("arauto.store").joinpath("sql")
_RECOUNT = _SQL.joinpath("recount.sql").read_bytes()
_WEIGHTS = _SQL.joinpath("weights.sql").read_bytes()


class Rollups:
    """Counters by variant, segment and time of the decision, and histograms of web vitals."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def totals(self, campaign_id: int) -> list[ArmTotals]:
        """The whole campaign, by variant and segment, in that order. Arms that were never seen are not listed."""
        rows = await self._database.fetch(_TOTALS, [campaign_id])
        return [ArmTotals(**_exact(row)) for row in rows]

    async def series(self, campaign_id: int, *, step: Step, since_ms: int | None = None) -> list[SeriesPoint]:
        """By minute or hour of the decision, and variant, in that order. ``since_ms`` leaves out what ended before."""
        width = STEPS[step]
        asked = {"id": campaign_id, "step": width, "since": (since_ms or 0) - width}
        (row,) = await self._database.fetch(_SERIES, asked)
        return msgspec.json.decode(row["points"], type=list[SeriesPoint])

    async def vitals(self, campaign_id: int) -> list[VitalHistogram]:
        """Readings by variant and metric, in that order."""
        rows = await self._database.fetch(
            "SELECT variant_id, metric::text, bucket, sum(readings)::bigint AS readings FROM rollup_vitals"
            " WHERE campaign_id = %s GROUP BY 1, 2, 3",
            [campaign_id],
        )
        return _histograms((row["variant_id"], row["metric"], row["bucket"], row["readings"]) for row in rows)

    async def recount(self, campaign_id: int) -> Recount:
        """The same from the raw events, slowly: for tests and the doctor. Differs from the rollups never."""
        rows = await self._database.fetch(_RECOUNT, [campaign_id])
        arms: dict[tuple[int, str], Counter[str]] = {}
        minutes: dict[tuple[int, int], Counter[str]] = {}
        hours: dict[tuple[int, int], Counter[str]] = {}
        for row in rows:
            counts = {name: int(row[name]) for name in COUNTERS}
            variant, minute = row["variant_id"], row["minute"]
            for book, key in (
                (arms, (variant, row["segment"])),
                (minutes, (minute, variant)),
                (hours, (minute - minute % STEPS["hour"], variant)),
            ):
                book.setdefault(key, Counter()).update(counts)
        readings = await self._database.fetch(
            "SELECT x.variant_id, e.metric::text, e.reading, count(*) AS n FROM events e"
            " JOIN exposures x USING (decision_id) WHERE x.campaign_id = %s AND e.type = 'web_vital' GROUP BY 1, 2, 3",
            [campaign_id],
        )
        return Recount(
            totals=[ArmTotals(variant_id=arm, segment=segment, **arms[arm, segment]) for arm, segment in sorted(arms)],
            minutes=[SeriesPoint(at_ms=at, variant_id=arm, **minutes[at, arm]) for at, arm in sorted(minutes)],
            hours=[SeriesPoint(at_ms=at, variant_id=arm, **hours[at, arm]) for at, arm in sorted(hours)],
            vitals=_histograms(
                (row["variant_id"], row["metric"], bucket_of(row["reading"]), row["n"]) for row in readings
            ),
        )

    async def weights(self, campaign_id: int, *, since_ms: int | None = None, points: int = 500) -> list[Weights]:
        """How the arms were weighted over time, oldest first: at most some ``points``, evenly spread, with the last."""
        rows = await self._database.fetch(
            _WEIGHTS,
            {"id": campaign_id, "since": since_ms or 0, "points": points},
        )
        return [
            Weights(
                version=row["version"],
                at_ms=row["at_ms"],
                propensities=msgspec.json.decode(row["propensities"], type=dict[int, float]),
            )
            for row in rows
        ]

    async def record_weights(
        self, campaign_id: int, version: int, at_ms: int, propensities: Mapping[int, float]
    ) -> None:
        """Keep the propensities of a policy version; the first word on a version stands."""
        async with self._database.connection() as connection:
            await connection.execute(
                "INSERT INTO weights (campaign_id, version, at_ms, propensities) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                [campaign_id, version, at_ms, msgspec.json.encode(propensities).decode()],
            )

    async def thin_weights(self, now_ms: int) -> None:
        """Of weights older than a week, keep the first of each minute. (Each exposure has its own propensity.)"""
        async with self._database.connection() as connection:
            await connection.execute(
                "DELETE FROM weights AS old WHERE at_ms < %(limit)s AND EXISTS ("
                " SELECT FROM weights AS first WHERE first.campaign_id = old.campaign_id"
                " AND first.at_ms / 60000 = old.at_ms / 60000 AND first.version < old.version)",
                {"limit": now_ms - KEEP_WEIGHTS_MS},
            )


def _exact(row: DictRow) -> dict[str, Any]:
    """Sums of squares come as text, for they may pass 64 bits."""
    return {**row, "value_sq": int(row["value_sq"])}


def _histograms(cells: Iterable[tuple[int, VitalName, int, int]]) -> list[VitalHistogram]:
    books: dict[tuple[int, VitalName], Counter[int]] = {}
    for variant, metric, bucket, readings in cells:
        if readings:
            books.setdefault((variant, metric), Counter())[bucket] += readings
    return [
        VitalHistogram(variant_id=variant, metric=metric, buckets=dict(sorted(book.items())))
        for (variant, metric), book in sorted(books.items())
    ]
