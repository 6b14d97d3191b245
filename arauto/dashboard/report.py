"""From a report to what a page shows: arms with their colours, charts with their tables, files to download."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from markupsafe import Markup

from arauto.core.clock import to_datetime
from arauto.dashboard import charts
from arauto.dashboard.figures import Figure
from arauto.dashboard.words import Words
from arauto.loop import Estimate, Report, VariantNumbers

T = TypeVar("T")

WIDE, NARROW = 540, 330
POINTS = 120
"""So many moments of the share chart are drawn; the CSV file has all that the report has."""
ROWS = 50


class ArmView(msgspec.Struct, frozen=True, kw_only=True):
    """A variant, its place in the palette, and who wrote it."""

    numbers: VariantNumbers
    hue: int
    bar: Markup
    author: str


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A chart at two widths, and its table. ``arms`` are those drawn."""

    wide: Markup
    narrow: Markup
    rows: list[dict[str, Any]]
    arms: list[ArmView]


def page_of(report: Report, words: Words) -> dict[str, Any]:
    """What the template ``body.html`` needs."""
    arms = [
        ArmView(
            numbers=variant,
            hue=place % charts.HUES,
            bar=Markup(charts.bar(variant.share, place)) if variant.share is not None else Markup(""),  # noqa: S704
            author=_author(variant, words),
        )
        for place, variant in enumerate(report.variants)
    ]
    return {
        "w": words,
        "report": report,
        "arms": arms,
        "load": report.totals.vitals.get("load"),
        "rates": _rates(report, arms, words),
        "shares": _shares(report, arms, words),
    }


def variants_csv(report: Report) -> bytes:
    """The comparison as a file: raw numbers, one line a variant."""
    head = (
        "variant", "state", "title", "impressions", "clicks", "ctr", "ctr_low", "ctr_high", "purchases", "conversion",
        "conversion_low", "conversion_high", "orders", "revenue", "currency", "ratings", "rating", "rating_low",
        "rating_high", "load_p75_ms", "chance_to_win", "share",
    )  # fmt: skip
    return _csv(head, [_variant_line(variant, report.currency) for variant in report.variants])


def shares_csv(report: Report) -> bytes:
    """The shares over time as a file: one line a moment, one column a variant."""
    names = [variant.name for variant in report.variants]
    lines = [
        [to_datetime(point.at_ms).isoformat(), *(point.shares.get(name, 0.0) for name in names)]
        for point in report.shares
    ]
    return _csv(("at", *names), lines)


def _author(variant: VariantNumbers, words: Words) -> str:
    if variant.engine in ("slot", "given"):
        return words(f"engine_{variant.engine}")
    return f"{variant.engine}: {variant.model}" if variant.model else variant.engine


def _rates(report: Report, arms: Sequence[ArmView], words: Words) -> Chart | None:
    """The goal's measure of each arm that has one, on its interval."""
    rating = report.goal == "rating"
    least, most = (1.0, 5.0) if rating else (0.0, 1.0)
    text = words.mean if rating else words.rate
    between = words.mean_interval if rating else words.rate_interval

    def tick(value: float) -> str:
        return words.number(value, 2) if rating else words.percent(value, _decimals(value))

    measured = [(arm, estimate) for arm in arms if (estimate := _measure(arm.numbers, report.goal)) is not None]
    if not measured:
        return None
    drawn = [
        charts.Arm(
            name=arm.numbers.name,
            hue=arm.hue,
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            text=text(estimate),
        )
        for arm, estimate in measured
    ]
    told = "; ".join(
        words("rates_words", name=arm.numbers.name, value=text(estimate), interval=between(estimate))
        for arm, estimate in measured
    )
    title = words(f"rates_{report.goal}")
    return _chart(
        lambda width: charts.interval_chart(
            drawn, width=width, least=least, most=most, tick=tick, title=title, words=told
        ),
        arms=[arm for arm, _ in measured],
        rows=[
            {
                "name": arm.name,
                "text": arm.text,
                "low": _end(arm.low, rating, words),
                "high": _end(arm.high, rating, words),
            }
            for arm in drawn
        ],
    )


def _shares(report: Report, arms: Sequence[ArmView], words: Words) -> Chart | None:
    points = _thin([point for point in report.shares if point.at_ms < report.until_ms])
    if not points:
        return None
    shown = [arm for arm in arms if any(arm.numbers.name in point.shares for point in points)]
    bands = [
        charts.Band(
            name=arm.numbers.name,
            hue=arm.hue,
            shares=[point.shares.get(arm.numbers.name, 0.0) for point in points],
        )
        for arm in shown
    ]
    now = ", ".join(f"{band.name} {words.percent(band.shares[-1], 1)}" for band in bands)
    told = words("shares_words", elapsed=words.span(report.until_ms - points[0].at_ms), now=now)
    title = words("shares")
    return _chart(
        lambda width: charts.share_chart(
            bands,
            [point.at_ms for point in points],
            report.until_ms,
            width=width,
            title=title,
            words=told,
            tick=words.elapsed,
        ),
        arms=shown,
        rows=[
            {
                "when": f"{to_datetime(point.at_ms):%Y-%m-%d %H:%M:%S}",
                "shares": [words.percent(point.shares.get(arm.numbers.name, 0.0), 1) for arm in shown],
            }
            for point in reversed(points[-ROWS:])
        ],
    )


def _chart(draw: Callable[[int], str], *, arms: list[ArmView], rows: list[dict[str, Any]]) -> Chart:
    wide = draw(WIDE).replace('class="chart"', 'class="chart wide-chart"', 1)
    narrow = draw(NARROW).replace('class="chart"', 'class="chart narrow-chart"', 1)
    # The module of charts escapes every text it writes.
    return Chart(wide=Markup(wide), narrow=Markup(narrow), rows=rows, arms=arms)  # noqa: S704


def _measure(variant: VariantNumbers, goal: str) -> Estimate | None:
    return {"click": variant.ctr, "purchase": variant.conversion, "rating": variant.rating}[goal]


def _decimals(share: float) -> int:
    """As many decimals as the share's percentage needs."""
    return next((n for n in range(4) if abs(round(share * 100, n) - share * 100) < 1e-9), 3)


def _end(value: float, rating: bool, words: Words) -> str:
    return words.number(value, 2) if rating else words.percent(value)


def _thin(points: list[T]) -> list[T]:
    """At most :data:`POINTS` of them, evenly spread, the first and the last among them."""
    if len(points) <= POINTS:
        return points
    return [points[round(place * (len(points) - 1) / (POINTS - 1))] for place in range(POINTS)]


def _variant_line(variant: VariantNumbers, currency: str) -> list[Any]:
    load = variant.vitals.get("load")
    return [
        variant.name,
        variant.state,
        _plain(variant.title),
        variant.impressions,
        variant.clicks,
        *_estimate(variant.ctr),
        variant.purchases,
        *_estimate(variant.conversion),
        variant.orders,
        f"{variant.revenue_cents / 100:.2f}",
        currency,
        variant.ratings,
        *_estimate(variant.rating),
        "" if load is None else load.p75,
        "" if variant.chance_to_win is None else variant.chance_to_win,
        "" if variant.share is None else variant.share,
    ]


def _estimate(estimate: Estimate | None) -> tuple[Any, Any, Any]:
    return ("", "", "") if estimate is None else (estimate.value, estimate.low, estimate.high)


def _plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _csv(head: Sequence[str], lines: Sequence[Sequence[Any]]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(head)
    writer.writerows(lines)
    return file.getvalue().encode()


def shares_figure(report: Report, words: Words) -> Figure | None:
    """The shares over time, as other screens show a chart."""
    chart = _shares(report, page_of(report, words)["arms"], words)
    if chart is None:
        return None
    return Figure(
        title=words("shares"),
        wide=chart.wide,
        narrow=chart.narrow,
        head=(words("at"), *(arm.numbers.name for arm in chart.arms)),
        rows=[(row["when"], *row["shares"]) for row in chart.rows],
        keys=[(arm.numbers.name, arm.hue) for arm in chart.arms],
        under=words("shares_axis"),
        file="weights.csv",
    )
