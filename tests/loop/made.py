"""Live campaigns with a kit, for the tests of what runs on a real database."""

import asyncio
from functools import partial

from arauto.core.campaign import CampaignPlan, Copy, Origin
from arauto.creative import compose_message, read_brief
from arauto.experiments import Guardrail

BRIEF = read_brief({"product": "watch"})
ACTOR = "test"
CTR = (Guardrail(name="ctr", margin=0.5),)


def copies(*names):
    return tuple(Copy(title=name, description="d", image_suggestion="i") for name in names)


async def launch(store, slug="watch", arms=2, **plan):
    """Its site, and a live campaign of texts ``old 0``, ``old 1``, … that is seeded and renewed at once."""
    site = await store.catalogue.ensure_site("shop", ["https://shop.example"])
    plan = CampaignPlan(**{"seed": 5, "refresh_ms": 0, **plan})
    campaign = await store.catalogue.create_campaign(site.id, slug, slug, BRIEF, compose_message(BRIEF), plan, ACTOR)
    kit = [(copy, Origin(engine="given")) for copy in copies(*(f"old {n}" for n in range(arms)))]
    await store.catalogue.add_kit(campaign.id, kit, {}, ACTOR)
    await store.catalogue.set_campaign_state(campaign.id, "live", ACTOR)
    return site, await store.catalogue.campaign(campaign.id)


launch_even = partial(launch, allocation="uniform")
"""The same, where every variant has the same share."""


async def until(check):
    """Wait until ``check()``, or what it awaits, is true; the deadline only ends a test that fails."""
    async with asyncio.timeout(60):
        while True:
            found = check()
            if await found if hasattr(found, "__await__") else found:
                return
            await asyncio.sleep(0.01)


def leave_alone(runtime):
    """Stop what runs in the background, so that only the test's own calls happen."""
    for task in runtime._tasks:
        task.cancel()
