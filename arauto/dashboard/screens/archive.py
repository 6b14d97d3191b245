"""What is over stays readable: ended campaigns with their verdict, releases, models."""

from __future__ import annotations

from typing import Any

from arauto.core.clock import to_datetime
from arauto.dashboard.screen import OWN, File, Screen, View, csv_file
from arauto.loop import build_report

MOST = 100


async def values(view: View) -> dict[str, Any]:
    """A line for each ended campaign, the last to end first."""
    return {"rows": await _rows(view)}


async def _rows(view: View) -> list[dict[str, Any]]:
    store = view.runtime.store
    ended = [one for one in await store.catalogue.campaigns() if one.state == "ended"]
    ended.sort(key=lambda one: one.ended_ms or 0, reverse=True)
    rows = []
    for campaign in ended[:MOST]:
        report = await build_report(store, campaign.id, clock=view.runtime.clock)
        rows.append(
            {
                "campaign": campaign,
                "report": report,
                "releases": [
                    (one.id, one.moves[-1].status) for one in await store.rollouts.of_campaign(campaign.id) if one.moves
                ],
            }
        )
    return rows


async def table(view: View) -> File:
    """The same as a table."""
    head = (
        "campaign", "name", "launched", "ended", "simulated", "goal", "impressions", "clicks", "purchases",
        "revenue", "currency", "verdict", "leader",
    )  # fmt: skip
    lines = []
    for row in await _rows(view):
        campaign, report = row["campaign"], row["report"]
        lines.append(
            [
                campaign.slug,
                campaign.name,
                to_datetime(campaign.launched_ms or campaign.created_ms).isoformat(),
                to_datetime(campaign.ended_ms or 0).isoformat(),
                campaign.plan.simulated,
                campaign.plan.goal,
                report.totals.impressions,
                report.totals.clicks,
                report.totals.purchases,
                f"{report.totals.revenue_cents / 100:.2f}",
                report.currency,
                report.standing.verdict,
                report.standing.leader or "",
            ]
        )
    return csv_file("archive.csv", head, lines)


SCREEN = Screen(name="archive", path=f"{OWN}/archive", values=values, every=60.0, files={"archive.csv": table})
