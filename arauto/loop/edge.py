"""How the models in visitors' browsers are doing: shares of versions, times, fallbacks, and the release on its way.

A campaign whose variants' titles are models' file names releases them (``arauto-edge-release.js``): its exposures are
pages that used a model, ``load`` the time until it was ready, ``INP`` the 95th percentile of a page's predictions, and
``error`` a page that fell back. All of it is counters; there is nothing of any text to be read here.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from arauto.core.campaign import Campaign
from arauto.core.events import VitalName
from arauto.loop.release import Release, show_release
from arauto.store import Store, quantile_of

CAMPAIGN = "edge-model"
"""The slug that pages ask for unless they name another."""


class EdgeVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A model as it is in use. ``share`` of the pages that used one; times in ms, None before the first was told.

    ``ready_*`` is from navigation until it answers; ``predict_*`` quantiles over pages of each page's 95th percentile;
    ``fallback`` the share of its pages that showed their default.
    """

    variant: str
    model: str
    state: str
    pages: int
    share: float
    ready_p50: float | None
    ready_p95: float | None
    predict_p50: float | None
    predict_p95: float | None
    fallback: float


class EdgeScreen(msgspec.Struct, frozen=True, kw_only=True):
    """What a screen shows. ``pages`` used a model since the campaign began."""

    campaign: str
    state: str
    pages: int
    versions: list[EdgeVersion]
    release: Release | None


async def edge_campaigns(store: Store) -> list[Campaign]:
    """The campaigns that release edge models: the one that pages ask for, and those whose slug goes on from its."""
    return [one for one in await store.catalogue.campaigns() if one.slug.startswith(CAMPAIGN)]


async def edge_screen(store: Store, campaign_id: int) -> EdgeScreen:
    """The numbers of the campaign that releases edge models.

    Raises:
        NotFoundError: there is no such campaign.
        StoreError: the database cannot be used.
    """
    campaign = await store.catalogue.campaign(campaign_id)
    pages: Counter[int] = Counter()
    for total in await store.rollups.totals(campaign_id):
        pages[total.variant_id] += total.impressions
    books: dict[tuple[int, str], dict[int, int]] = {
        (one.variant_id, one.metric): one.buckets for one in await store.rollups.vitals(campaign_id)
    }
    failed = await store.rollups.marks(campaign_id, "error")
    whole = sum(pages.values())

    def of(variant: int, metric: VitalName, q: float) -> float | None:
        buckets = books.get((variant, metric))
        return quantile_of(buckets, q) if buckets else None

    versions = [
        EdgeVersion(
            variant=variant.name,
            model=variant.copy.title,
            state=variant.state,
            pages=pages[variant.id],
            share=pages[variant.id] / whole if whole else 0.0,
            ready_p50=of(variant.id, "load", 0.5),
            ready_p95=of(variant.id, "load", 0.95),
            predict_p50=of(variant.id, "INP", 0.5),
            predict_p95=of(variant.id, "INP", 0.95),
            fallback=failed.get(variant.id, 0) / pages[variant.id] if pages[variant.id] else 0.0,
        )
        for variant in await store.catalogue.variants(campaign_id)
    ]
    rollout = await store.rollouts.latest(campaign_id)
    return EdgeScreen(
        campaign=campaign.slug,
        state=campaign.state,
        pages=whole,
        versions=versions,
        release=await show_release(store, rollout) if rollout else None,
    )
