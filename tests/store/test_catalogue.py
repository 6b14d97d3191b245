"""The catalogue: what exists, and who changed it."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from arauto.core.brief import Brand, Brief, Offer
from arauto.core.campaign import CampaignPlan, Copy, Origin
from arauto.core.clock import FakeClock
from arauto.core.errors import ConflictError, InputError, NotFoundError
from arauto.core.settings import Settings
from arauto.store import Store
from arauto.store.catalogue import variant_name
from tests.store.builders import BRIEF, MESSAGE, new_campaign


async def test_a_site_is_made_once(store: Store) -> None:
    first = await store.catalogue.ensure_site("shop", ["https://a.test"])
    again = await store.catalogue.ensure_site("shop", ["https://a.test", "https://b.test"])
    assert (again.id, again.key) == (first.id, first.key)
    assert again.origins == ("https://a.test", "https://b.test")
    assert await store.catalogue.site(first.id) == again
    assert await store.catalogue.site_by_key(first.key) == again
    assert await store.catalogue.site_by_key("site_\0unknown") is None
    other = await store.catalogue.ensure_site("other")
    assert await store.catalogue.sites() == [again, other]
    assert other.key != first.key


@pytest.mark.parametrize("number", [0, -5, 999, 2**31, 2**70])
async def test_what_is_not_there_is_not_found(store: Store, number: int) -> None:
    catalogue = store.catalogue
    for asked in (
        catalogue.site(number),
        catalogue.campaign(number),
        catalogue.campaign_by_slug(number, "x"),
        catalogue.set_campaign_state(number, "live", "test"),
        catalogue.add_kit(number, [], {}, "test"),
        catalogue.set_variant_state(number, "retired", "test"),
        catalogue.create_campaign(number, "x", "x", BRIEF, MESSAGE, CampaignPlan(), "test"),
        catalogue.add_release(number, "canary", 0.1, "", "test"),
    ):
        with pytest.raises(NotFoundError):
            await asked
    assert await catalogue.variants(number) == []


async def test_a_campaign_comes_back_as_it_was(store: Store) -> None:
    brief = Brief(
        product="Relógio ✓",
        brand=Brand(name="Pulse", colours=("#112233",)),
        offer=Offer(price=Decimal("1299.90"), currency="BRL"),
        age_range=(25, 40),
    )
    plan = CampaignPlan(goal="purchase", seed=2**62, floor=0.05, refresh_ms=0, simulated=True)
    site = await store.catalogue.ensure_site("shop")
    made = await store.catalogue.create_campaign(site.id, "verao", "Verão", brief, MESSAGE, plan, "ana")
    assert (made.brief, made.message, made.plan, made.state) == (brief, MESSAGE, plan, "draft")
    assert await store.catalogue.campaign(made.id) == made
    assert await store.catalogue.campaign_by_slug(site.id, "verao") == made
    with pytest.raises(ConflictError) as taken:
        await store.catalogue.create_campaign(site.id, "verao", "Other", brief, MESSAGE, plan, "ana")
    assert taken.value.field == "slug"
    other = await store.catalogue.ensure_site("other")
    second = await store.catalogue.create_campaign(other.id, "verao", "V", brief, MESSAGE, plan, "ana")
    assert await store.catalogue.campaigns() == [made, second]
    assert await store.catalogue.campaigns(other.id) == [second]
    assert await store.catalogue.campaigns(77) == []


async def test_text_that_cannot_be_kept_is_bad_input(store: Store) -> None:
    with pytest.raises(InputError):
        await store.catalogue.ensure_site("a\0b")


async def test_a_campaign_goes_only_where_it_may(settings: Settings) -> None:
    clock = FakeClock()
    async with await Store.open(settings, clock=clock) as store:
        campaign, _ = await new_campaign(store)
        move = store.catalogue.set_campaign_state
        with pytest.raises(ConflictError):
            await move(campaign.id, "paused", "ana")
        discarded, _ = await new_campaign(store, slug="discarded")
        assert (await move(discarded.id, "ended", "ana")).state == "ended"
        with pytest.raises(ConflictError):
            await move(discarded.id, "live", "ana")
        clock.advance(1000)
        live = await move(campaign.id, "live", "ana")
        assert (live.state, live.launched_ms, live.ended_ms) == ("live", clock.now_ms(), None)
        launched = clock.now_ms()
        clock.advance(1000)
        assert await move(campaign.id, "live", "ana") == live
        assert (await move(campaign.id, "paused", "ana")).state == "paused"
        assert (await move(campaign.id, "live", "ana")).launched_ms == launched
        ended = await move(campaign.id, "ended", "ana")
        assert (ended.state, ended.launched_ms, ended.ended_ms) == ("ended", launched, clock.now_ms())
        for state in ("live", "paused", "draft"):
            with pytest.raises(ConflictError, match="ended"):
                await move(campaign.id, state, "ana")
        actions = [entry.action for entry in await store.catalogue.audit_log()]
        assert actions[:4] == ["campaign.ended", "campaign.live", "campaign.paused", "campaign.live"]


def test_variants_are_named_like_columns() -> None:
    names = [variant_name(place) for place in range(800)]
    assert (names[0], names[25], names[26], names[51], names[52], names[701], names[702]) == (
        "a", "z", "aa", "az", "ba", "zz", "aaa",
    )  # fmt: skip
    assert len(set(names)) == 800


async def test_a_copy_is_added_once(store: Store) -> None:
    campaign, variants = await new_campaign(store, arms=2)
    assert [v.name for v in variants] == ["a", "b"]
    old = variants[0].copy
    new = Copy(title="novo", description="", image_suggestion="")
    origin = Origin(engine="local", model="m", prompt_sha256="f" * 64, seed=3)
    added = await store.catalogue.add_kit(campaign.id, [(old, origin), (new, origin), (new, origin)], {"n": 1}, "ana")
    assert [(v.name, v.copy, v.origin) for v in added] == [("c", new, origin)]
    assert await store.catalogue.variants(campaign.id) == [*variants, *added]
    _, others = await new_campaign(store, "other", arms=1)
    assert others[0].name == "a"
    retired = await store.catalogue.set_variant_state(added[0].id, "retired", "ana")
    assert retired.state == "retired"
    assert (await store.catalogue.variants(campaign.id))[2] == retired


async def test_kits_added_at_once_do_not_collide(store: Store) -> None:
    campaign, _ = await new_campaign(store, arms=1)
    kits = await asyncio.gather(
        *(
            store.catalogue.add_kit(
                campaign.id,
                [
                    (Copy(title=f"{n}.{k}", description="", image_suggestion=""), Origin(engine="slot"))
                    for k in range(3)
                ],
                {},
                "test",
            )
            for n in range(5)
        )
    )
    names = [v.name for kit in kits for v in kit]
    assert sorted(names) == [variant_name(place) for place in range(1, 16)]


async def test_the_audit_log_pages_backwards(store: Store) -> None:
    for n in range(5):
        await store.catalogue.audit("ana", "note", f"n:{n}", {"n": n, "deep": {"é": [1, None]}})
    newest = await store.catalogue.audit_log(2)
    assert [entry.target for entry in newest] == ["n:4", "n:3"]
    assert newest[0].detail == {"n": 4, "deep": {"é": [1, None]}}
    older = await store.catalogue.audit_log(10, before_id=newest[-1].id)
    assert [entry.target for entry in older] == ["n:2", "n:1", "n:0"]
    assert older[0].actor == "ana"


async def test_models_and_releases(store: Store) -> None:
    first = await store.catalogue.add_model("gen", "a" * 64)
    assert await store.catalogue.add_model("gen", "a" * 64) == first
    second = await store.catalogue.add_model("gen", "b" * 64, first.id, {"from": 1}, {"reward": 0.5})
    assert await store.catalogue.models() == [first, second]
    assert (second.parent, second.data_window, second.metrics) == (first.id, {"from": 1}, {"reward": 0.5})
    release = await store.catalogue.add_release(second.id, "canary", 0.05, "looks well", "ana")
    assert await store.catalogue.releases() == [release]
    assert (release.model_id, release.stage, release.share) == (second.id, "canary", 0.05)
