"""The map of segments: their size, what sets them apart, how steady they are, what works in each; and lookalikes.

Segments are found from what visitors with consent met on the site; nothing sensitive names one (rule LGPD-1).
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any
from uuid import UUID

import numpy as np

from arauto.core.clock import to_datetime
from arauto.dashboard import charts
from arauto.dashboard.figures import figure
from arauto.dashboard.plots import Spot, map_chart
from arauto.dashboard.screen import OWN, Action, Deed, Done, File, Screen, View, csv_file
from arauto.dashboard.words import RefusedError
from arauto.loop import Segments

MOST = 10_000
"""The largest lookalike audience that is built here."""
SEEDS, LEAST_SEEDS = 500, 10
NO_ENCODER = hashlib.sha256().hexdigest()
"""Of an audience that has learned no encoder: nothing that a reader could look up."""
WAIT_S = 0.5
"""So long a page waits for the audience to be in memory; then it says that it is being read, and is renewed."""


async def values(view: View) -> dict[str, Any]:
    """The map and a card for each segment."""
    found = await _found(view)
    words = view.words
    if found is None:
        return {"found": None, "chart": None, "cards": [], "most": MOST}
    names = {one.id: one.names.get(view.language) or words("segment_n", n=one.id) for one in found.segments}
    spots = [
        Spot(
            name=str(one.id),
            hue=place % charts.HUES,
            x=one.x,
            y=one.y,
            share=one.share,
            text=f"{names[one.id]}: {words.percent(one.share, 0)}",
        )
        for place, one in enumerate(found.segments)
    ]
    title = words("segment_map")
    chart = (
        figure(
            lambda width: map_chart(spots, width=width, title=title, words="; ".join(spot.text for spot in spots)),
            title=title,
            head=(words("segment_id"), words("audience_size"), words("audience_share"), "x", "y"),
            rows=[
                (names[one.id], words.number(one.size), words.percent(one.share, 1), f"{one.x:.2f}", f"{one.y:.2f}")
                for one in found.segments
            ],
            under=words("map_axis"),
            file="segments.csv",
        )
        if spots
        else None
    )
    best = await _best(view)
    return {
        "found": found,
        "encoder": "" if found.encoder == NO_ENCODER else found.encoder[:12],
        "chart": chart,
        "cards": [
            {"segment": one, "name": names[one.id], "hue": place % charts.HUES, "best": best.get(one.id, [])}
            for place, one in enumerate(found.segments)
        ],
        "most": MOST,
    }


async def _found(view: View) -> Segments | None:
    """The segments, once the audience is read into memory."""
    audience = view.runtime.audience
    try:
        await asyncio.wait_for(asyncio.shield(audience.ready.wait()), WAIT_S)
    except TimeoutError:
        return None
    return audience.segments()


async def _best(view: View) -> dict[int, list[dict[str, Any]]]:
    """The variant that each segment answers best, of each live campaign: of those with a hundred showings there."""
    store = view.runtime.store
    told: dict[int, list[dict[str, Any]]] = {}
    live = [campaign for campaign in await store.catalogue.campaigns() if campaign.state == "live"]
    for campaign in live[:20]:
        variants = [one for one in await store.catalogue.variants(campaign.id) if one.state == "live"]
        if len(variants) < 2:
            continue
        groups, successes, trials = view.runtime.audience.cells([one.id for one in variants], campaign.plan.goal)
        if not len(groups):
            continue
        # By variant and segment.
        successes, trials = np.asarray(successes), np.asarray(trials)
        for place, group in enumerate(groups):
            enough = trials[:, place] >= 100
            if not enough.any():
                continue
            rates = np.where(enough, successes[:, place] / np.maximum(trials[:, place], 1), -1.0)
            top = int(rates.argmax())
            told.setdefault(int(group), []).append(
                {"campaign": campaign, "variant": variants[top].name, "rate": float(rates[top])}
            )
    return told


async def table(view: View) -> File:
    """The segments as a table."""
    found = await _found(view)
    lines = [
        [one.id, one.names.get(view.language, ""), one.size, one.share, one.x, one.y, " ".join(one.items)]
        for one in (found.segments if found else [])
    ]
    return csv_file("segments.csv", ("segment", "name", "visitors", "share", "x", "y", "items"), lines)


async def lookalike(deed: Deed) -> Done:
    """Those who are most like a segment, or like some visitors: a file of their random ids."""
    audience, form = deed.runtime.audience, deed.form
    await audience.ready.wait()
    told = form.get("count", "")
    if not told.isdigit() or not 1 <= int(told[:9]) <= MOST:
        raise RefusedError("lookalike_count", "count", most=MOST)
    seeds = _seeds(deed)
    near = await asyncio.to_thread(audience.visitors.alike, seeds, int(told))
    if not near:
        raise RefusedError("lookalike_nobody", "seeds")
    await deed.runtime.store.catalogue.audit(
        deed.person.actor, "audience.lookalike", "audience", {"seeds": len(seeds), "found": len(near)}
    )
    day = to_datetime(deed.runtime.clock.now_ms()).date().isoformat()
    lines = [[str(one.visitor), f"{one.similarity:.6f}"] for one in near]
    return Done(file=csv_file(f"lookalike-{day}.csv", ("visitor", "similarity"), lines))


def _seeds(deed: Deed) -> list[UUID]:
    """The visitors named in the form, or up to :data:`SEEDS` of the segment's, those seen last."""
    visitors, form = deed.runtime.audience.visitors, deed.form
    if named := form.get("seeds", "").replace(",", " ").split():
        try:
            seeds = [UUID(one) for one in named[:SEEDS]]
        except ValueError:
            raise RefusedError("seeds", "seeds") from None
    elif (told := form.get("segment", "")).isdigit():
        seeds = [one for one in visitors if visitors.segment(one) == int(told[:9])]
        seeds.sort(key=visitors.last_ms, reverse=True)
        seeds = seeds[:SEEDS]
    else:
        raise RefusedError("seeds", "seeds")
    known = [one for one in seeds if one in visitors]
    if len(known) < LEAST_SEEDS:
        raise RefusedError("lookalike_few", "seeds", least=LEAST_SEEDS)
    return known


SCREEN = Screen(
    name="segments",
    path=f"{OWN}/segments",
    values=values,
    every=10.0,
    files={"segments.csv": table},
    actions={"lookalike": Action("editor", lookalike)},
)
