"""The small model on devices: which versions are in use, how fast they are, how often a page fell back."""

from __future__ import annotations

from typing import Any

from arauto.dashboard.screen import OWN, File, Screen, View, csv_file
from arauto.loop import EdgeScreen, edge_campaigns, edge_screen


async def values(view: View) -> dict[str, Any]:
    """A section for each campaign that releases models."""
    return {"releases": await _releases(view)}


async def _releases(view: View) -> list[EdgeScreen]:
    store = view.runtime.store
    return [await edge_screen(store, campaign.id) for campaign in await edge_campaigns(store)]


async def table(view: View) -> File:
    """The same as a table."""
    columns = ("model", "state", "pages", "share", "ready_p50", "ready_p95", "predict_p50", "predict_p95", "fallback")
    lines = [
        [one.campaign, *(getattr(version, name) for name in columns)]
        for one in await _releases(view)
        for version in one.versions
    ]
    return csv_file("edge.csv", ("campaign", *columns), lines)


SCREEN = Screen(name="edge", path=f"{OWN}/edge", values=values, every=10.0, files={"edge.csv": table})
