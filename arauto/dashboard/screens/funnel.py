"""The funnel: from impression to purchase, by variant and by device, every rate with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from arauto.core.events import SEGMENTS
from arauto.dashboard import charts
from arauto.dashboard.screen import CAMPAIGN, File, Screen, View, csv_file
from arauto.experiments import rate_sequence
from arauto.loop import Estimate
from arauto.store import ArmTotals, Counts

STEPS = ("impressions", "views", "clicks", "carts", "purchases")


class Rung(NamedTuple):
    """A step of a funnel: how many decisions reached it, of all that were seen."""

    name: str
    reached: int
    rate: Estimate | None


async def values(view: View) -> dict[str, Any]:
    """A funnel for each variant, of every device or of the one that was chosen; and the matrix of both."""
    store = view.runtime.store
    campaign = await store.catalogue.campaign(view.id)
    variants = {variant.id: variant for variant in await store.catalogue.variants(view.id)}
    totals = await store.rollups.totals(view.id)
    known = [segment for segment in SEGMENTS if any(row.segment == segment for row in totals)]
    chosen = view.query.get("segment", "")
    if chosen not in known:
        chosen = ""
    places = {variant: place for place, variant in enumerate(variants)}
    arms = [
        {
            "variant": variants[arm],
            "hue": places[arm] % charts.HUES,
            "rungs": rungs(row for row in totals if row.variant_id == arm and chosen in ("", row.segment)),
        }
        for arm in places
        if any(row.variant_id == arm for row in totals)
    ]
    return {
        "heading": campaign.name,
        "campaign": campaign,
        "segments": known,
        "chosen": chosen,
        "arms": arms,
        "matrix": [_line(variants[arm], places[arm], totals, known, campaign.plan.goal) for arm in places]
        if len(known) > 1
        else [],
    }


def rungs(rows: Iterable[Counts]) -> list[Rung]:
    """The funnel of these rows together."""
    sums = dict.fromkeys(STEPS, 0)
    for row in rows:
        for name in STEPS:
            sums[name] += getattr(row, name)
    shown = sums["impressions"]
    return [
        Rung(name, sums[name], Estimate(sums[name] / shown, *rate_sequence(sums[name], shown)) if shown else None)
        for name in STEPS
    ]


def _line(variant: Any, place: int, totals: Sequence[ArmTotals], segments: list[str], goal: str) -> dict[str, Any]:
    """A variant's rate of its goal in each segment."""
    place_of = STEPS.index("purchases" if goal == "purchase" else "clicks")
    cells = []
    for segment in segments:
        found = rungs(row for row in totals if row.variant_id == variant.id and row.segment == segment)
        cells.append((segment, found[place_of].rate, found[0].reached))
    return {"variant": variant, "hue": place % charts.HUES, "cells": cells}


async def table(view: View) -> File:
    """Every step of every variant in every segment."""
    store = view.runtime.store
    campaign = await store.catalogue.campaign(view.id)
    names = {variant.id: variant.name for variant in await store.catalogue.variants(view.id)}
    lines = [
        [names.get(row.variant_id, ""), row.segment, rung.name, rung.reached]
        + ([rung.rate.value, rung.rate.low, rung.rate.high] if rung.rate else ["", "", ""])
        for row in await store.rollups.totals(view.id)
        for rung in rungs([row])
    ]
    head = ("variant", "segment", "step", "count", "rate", "rate_low", "rate_high")
    return csv_file(f"{campaign.slug}-funnel.csv", head, lines)


SCREEN = Screen(
    name="funnel",
    path=f"{CAMPAIGN}/funnel",
    values=values,
    place="campaign",
    query=("segment",),
    files={"funnel.csv": table},
)
