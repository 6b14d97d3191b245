"""An experiment: every variant against a control, one sentence of decision, and whether the test can be trusted."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from arauto.core.campaign import DAY_MS
from arauto.dashboard import charts
from arauto.dashboard.figures import Figure, figure
from arauto.dashboard.screen import CAMPAIGN, Action, Deed, Done, File, Screen, View, csv_file
from arauto.dashboard.words import NONE, RefusedError, Words
from arauto.loop import ComparedArm, Experiment

BOTS = 0.05
"""From this share of decisions by busy visitors on, the badge warns."""
LIKELY, UNLIKELY = 0.95, 0.05
SPEED_DAYS = 7
LATE_MS = 3_000
"""Figures older than this say of when they are."""


async def values(view: View) -> dict[str, Any]:
    """The comparison, as words and a chart."""
    store, words = view.runtime.store, view.words
    campaign = await store.catalogue.campaign(view.id)
    found = await view.runtime.tallies.read(view.id, view.query.get("control", ""))
    if found is None:
        return {"heading": campaign.name, "campaign": campaign, "x": None}
    variants = await store.catalogue.variants(view.id)
    days, chart = await asyncio.gather(_days_left(view, found), asyncio.to_thread(_chart, found, words))
    return {
        "heading": campaign.name,
        "campaign": campaign,
        "x": found,
        "word": _word(found, days, words),
        "as_of": words.clock(found.as_of_ms) if view.runtime.clock.now_ms() - found.as_of_ms > LATE_MS else "",
        "days": days,
        "badges": _badges(found, words),
        "arms": [{"arm": arm, "change": _change(arm, words), "tone": _tone(arm)} for arm in found.arms],
        "titles": {variant.name: variant.copy.title for variant in variants},
        "hues": {variant.name: place % charts.HUES for place, variant in enumerate(variants)},
        "live": [variant.name for variant in variants if variant.state == "live"],
        "chart": chart,
    }


async def _days_left(view: View, found: Experiment) -> float | None:
    """How long the visitors that are still needed take to come, at the pace of the last days."""
    if found.visitors_left is None or found.state != "live":
        return None
    now = view.runtime.clock.now_ms()
    points = await view.runtime.store.rollups.series(view.id, step="hour", since_ms=now - SPEED_DAYS * DAY_MS)
    if not points:
        return None
    seen = sum(point.impressions for point in points)
    span = max(now - min(point.at_ms for point in points), 60_000)
    return found.visitors_left / (seen / (span / DAY_MS)) if seen else None


def _word(found: Experiment, days: float | None, words: Words) -> tuple[str, str]:
    """One word for the state, and its colour."""
    if found.verdict == "too_early":
        if found.state == "ended":
            return words("word_review"), "simulated"
        if days is None:
            return words("word_going"), ""
        return words("word_days", n=words.number(max(1, math.ceil(days)))), ""
    kind = {"better": "live", "worse": "simulated", "unhealthy": "bad", "no_data": ""}[found.verdict]
    return words(f"word_{found.verdict}"), kind


def _badges(found: Experiment, words: Words) -> list[tuple[str, str, str]]:
    """What must hold before the sentence counts: name, what was seen, colour."""
    ratio = [p for p in (found.sample_ratio_p, found.sample_ratio_p_at_end) if p is not None]
    broken = bool(ratio) and min(ratio) < 0.01
    split = words("split_ok") if ratio and not broken else words("split_none" if not ratio else "split_bad")
    changed = [arm.name for arm in found.arms if arm.changed]
    return [
        (words("split"), split, "bad" if broken else "live" if ratio else ""),
        (words("bots"), words.percent(found.bots, 1), "simulated" if found.bots >= BOTS else "live"),
        (
            words("novelty"),
            ", ".join(changed) if changed else words("novelty_none"),
            "simulated" if changed else "live",
        ),
        (words("method"), words("method_fixed" if found.fixed_split else "method_weighed"), ""),
        (words("unit"), words(f"unit_{found.assignment}"), ""),
    ]


def _change(arm: ComparedArm, words: Words) -> tuple[str, str]:
    if arm.lift is None:
        return NONE, ""
    if arm.lift_low is None or arm.lift_high is None:
        return words.signed(arm.lift), words("unbounded")
    return words.signed(arm.lift), words("between", low=words.signed(arm.lift_low), high=words.signed(arm.lift_high))


def _tone(arm: ComparedArm) -> str:
    if arm.chance_to_win is None:
        return ""
    return "good" if arm.chance_to_win >= LIKELY else "bad" if arm.chance_to_win <= UNLIKELY else ""


def _chart(found: Experiment, words: Words) -> Figure | None:
    drawn = [
        charts.Arm(
            name=arm.name,
            hue=place,
            value=arm.lift,
            low=arm.lift_low,
            high=arm.lift_high,
            text=words.signed(arm.lift),
        )
        for place, arm in enumerate(found.arms)
        if arm.lift is not None and arm.lift_low is not None and arm.lift_high is not None
    ]
    if not drawn:
        return None
    title = words("lift_chart", control=found.control)
    told = "; ".join(f"{arm.name}: {arm.text} ({words.signed(arm.low)} – {words.signed(arm.high)})" for arm in drawn)
    reach = max(0.02, min(2.0, 2.5 * max(max(abs(arm.value), abs(arm.low), abs(arm.high)) for arm in drawn)))
    return figure(
        lambda width: charts.interval_chart(
            drawn,
            width=width,
            least=-reach,
            most=reach,
            tick=lambda at: words.signed(at, 0 if reach > 0.1 else 1),
            title=title,
            words=told,
            zero=True,
        ),
        title=title,
        head=(words("variant"), words("change"), words("low"), words("high")),
        rows=[(arm.name, arm.text, words.signed(arm.low), words.signed(arm.high)) for arm in drawn],
        file="experiment.csv",
    )


async def table(view: View) -> File:
    """The comparison as raw numbers."""
    tallies, control = view.runtime.tallies, view.query.get("control", "")
    # What the screen shows; before it can show anything, one waits.
    found = await tallies.read(view.id, control) or await tallies.read(view.id, control, patient=True)
    assert found is not None  # noqa: S101 -- whoever is patient gets one
    head = (
        "variant", "control", "impressions", "value", "lift", "lift_low", "lift_high", "p", "found", "changed",
        "chance_to_win", "expected_loss",
    )  # fmt: skip
    lines = [
        [
            arm.name,
            arm.name == found.control,
            arm.impressions,
            *_cells(arm),
            arm.found,
            arm.changed,
            _cell(arm.chance_to_win),
            _cell(arm.expected_loss),
        ]
        for arm in found.arms
    ]
    return csv_file(f"{found.slug}-experiment.csv", head, lines)


def _cells(arm: ComparedArm) -> list[Any]:
    return [_cell(value) for value in (arm.value, arm.lift, arm.lift_low, arm.lift_high, arm.p)]


def _cell(value: float | None) -> Any:
    return "" if value is None else value


async def keep(deed: Deed) -> Done:
    """Act on the sentence: one variant stays, every other live one is retired."""
    catalogue = deed.runtime.store.catalogue
    name = deed.form.get("variant", "")
    live = [variant for variant in await catalogue.variants(deed.id) if variant.state == "live"]
    if name not in {variant.name for variant in live}:
        raise RefusedError("no_variant", "variant")
    for variant in live:
        if variant.name != name:
            await catalogue.set_variant_state(variant.id, "retired", deed.person.actor)
    await deed.runtime.reload(deed.id)
    return Done(told="kept")


SCREEN = Screen(
    name="experiment",
    path=f"{CAMPAIGN}/experiment",
    values=values,
    place="campaign",
    query=("control",),
    every=10.0,
    files={"experiment.csv": table},
    actions={"keep": Action("approver", keep)},
)
