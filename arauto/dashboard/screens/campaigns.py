"""All campaigns, the newest first."""

from __future__ import annotations

from typing import Any

from arauto.dashboard.screen import OWN, Screen, View


async def values(view: View) -> dict[str, Any]:
    """A row for each campaign."""
    store = view.runtime.store
    rows = []
    for campaign in reversed(await store.catalogue.campaigns()):
        totals = await store.rollups.totals(campaign.id)
        impressions, clicks = sum(row.impressions for row in totals), sum(row.clicks for row in totals)
        rows.append(
            {
                "campaign": campaign,
                "impressions": impressions,
                "clicks": clicks,
                "ctr": clicks / impressions if impressions else None,
                "purchases": sum(row.purchases for row in totals),
            }
        )
    return {"rows": rows}


SCREEN = Screen(name="campaigns", path=OWN, values=values)
