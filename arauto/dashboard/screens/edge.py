"""The small model in visitors' browsers: which versions answer, how fast, how often a page falls back, the release."""

from __future__ import annotations

from typing import Any

from arauto.dashboard.screen import OWN, File, Screen, View, csv_file
from arauto.loop import EdgeScreen, edge_campaigns, edge_screen


async def values(view: View) -> dict[str, Any]:
    """Each campaign that releases models."""
    return {"screens": await _screens(view)}


async def _screens(view: View) -> list[tuple[int, EdgeScreen]]:
    store = view.runtime.store
    return [(one.id, await edge_screen(store, one.id)) for one in await edge_campaigns(store)]


async def table(view: View) -> File:
    """Every version as a line."""
    head = (
        "campaign", "variant", "model", "state", "pages", "share", "ready_p50", "ready_p95", "predict_p50",
        "predict_p95", "fallback",
    )  # fmt: skip
    lines = [
        [
            screen.campaign,
            one.variant,
            one.model,
            one.state,
            one.pages,
            one.share,
            one.ready_p50,
            one.ready_p95,
            one.predict_p50,
            one.predict_p95,
            one.fallback,
        ]
        for _, screen in await _screens(view)
        for one in screen.versions
    ]
    return csv_file("edge.csv", head, [["" if cell is None else cell for cell in line] for line in lines])


SCREEN = Screen(name="edge", path=f"{OWN}/edge", values=values, every=10.0, files={"edge.csv": table})
