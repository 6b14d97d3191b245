"""A bandit over time: cumulative means, the probability of winning, the weights; and the leaderboard with intervals."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arauto.core.campaign import Goal
from arauto.dashboard import charts
from arauto.dashboard.figures import Figure, figure
from arauto.dashboard.plots import Line, line_chart
from arauto.dashboard.report import shares_csv, shares_figure
from arauto.dashboard.screen import CAMPAIGN, File, Screen, View, csv_file
from arauto.dashboard.words import Words
from arauto.experiments import chance_to_win
from arauto.loop import Report, build_report
from arauto.store import SeriesPoint

POINTS = 60
"""So many moments of the series are drawn."""
MINUTES_MS = 6 * 3_600_000
"""A campaign younger than this is drawn by the minute, an older one by the hour."""
DRAWS = 4_000

Means = dict[int, list[float | None]]


async def values(view: View) -> dict[str, Any]:
    """The three series and the leaderboard."""
    report, points = await _facts(view)
    return await asyncio.to_thread(_shown, view, report, points)


async def _facts(view: View) -> tuple[Report, list[SeriesPoint]]:
    store, now = view.runtime.store, view.runtime.clock.now_ms()
    report = await build_report(store, view.id, clock=view.runtime.clock)
    young = min(report.until_ms, now) - report.from_ms < MINUTES_MS
    return report, await store.rollups.series(view.id, step="minute" if young else "hour")


def _shown(view: View, report: Report, points: Sequence[SeriesPoint]) -> dict[str, Any]:
    words, campaign = view.words, report
    places = {variant.id: place for place, variant in enumerate(report.variants)}
    names = {variant.id: variant.name for variant in report.variants}
    moments, counts = cumulated(points, report.goal)
    means = {arm: [k / n if n else None for k, n in series] for arm, series in counts.items() if arm in names}
    chances = _chances(counts, report.goal) if len(counts) > 1 else {}
    marks = [point.at_ms for point in report.shares]
    best = sorted(
        report.variants,
        key=lambda one: -(_measure(one, report.goal).value if _measure(one, report.goal) else -1.0),
    )

    def lines(of: Mapping[int, list[float | None]]) -> list[Line]:
        return [Line(name=names[arm], hue=places[arm], values=series) for arm, series in of.items() if arm in names]

    return {
        "heading": report.name,
        "report": campaign,
        "leaders": [(one, places[one.id] % charts.HUES, _measure(one, report.goal)) for one in best],
        "means": _figure(words, f"means_{report.goal}", lines(means), moments, marks, "means.csv") if moments else None,
        "chances": _figure(words, "chances", lines(chances), moments, marks, "means.csv", (0.0, 1.0))
        if moments and chances
        else None,
        "weights": shares_figure(report, words),
    }


def cumulated(points: Sequence[SeriesPoint], goal: Goal) -> tuple[list[int], dict[int, list[tuple[float, float]]]]:
    """At most :data:`POINTS` moments, and of each variant its successes (or sum) and trials until each of them."""
    times = sorted({point.at_ms for point in points})
    if len(times) > POINTS:
        times = [times[round(place * (len(times) - 1) / (POINTS - 1))] for place in range(POINTS)]
    up, down = {
        "click": ("clicks", "impressions"),
        "purchase": ("purchases", "impressions"),
        "rating": ("rating_sum", "ratings"),
    }[goal]
    arms = sorted({point.variant_id for point in points})
    told: dict[int, list[tuple[float, float]]] = {arm: [] for arm in arms}
    sums = dict.fromkeys(arms, (0.0, 0.0))
    coming = iter(sorted(points, key=lambda point: point.at_ms))
    point = next(coming, None)
    for at in times:
        while point is not None and point.at_ms <= at:
            k, n = sums[point.variant_id]
            sums[point.variant_id] = (k + getattr(point, up), n + getattr(point, down))
            point = next(coming, None)
        for arm in arms:
            told[arm].append(sums[arm])
    return times, told


def _chances(counts: Mapping[int, list[tuple[float, float]]], goal: Goal) -> Means:
    """The posterior probability of being best at each moment; ratings are read as shares of the way from 1 to 5."""
    arms = list(counts)
    told: Means = {arm: [] for arm in arms}
    for place in range(len(next(iter(counts.values())))):
        k, n = (np.array([counts[arm][place][side] for arm in arms]) for side in (0, 1))
        if goal == "rating":
            k = np.clip((k - n) / 4.0, 0.0, n)
        # Of what nobody has seen yet the prior alone would speak, and it would often speak loudest.
        seen = n > 0
        found = iter(chance_to_win(k[seen], n[seen], np.random.default_rng(0), DRAWS).tolist() if seen.any() else ())
        for arm, there in zip(arms, seen.tolist(), strict=True):
            told[arm].append(next(found) if there else None)
    return told


def _measure(variant: Any, goal: Goal) -> Any:
    return {"click": variant.ctr, "purchase": variant.conversion, "rating": variant.rating}[goal]


def _figure(
    words: Words,
    key: str,
    lines: list[Line],
    moments: list[int],
    marks: list[int],
    file: str,
    bounds: tuple[float, float] | None = None,
) -> Figure | None:
    if not any(value is not None for line in lines for value in line.values):
        return None
    rating = key.endswith("rating")

    def text(value: float | None) -> str:
        if value is None:
            return "–"
        return words.number(value, 2) if rating else words.percent(value, 0 if bounds else 2)

    title = words(key)
    told = "; ".join(f"{line.name}: {text(line.values[-1])}" for line in lines)
    # One line for each reweighting, as long as they can be told apart.
    drawn = marks if len(marks) <= 40 else []
    return figure(
        lambda width: line_chart(
            lines,
            moments,
            width=width,
            title=title,
            words=told,
            tick=text,
            elapsed=words.elapsed,
            bounds=bounds,
            marks=drawn,
        ),
        title=title,
        head=(words("at"), *(line.name for line in lines)),
        rows=[
            (words.moment(at), *(text(line.values[place]) for line in lines))
            for place, at in reversed(list(enumerate(moments)))
        ],
        keys=[(line.name, line.hue % charts.HUES) for line in lines],
        under=words("series_axis"),
        file=file,
    )


async def series(view: View) -> File:
    """Cumulative successes and trials over time."""
    report, points = await _facts(view)
    names = {variant.id: variant.name for variant in report.variants}
    moments, counts = cumulated(points, report.goal)
    lines = [
        [at, names.get(arm, arm), counts[arm][place][0], counts[arm][place][1]]
        for place, at in enumerate(moments)
        for arm in counts
    ]
    return csv_file(f"{report.slug}-means.csv", ("at_ms", "variant", "successes", "trials"), lines)


async def weights(view: View) -> File:
    """The weights over time."""
    report = await build_report(view.runtime.store, view.id, clock=view.runtime.clock)
    return File(shares_csv(report), f"{report.slug}-weights.csv")


SCREEN = Screen(
    name="bandit",
    path=f"{CAMPAIGN}/bandit",
    values=values,
    place="campaign",
    every=5.0,
    files={"means.csv": series, "weights.csv": weights},
)
