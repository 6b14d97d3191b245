"""What dashboards and posteriors read: counters kept by the append itself, never a scan of the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any, LiteralString
from uuid import UUID

import msgspec
from psycopg.rows import DictRow

from arauto.core.campaign import DAY_MS, Goal
from arauto.core.events import CHOSEN, MARKS, PART_MS, VitalName
from arauto.store.database import Database
from arauto.store.records import (
    COUNTERS,
    ArmOutcomes,
    ArmTotals,
    GroupOutcomes,
    PartTotals,
    Recount,
    SeriesPoint,
    Staged,
    StageMark,
    StageTotals,
    StageVital,
    Step,
    VitalHistogram,
    Weights,
)
from arauto.store.vitals import bucket_of

STEPS: dict[Step, int] = {"minute": 60_000, "hour": 3_600_000}
"""The widths of a series' buckets in milliseconds; width 0 is the whole campaign."""
KEEP_WEIGHTS_MS = 7 * 86_400_000

# Sums of squares may pass 64 bits, and come as text.
_SUMS = ", ".join(f"sum({name})::{'text' if name == 'value_sq' else 'bigint'} AS {name}" for name in COUNTERS)
_TOTALS = (
    f"SELECT variant_id, segment, {_SUMS} FROM rollups WHERE campaign_id = %s AND step = 0 AND stage >= %s"  # noqa: S608
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
_STAGES = (
    f"SELECT stage, segment, {_SUMS} FROM rollups WHERE campaign_id = %s AND step = 0"  # noqa: S608
    " AND bucket = 0 AND stage >= %s GROUP BY 1, 2 HAVING sum(impressions) <> 0 ORDER BY 1, 2"
).encode()
_PARTS = (
    f"SELECT variant_id, segment, (bucket %% %s / %s)::integer AS part, {_SUMS} FROM rollups"  # noqa: S608
    " WHERE campaign_id = %s AND step = %s AND stage > -2 GROUP BY 1, 2, 3 HAVING sum(impressions) <> 0"
    " ORDER BY 1, 2, 3"
).encode()
_EVERY: LiteralString = "(SELECT * FROM exposures WHERE campaign_id = %(id)s AND shown_ms IS NOT NULL) AS every"
# A decision of stage -1 was a repeat, or of a visitor who withdrew consent (docs/decisions/0014).
_FIRST: LiteralString = (
    "(SELECT DISTINCT ON (coalesce(visitor_id, decision_id)) * FROM exposures WHERE campaign_id = %(id)s"
    " AND shown_ms IS NOT NULL AND stage >= 0 ORDER BY coalesce(visitor_id, decision_id), decision_id) AS first"
)
_OUTCOMES: Mapping[Goal, LiteralString] = {
    "click": "(clicked_ms IS NOT NULL)::int",
    "purchase": "(orders > 0)::int",
    "rating": "score",
}
_SQL = resources.files("arauto.store").joinpath("sql")
_RECOUNT = _SQL.joinpath("recount.sql").read_bytes()
_WEIGHTS = _SQL.joinpath("weights.sql").read_bytes()


class Rollups:
    """Counters by variant, segment and time of the decision, and histograms of web vitals."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def totals(self, campaign_id: int, *, fair: bool = False) -> list[ArmTotals]:
        """The whole campaign, by variant and segment, in that order. Arms that were never seen are not listed.

        ``fair`` leaves out what a device chose by its own lights (:data:`~arauto.core.events.CHOSEN`): what is learned
        from and tested is drawn by the propensities alone.
        """
        rows = await self._database.fetch(_TOTALS, [campaign_id, CHOSEN + fair])
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

    async def staged(self, campaign_id: int, since: int = 1) -> Staged:
        """What was counted in the stages from ``since`` on."""
        totals = await self._database.fetch(_STAGES, [campaign_id, since])
        vitals = await self._database.fetch(
            "SELECT stage, metric::text, bucket, sum(readings)::bigint AS readings FROM rollup_vitals"
            " WHERE campaign_id = %s AND stage >= %s GROUP BY 1, 2, 3",
            [campaign_id, since],
        )
        marks = await self._database.fetch(
            "SELECT stage, name, sum(marks)::bigint AS marks FROM rollup_marks"
            " WHERE campaign_id = %s AND stage >= %s GROUP BY 1, 2 HAVING sum(marks) <> 0 ORDER BY 1, 2",
            [campaign_id, since],
        )
        return Staged(
            totals=[StageTotals(**_exact(row)) for row in totals],
            vitals=_stage_vitals((row["stage"], row["metric"], row["bucket"], row["readings"]) for row in vitals),
            marks=[StageMark(**row) for row in marks],
        )

    async def marks(self, campaign_id: int, name: str) -> dict[int, int]:
        """How many decisions of each variant told of ``name`` (:data:`~arauto.core.events.MARKS`)."""
        rows = await self._database.fetch(
            "SELECT variant_id, sum(marks)::bigint AS marks FROM rollup_marks"
            " WHERE campaign_id = %s AND name = %s GROUP BY 1 HAVING sum(marks) <> 0",
            [campaign_id, name],
        )
        return {row["variant_id"]: row["marks"] for row in rows}

    async def parts(self, campaign_id: int) -> list[PartTotals]:
        """The whole campaign (what devices chose left out), by variant, segment and part of the day, in that order."""
        rows = await self._database.fetch(_PARTS, [DAY_MS, PART_MS, campaign_id, STEPS["hour"]])
        return [PartTotals(**_exact(row)) for row in rows]

    async def outcomes(self, campaign_id: int, goal: Goal, *, by_visitor: bool = False) -> list[ArmOutcomes]:
        """Each variant's outcomes beside their propensities. Reads every exposure of the campaign: for a test's
        verdict, not for a screen that renews itself.

        ``by_visitor`` takes the first decision of each visitor only (and each anonymous one); the holdout is left out,
        and so is what devices chose.
        """
        x = _OUTCOMES[goal]
        source = _FIRST if by_visitor else _EVERY
        rows = await self._fetch_on_one_core(
            "WITH seen AS (SELECT variant_id, decided_ms, propensity AS p, "  # noqa: S608
            + x
            + " AS x FROM "
            + source
            + " WHERE stage NOT IN (-2, 1) AND propensity > 0 AND "
            + x
            + " IS NOT NULL),"
            " span AS (SELECT (min(decided_ms) + max(decided_ms)) / 2 AS middle FROM seen)"
            " SELECT variant_id, decided_ms > middle AS late, count(*) AS n, sum(x)::float8 AS total,"
            " sum(x * x)::float8 AS squares, sum(x / p) AS weighted, sum(x / p * x / p) AS weighted_sq,"
            " min(p) AS least, max(p) AS most FROM seen CROSS JOIN span GROUP BY 1, 2 ORDER BY 1, 2",
            {"id": campaign_id},
        )
        return [ArmOutcomes(**row) for row in rows]

    async def held_out(self, campaign_id: int, goal: Goal) -> list[GroupOutcomes]:
        """The first decisions of visitors with consent, in the holdout and not, in that order of ``held``."""
        x = _OUTCOMES[goal]
        rows = await self._fetch_on_one_core(
            "SELECT stage = 1 AS held, count(*) AS n, sum(x)::float8 AS total, sum(x * x)::float8 AS squares"  # noqa: S608
            " FROM (SELECT stage, " + x + " AS x FROM " + _FIRST + " WHERE visitor_id IS NOT NULL) AS seen"
            " WHERE x IS NOT NULL GROUP BY 1 ORDER BY 1",
            {"id": campaign_id},
        )
        return [GroupOutcomes(**row) for row in rows]

    async def busyness(self, campaign_id: int, since_ms: int = 0) -> dict[int, int]:
        """How many visitors (with consent) had so many decisions in a day, of those made from ``since_ms`` on."""
        rows = await self._fetch_on_one_core(
            "SELECT decisions, count(*) AS visitors FROM (SELECT count(*) AS decisions FROM exposures"
            " WHERE campaign_id = %s AND visitor_id IS NOT NULL AND decision_id >= %s"
            " GROUP BY visitor_id, decided_ms / %s) AS days GROUP BY 1 ORDER BY 1",
            [campaign_id, UUID(int=since_ms << 80), DAY_MS],
        )
        return {row["decisions"]: row["visitors"] for row in rows}

    async def _fetch_on_one_core(
        self, query: LiteralString, params: Sequence[Any] | Mapping[str, Any]
    ) -> list[DictRow]:
        """Long readings leave the other cores to decisions and events."""
        async with self._database.transaction() as connection:
            await connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
            await connection.execute("SET LOCAL work_mem = '64MB'")
            return await (await connection.execute(query, params)).fetchall()

    async def last_decided(self, campaign_id: int) -> int:
        """The minute of the last decision that was seen; 0: none was."""
        row = await self._database.fetch_one(
            "SELECT coalesce(max(bucket), 0) AS at FROM rollups WHERE campaign_id = %s AND step = 60000", [campaign_id]
        )
        return int(row["at"]) if row else 0

    async def recount(self, campaign_id: int) -> Recount:
        """The same from the raw events, slowly: for tests and the doctor. Differs from the rollups never.

        Of months whose events have left the database (:mod:`arauto.store.archive`) it is told by what was kept of them.
        """
        left = await self._database.fetch_one(
            "SELECT coalesce(max(until_ms), 0) AS raw FROM archives WHERE dropped_ms IS NOT NULL"
        )
        raw = UUID(int=(left["raw"] if left else 0) << 80)
        rows = await self._database.fetch(_RECOUNT, {"id": campaign_id, "raw": raw})
        arms: dict[tuple[int, str], Counter[str]] = {}
        stages: dict[tuple[int, str], Counter[str]] = {}
        minutes: dict[tuple[int, int], Counter[str]] = {}
        hours: dict[tuple[int, int], Counter[str]] = {}
        for row in rows:
            counts = {name: int(row[name]) for name in COUNTERS}
            variant, minute = row["variant_id"], row["minute"]
            for book, key in (
                (arms, (variant, row["segment"])),
                (minutes, (minute, variant)),
                (hours, (minute - minute % STEPS["hour"], variant)),
                (stages, (row["stage"], row["segment"])),
            ):
                book.setdefault(key, Counter()).update(counts)
        readings = await self._database.fetch(
            "SELECT x.variant_id, x.stage, e.metric::text, e.reading, count(*) AS n FROM events e"
            " JOIN exposures x USING (decision_id) WHERE x.campaign_id = %s AND e.type = 'web_vital'"
            " GROUP BY 1, 2, 3, 4",
            [campaign_id],
        )
        cells = [
            (row["variant_id"], row["stage"], row["metric"], bucket_of(row["reading"]), row["n"]) for row in readings
        ]
        archived = await self._database.fetch(
            "SELECT variant_id, stage, metric::text, bucket, readings FROM archived_vitals WHERE campaign_id = %s",
            [campaign_id],
        )
        cells += [(row["variant_id"], row["stage"], row["metric"], row["bucket"], row["readings"]) for row in archived]
        marks = await self._database.fetch(
            "SELECT stage, name, sum(marks)::bigint AS marks FROM ("
            "SELECT x.stage, e.name, 1 AS marks FROM events e JOIN exposures x USING (decision_id)"
            " WHERE x.campaign_id = %(id)s AND e.type = 'custom' AND e.name = ANY (%(marks)s) AND x.stage > 0"
            " UNION ALL SELECT stage, name, marks FROM archived_marks WHERE campaign_id = %(id)s"
            ") AS told GROUP BY 1, 2 ORDER BY 1, 2",
            {"id": campaign_id, "marks": list(MARKS)},
        )
        return Recount(
            totals=[ArmTotals(variant_id=arm, segment=segment, **arms[arm, segment]) for arm, segment in sorted(arms)],
            minutes=[SeriesPoint(at_ms=at, variant_id=arm, **minutes[at, arm]) for at, arm in sorted(minutes)],
            hours=[SeriesPoint(at_ms=at, variant_id=arm, **hours[at, arm]) for at, arm in sorted(hours)],
            vitals=_histograms((variant, metric, bucket, n) for variant, _, metric, bucket, n in cells),
            staged=Staged(
                totals=[
                    StageTotals(stage=stage, segment=segment, **stages[stage, segment])
                    for stage, segment in sorted(stages)
                    if stage > 0
                ],
                vitals=_stage_vitals((stage, metric, bucket, n) for _, stage, metric, bucket, n in cells if stage > 0),
                marks=[StageMark(**row) for row in marks],
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


def _books(cells: Iterable[tuple[int, VitalName, int, int]]) -> dict[tuple[int, VitalName], dict[int, int]]:
    """Readings by the first two of each cell, then by bucket; all in order."""
    books: dict[tuple[int, VitalName], Counter[int]] = {}
    for owner, metric, bucket, readings in cells:
        if readings:
            books.setdefault((owner, metric), Counter())[bucket] += readings
    return {key: dict(sorted(books[key].items())) for key in sorted(books)}


def _histograms(cells: Iterable[tuple[int, VitalName, int, int]]) -> list[VitalHistogram]:
    return [
        VitalHistogram(variant_id=variant, metric=metric, buckets=buckets)
        for (variant, metric), buckets in _books(cells).items()
    ]


def _stage_vitals(cells: Iterable[tuple[int, VitalName, int, int]]) -> list[StageVital]:
    return [
        StageVital(stage=stage, metric=metric, buckets=buckets) for (stage, metric), buckets in _books(cells).items()
    ]
