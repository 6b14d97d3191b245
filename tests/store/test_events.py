"""The event log: what counts, once, in any order."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from arauto.core.events import EventRow
from arauto.core.ids import uuid7
from arauto.store import Store, bucket_of
from arauto.store.batch import MAX_ITEMS, MAX_ORDERS
from tests.store.builders import NOW, Decisions, Model, check, loose, new_campaign, tomb_of


@pytest.fixture
async def decisions(store: Store) -> Decisions:
    return Decisions(*await new_campaign(store))


async def test_a_decision_is_counted_once_with_all_it_told(store: Store, decisions: Decisions) -> None:
    told = decisions.new()
    rows = [
        told.row("impression"),
        told.row("view", ref="pulse-2"),
        told.row("click"),
        told.row("cart", ref="pulse-2"),
        told.purchase("a1", 129_990),
        told.purchase("a2", 10),
        told.row("rating", score=4),
        told.vital("LCP", 1234.5),
        told.row("custom", name="scroll", props={"depth": 0.5, "é": "ü", "none": None}),
    ]
    answer = await store.events.append(rows)
    assert answer.status == ["stored"] * len(rows)
    assert answer.changed == {decisions.campaign.id}
    (totals,) = await store.rollups.totals(decisions.campaign.id)
    assert (totals.variant_id, totals.segment) == (told.variant_id, "mobile")
    assert (totals.impressions, totals.views, totals.clicks, totals.carts, totals.purchases) == (1, 1, 1, 1, 1)
    assert (totals.orders, totals.value_cents, totals.value_sq) == (2, 130_000, 130_000**2)
    assert (totals.ratings, totals.rating_sum, totals.rating_sq) == (1, 4, 16)
    (vital,) = await store.rollups.vitals(decisions.campaign.id)
    assert (vital.metric, vital.buckets) == ("LCP", {bucket_of(1234.5): 1})


async def test_a_repeat_changes_nothing(store: Store, decisions: Decisions) -> None:
    told = decisions.new(visitor=uuid4())
    rows = [told.row("impression"), told.row("click"), told.purchase("a", 100), told.vital("load", 900)]
    rows += [told.row("custom", name="x"), loose("custom", told.site_id, None, name="y")]
    await store.events.append(rows)
    before = await store.rollups.recount(decisions.campaign.id)
    again = await store.events.append(rows)
    assert again.status == ["duplicate"] * len(rows)
    assert not again.changed
    assert await store.rollups.recount(decisions.campaign.id) == before
    assert await store.rollups.totals(decisions.campaign.id) == before.totals


async def test_the_same_told_anew_under_another_id_changes_nothing(store: Store, decisions: Decisions) -> None:
    told = decisions.new()
    kinds = [
        told.row("impression"),
        told.row("click"),
        told.row("rating", score=2),
        told.row("view", ref="x"),
        told.purchase("a", 5),
        told.vital("CLS", 0.02),
    ]
    await store.events.append(kinds)
    anew = [EventRow(**{f: getattr(row, f) for f in row.__struct_fields__}) for row in kinds]
    for row in anew:
        row.event_id, row.value_cents = uuid7(NOW), row.value_cents and 777
    anew[2].score = 5
    assert (await store.events.append(anew)).status == ["duplicate"] * len(anew)
    totals = (await store.rollups.totals(decisions.campaign.id))[0]
    assert (totals.value_cents, totals.rating_sum) == (5, 2)


async def test_outcomes_wait_for_their_impression(store: Store, decisions: Decisions) -> None:
    told = decisions.new()
    first = await store.events.append([told.row("click"), told.purchase("a", 300)])
    assert first.status == ["stored", "stored"]
    assert await store.rollups.totals(decisions.campaign.id) == []
    await store.events.append([told.row("impression")])
    (totals,) = await store.rollups.totals(decisions.campaign.id)
    assert (totals.impressions, totals.clicks, totals.orders, totals.value_cents) == (1, 1, 1, 300)


async def test_late_events_count_at_the_time_of_their_decision(store: Store, decisions: Decisions) -> None:
    old = decisions.new(at_ms=NOW - 40 * 86_400_000)
    await store.events.append([old.row("impression"), old.row("click", after_ms=40 * 86_400_000)])
    (point,) = await store.rollups.series(decisions.campaign.id, step="hour")
    assert point.at_ms == old.at_ms - old.at_ms % 3_600_000
    assert point.clicks == 1


async def test_twins_inside_a_batch(store: Store, decisions: Decisions) -> None:
    told, other = decisions.new(), decisions.new(variant=1)
    same = told.row("impression")
    rows = [same, same, told.row("impression"), told.row("click"), told.row("click"), other.row("impression")]
    answer = await store.events.append(rows)
    assert answer.status == ["stored", "duplicate", "duplicate", "stored", "duplicate", "stored"]
    assert [t.impressions for t in await store.rollups.totals(decisions.campaign.id)] == [1, 1]


async def test_an_id_taken_by_another_event_does_not_bar_the_same_news(store: Store, decisions: Decisions) -> None:
    told, other = decisions.new(), decisions.new(variant=1)
    taken = told.row("impression")
    await store.events.append([taken])
    rows = [other.row("click", event_id=taken.event_id), other.row("impression"), other.row("click")]
    answer = await store.events.append(rows)
    assert answer.status == ["duplicate", "stored", "stored"]
    recount = await store.rollups.recount(decisions.campaign.id)
    assert await store.rollups.totals(decisions.campaign.id) == recount.totals
    assert recount.totals[1].clicks == 1


async def test_an_id_not_used_up_may_come_again(store: Store, decisions: Decisions) -> None:
    told = decisions.new()
    await store.events.append([told.row("impression"), told.row("click")])
    again = told.row("click")
    answer = await store.events.append([again, told.row("view", event_id=again.event_id)])
    assert answer.status == ["duplicate", "stored"]


async def test_a_decision_tells_of_so_many_orders_and_no_more(store: Store, decisions: Decisions) -> None:
    told = decisions.new()
    rows = [told.row("impression"), *(told.purchase(f"o{n}", 1) for n in range(MAX_ORDERS + 3)), told.purchase("o1", 9)]
    answer = await store.events.append(rows)
    assert answer.status.count("stored") == 1 + MAX_ORDERS
    assert answer.status[1 + MAX_ORDERS :] == ["refused"] * 3 + ["duplicate"]
    assert set(answer.problems) == {21, 22, 23}
    one_by_one = decisions.new()
    for n in range(MAX_ORDERS):
        await store.events.append([one_by_one.purchase(f"o{n}", 1)])
    late = await store.events.append([one_by_one.purchase("new", 1), one_by_one.purchase("o3", 1)])
    assert late.status == ["refused", "duplicate"]
    (totals,) = await store.rollups.totals(decisions.campaign.id)
    assert totals.value_cents == totals.orders == MAX_ORDERS


async def test_a_decision_tells_of_so_many_items_and_no_more(store: Store, decisions: Decisions) -> None:
    told = decisions.new()
    rows = [told.row("view" if n % 2 else "cart", ref=f"i{n}") for n in range(MAX_ITEMS + 2)]
    rows.append(told.row("view", ref="i41"))  # the twin of a refused one
    answer = await store.events.append([told.row("impression"), *rows, told.purchase("o", 7)])
    assert answer.status == ["stored"] * (1 + MAX_ITEMS) + ["refused"] * 3 + ["stored"]
    (totals,) = await store.rollups.totals(decisions.campaign.id)
    assert (totals.views, totals.carts, totals.orders) == (1, 1, 1)


async def test_one_bad_row_is_refused_alone(store: Store, decisions: Decisions) -> None:
    good = [decisions.new(variant=n % 3) for n in range(20)]
    rows = [told.row("impression") for told in good]
    rows[3].segment = "mob\0ile"
    rows[7].ref = "\ud800"
    rows[11].occurred_ms = 2**70
    rows[13] = good[13].vital("LCP", float("nan"))
    rows[14] = good[14].row("rating")
    rows[15] = good[15].row("web_vital")
    rows[16].variant_id = None
    rows[19] = loose("custom", good[0].site_id, None, name="x", props={"k": "a\0b"})
    answer = await store.events.append(rows)
    bad = {3, 7, 11, 13, 14, 15, 16, 19}
    assert {n for n, status in enumerate(answer.status) if status == "refused"} == bad == set(answer.problems)
    assert all(answer.problems.values())
    assert [s for n, s in enumerate(answer.status) if n not in bad] == ["stored"] * 12
    assert sum(t.impressions for t in await store.rollups.totals(decisions.campaign.id)) == 12


async def test_odd_characters_are_kept_as_they_are(store: Store, decisions: Decisions) -> None:
    visitor = uuid4()
    ref, text = "пример-\"'\\{},:%$1", "quote ' \" back\\slash \n\t {} 🎈 \u2028"
    row = loose("custom", decisions.campaign.site_id, visitor, ref=ref, name="x", props={"k": text})
    await store.events.append([row])
    (event,) = (await store.privacy.export(visitor))["events"]
    assert (event["ref"], event["props"]) == (ref, {"k": text})


async def test_an_empty_append_is_nothing(store: Store) -> None:
    answer = await store.events.append([])
    assert (answer.status, answer.changed) == ([], frozenset())


async def test_more_rows_than_one_statement_takes(
    store: Store, decisions: Decisions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arauto.store.events._MAX_ROWS", 7)
    told = [decisions.new(variant=n % 3) for n in range(10)]
    rows = [t.row(kind) for kind in ("click", "impression") for t in told]
    assert set((await store.events.append(rows)).status) == {"stored"}
    assert sum(t.clicks for t in await store.rollups.totals(decisions.campaign.id)) == 10


class TestAttribution:
    """An outcome with a visitor and no decision belongs to the last exposure within the window."""

    async def test_it_is_joined_to_the_last_exposure(self, store: Store, decisions: Decisions) -> None:
        visitor, site = uuid4(), decisions.campaign.site_id
        first = decisions.new(visitor=visitor, variant=0)
        second = decisions.new(visitor=visitor, variant=1, at_ms=NOW + 60_000)
        await store.events.append([second.row("impression"), first.row("impression")])
        bought = loose("purchase", site, visitor, NOW + 120_000, ref="o", value_cents=50, currency="BRL")
        answer = await store.events.append([bought])
        assert answer.status == ["stored"]
        assert answer.changed == {decisions.campaign.id}
        totals = await store.rollups.totals(decisions.campaign.id)
        assert [t.value_cents for t in totals] == [0, 50]
        assert totals == (await store.rollups.recount(decisions.campaign.id)).totals
        assert (await store.events.append([bought])).status == ["duplicate"]

    async def test_its_impression_may_come_in_the_same_batch(self, store: Store, decisions: Decisions) -> None:
        told = decisions.new(visitor=uuid4())
        rows = [loose("click", told.site_id, told.visitor, NOW + 5000), told.row("impression")]
        assert (await store.events.append(rows)).status == ["stored", "stored"]
        assert (await store.rollups.totals(decisions.campaign.id))[0].clicks == 1

    async def test_outside_the_window_elsewhere_or_unseen_it_is_only_kept(self, store: Store) -> None:
        here = Decisions(*await new_campaign(store, "here", attribution_ms=60_000))
        there = Decisions(*await new_campaign(store, "there", site="other"))
        visitor = uuid4()
        told, unseen = here.new(visitor=visitor), here.new(visitor=visitor, at_ms=NOW + 100)
        await store.events.append([told.row("impression"), unseen.row("click"), there.new().row("impression")])
        rows = [
            loose("click", here.campaign.site_id, visitor, NOW + 1000 + 60_001),
            loose("click", here.campaign.site_id, visitor, NOW),
            loose("click", there.campaign.site_id, visitor, NOW + 2000),
            loose("click", here.campaign.site_id, uuid4(), NOW + 2000),
            loose("click", here.campaign.site_id, visitor, NOW + 2000, campaign_id=there.campaign.id),
            loose("click", here.campaign.site_id, None, NOW + 2000),
            loose("click", 2**40, visitor, NOW + 2000),
        ]
        assert (await store.events.append(rows)).status == ["stored"] * 6 + ["refused"]
        assert (await store.rollups.totals(here.campaign.id))[0].clicks == 0
        assert (await store.events.append([loose("click", here.campaign.site_id, visitor, NOW + 61_000)])).status == [
            "stored"
        ]
        assert (await store.rollups.totals(here.campaign.id))[0].clicks == 1


async def test_many_writers_lose_nothing_and_count_nothing_twice(settings, store: Store, decisions: Decisions) -> None:
    """Three stores append overlapping batches of the same decisions at once, in different orders."""
    model = Model()
    told = [decisions.new(variant=n % 3, visitor=uuid4() if n % 2 else None) for n in range(40)]
    rows = [
        row for t in told for row in (t.row("impression"), t.row("click"), t.purchase("o", 100), t.vital("INP", 80))
    ]
    rows += [loose("custom", decisions.campaign.site_id, None, name=f"n{n}") for n in range(20)]
    async with await Store.open(settings) as second, await Store.open(settings) as third:
        batches = []
        for writer in (store, second, third):
            shuffled = decisions.rng.sample(rows, len(rows))
            batches += [writer.events.append(shuffled[n : n + 15]) for n in range(0, len(rows), 15)]
        answers = await asyncio.gather(*batches)
    stored = sum(answer.status.count("stored") for answer in answers)
    assert stored == len(rows)
    model.append(rows)
    await check(store, model, decisions.campaign.id)


async def test_erased_visitors_are_not_stored(store: Store, decisions: Decisions) -> None:
    gone, here = uuid4(), uuid4()
    await store.privacy.erase(gone, tomb_of(gone), "visitor")
    told, other = decisions.new(visitor=gone), decisions.new(visitor=here)
    rows = [told.row("impression"), told.row("impression"), other.row("impression"), loose("click", told.site_id, gone)]
    assert (await store.events.append(rows)).status == ["erased", "erased", "stored", "erased"]
    (totals,) = await store.rollups.totals(decisions.campaign.id)
    assert totals.impressions == 1
