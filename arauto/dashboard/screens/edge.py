"""The small model on devices: which versions answer, how fast, how often the fallback does.

Devices tell of it with a custom event ``edge`` (``model``, ``ms``, ``fallback``), which a page sends if its owner wants
this screen; no text of a visitor is ever in it.
"""

from __future__ import annotations

from typing import Any

from arauto.core.campaign import DAY_MS
from arauto.dashboard.screen import OWN, File, Screen, View, csv_file
from arauto.experiments import rate_sequence
from arauto.loop import Estimate
from arauto.store import EdgeUse

DAYS = 7


async def values(view: View) -> dict[str, Any]:
    """A line for each version."""
    uses = await _uses(view)
    answers, fallbacks = sum(one.answers for one in uses), sum(one.fallbacks for one in uses)
    return {
        "uses": uses,
        "answers": answers,
        "share": {one.model: one.answers / answers for one in uses},
        "fallback": Estimate(fallbacks / answers, *rate_sequence(fallbacks, answers)) if answers else None,
        "days": DAYS,
    }


async def _uses(view: View) -> list[EdgeUse]:
    return await view.runtime.store.rollups.edge(view.runtime.clock.now_ms() - DAYS * DAY_MS)


async def table(view: View) -> File:
    """The same as a table."""
    lines = [[one.model, one.answers, one.p50, one.p95, one.fallbacks] for one in await _uses(view)]
    return csv_file("edge.csv", ("model", "answers", "p50_ms", "p95_ms", "fallbacks"), lines)


SCREEN = Screen(name="edge", path=f"{OWN}/edge", values=values, every=10.0, files={"edge.csv": table})
