"""Rollups: exact, by time, and the history of weights."""

from __future__ import annotations

import pytest

from arauto.core.clock import FakeClock
from arauto.core.settings import Settings
from arauto.store import Store
from tests.store.builders import NOW, Decisions, new_campaign

HOUR = 3_600_000


async def test_a_campaign_without_events_has_nothing(store: Store) -> None:
    campaign, _ = await new_campaign(store)
    assert await store.rollups.totals(campaign.id) == []
    assert await store.rollups.series(campaign.id, step="hour") == []
    assert await store.rollups.vitals(campaign.id) == []
    assert await store.rollups.weights(campaign.id) == []
    assert (await store.rollups.recount(campaign.id)).totals == []


async def test_segments_and_variants_are_apart_and_campaigns_too(store: Store) -> None:
    one, two = Decisions(*await new_campaign(store, "one")), Decisions(*await new_campaign(store, "two"))
    rows = []
    for place, (variant, segment) in enumerate([(0, "mobile"), (0, "desktop"), (1, "mobile"), (1, "mobile")]):
        rows += [one.new(variant=variant, segment=segment).row("impression", after_ms=place)]
    rows += [two.new().row("impression")]
    answer = await store.events.append(rows)
    assert answer.changed == {one.campaign.id, two.campaign.id}
    totals = await store.rollups.totals(one.campaign.id)
    a, b = one.variants[0].id, one.variants[1].id
    assert [(t.variant_id, t.segment, t.impressions) for t in totals] == [
        (a, "desktop", 1),
        (a, "mobile", 1),
        (b, "mobile", 2),
    ]
    assert sum(t.impressions for t in await store.rollups.totals(two.campaign.id)) == 1


async def test_sums_of_squares_do_not_overflow(store: Store) -> None:
    decisions = Decisions(*await new_campaign(store))
    most = 100_000_000_000  # a billion, in cents
    rows = []
    for _ in range(5):
        told = decisions.new()
        rows += [told.row("impression"), *(told.purchase(f"o{n}", most) for n in range(20))]
    await store.events.append(rows)
    (totals,) = await store.rollups.totals(decisions.campaign.id)
    assert (totals.value_cents, totals.value_sq) == (100 * most, 5 * (20 * most) ** 2)
    assert (await store.rollups.recount(decisions.campaign.id)).totals == [totals]


async def test_a_series_begins_where_asked(store: Store) -> None:
    decisions = Decisions(*await new_campaign(store))
    start = NOW - NOW % HOUR
    await store.events.append([decisions.new(at_ms=start + n * HOUR).row("impression") for n in range(5)])
    all_hours = await store.rollups.series(decisions.campaign.id, step="hour")
    assert [p.at_ms for p in all_hours] == [start + n * HOUR for n in range(5)]
    # The bucket that `since` falls into is part of the answer.
    tail = await store.rollups.series(decisions.campaign.id, step="hour", since_ms=start + 3 * HOUR + 1)
    assert tail == all_hours[3:]
    exact = await store.rollups.series(decisions.campaign.id, step="hour", since_ms=start + 3 * HOUR)
    assert exact == all_hours[3:]
    minutes = await store.rollups.series(decisions.campaign.id, step="minute", since_ms=start + 4 * HOUR)
    assert [p.at_ms for p in minutes] == [start + 4 * HOUR]


async def test_the_same_arm_of_two_processes_is_one(settings: Settings, store: Store) -> None:
    decisions = Decisions(*await new_campaign(store))
    async with await Store.open(settings) as other:
        for writer in (store, other, store):
            await writer.events.append([decisions.new().row("impression"), decisions.new().vital("LCP", 100)])
    (totals,) = await store.rollups.totals(decisions.campaign.id)
    assert totals.impressions == 3
    (vital,) = await store.rollups.vitals(decisions.campaign.id)
    assert sum(vital.buckets.values()) == 3


async def test_weights_are_kept_by_version_and_thinned_for_show(store: Store) -> None:
    campaign, (a, b, _) = await new_campaign(store)
    for version in range(1, 301):
        await store.rollups.record_weights(campaign.id, version, NOW + version * 200, {a.id: 1 / version, b.id: 0.5})
    await store.rollups.record_weights(campaign.id, 300, NOW, {a.id: 0.123})
    every = await store.rollups.weights(campaign.id, points=1000)
    assert [w.version for w in every] == list(range(1, 301))
    assert (every[1].at_ms, every[1].propensities) == (NOW + 400, {a.id: 0.5, b.id: 0.5})
    some = await store.rollups.weights(campaign.id, points=10)
    assert len(some) == 11
    assert (some[0].version, some[-1].version) == (1, 300)
    tail = await store.rollups.weights(campaign.id, since_ms=NOW + 290 * 200, points=1000)
    assert [w.version for w in tail] == list(range(290, 301))


async def test_old_weights_are_thinned_for_good(settings: Settings) -> None:
    clock = FakeClock(NOW)
    async with await Store.open(settings, clock=clock) as store:
        campaign, (a, *_) = await new_campaign(store)
        for version in range(1, 11):
            await store.rollups.record_weights(campaign.id, version, NOW - NOW % 60_000 + version * 20_000, {a.id: 0.5})
        await store.maintain()
        assert len(await store.rollups.weights(campaign.id)) == 10
        clock.advance(8 * 86_400_000)
        await store.maintain()
        assert [w.version for w in await store.rollups.weights(campaign.id)] == [1, 3, 6, 9]


@pytest.mark.parametrize("step", ["minute", "hour"])
async def test_a_decision_stays_in_its_bucket(store: Store, step: str) -> None:
    decisions = Decisions(*await new_campaign(store))
    told = decisions.new()
    await store.events.append([told.row("impression")])
    await store.events.append([told.row("click", after_ms=5 * HOUR), told.row("rating", score=3, after_ms=6 * HOUR)])
    (point,) = await store.rollups.series(decisions.campaign.id, step=step)  # type: ignore[arg-type]
    assert (point.impressions, point.clicks, point.rating_sum) == (1, 1, 3)
