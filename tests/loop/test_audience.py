"""The audience on a real database: an event moves a visitor at once, a crash loses nothing, erasure leaves nothing."""

import json
from uuid import UUID

import msgspec
import numpy as np
import pytest

from arauto.audience import NOBODY, Recipe, parse
from arauto.core.errors import NotFoundError
from arauto.core.events import DecideQuery
from arauto.core.ids import uuid7
from arauto.loop import Audience, DecideAnswer, Runtime, open_audience, train_encoder
from arauto.loop import audience as module
from arauto.loop.policy import Groups, Ramp, make_policy
from tests.loop.made import launch, leave_alone, until
from tests.store.test_privacy import dump, names


@pytest.fixture
async def runtime(runtime):
    await runtime.audience.ready.wait()
    leave_alone(runtime)
    return runtime


def person(number):
    return UUID(int=(number + 1) << 70 | 0x4000_8000_0000_0000_0001)


class Shop:
    """Visitors of a site, who decide, look and buy."""

    def __init__(self, runtime, site, clock):
        self.runtime, self.site, self.clock = runtime, site, clock

    def decide(self, who, slug="watch"):
        query = DecideQuery(key=self.site.key, campaign=slug, visitor=person(who), consent="granted")
        return msgspec.json.decode(self.runtime.decide(query), type=DecideAnswer)

    def event(self, who, kind, receipt=None, **facts):
        self.clock.advance(5)
        now = self.clock.now_ms()
        made = {"type": kind, "id": str(uuid7(now)), "at": now, "visitor": str(person(who)), **facts}
        return {**made, "receipt": receipt} if receipt else made

    async def send(self, *events, consent="granted", gpc=False):
        body = msgspec.json.encode({"key": self.site.key, "events": events, "consent": consent})
        return await self.runtime.ingest(body, gpc=gpc)

    async def look(self, who, *items, kind="view"):
        return await self.send(*(self.event(who, kind, item=item) for item in items))


async def opened_shop(runtime, clock, **plan):
    site, campaign = await launch(runtime.store, **plan)
    await runtime.sync(all_over=True)
    return Shop(runtime, site, clock), campaign


def near(runtime, who, k=5):
    return {one.visitor for one in runtime.audience.neighbours(person(who), k).neighbours}


async def crowd(shop, count=48):
    """Visitors of two tastes."""
    for who in range(count):
        taste = "ab"[who % 2]
        await shop.look(who, *(f"{taste}{(who + n) % 6}" for n in range(3)))


async def test_an_event_changes_the_neighbours_before_it_is_answered(runtime, clock):
    shop, _ = await opened_shop(runtime, clock)
    await crowd(shop, 20)
    assert all((one.int >> 70) % 2 == 1 for one in near(runtime, 0))
    await shop.look(0, "b0", "b1", "b2", "b3", "b4", "b5", kind="cart")
    assert all((one.int >> 70) % 2 == 0 for one in near(runtime, 0))


async def test_only_with_consent_and_not_twice(runtime, clock):
    shop, _ = await opened_shop(runtime, clock)
    await shop.send(shop.event(1, "view", item="x"), consent="denied")
    await shop.send(shop.event(2, "view", item="x"), gpc=True)
    assert len(runtime.audience.visitors) == 0
    event = shop.event(3, "view", item="x")
    await shop.send(event)
    state = runtime.audience.visitors.state(person(3))
    assert (await shop.send(event)).duplicates == 1
    assert runtime.audience.visitors.state(person(3)) == state
    with pytest.raises(NotFoundError):
        runtime.audience.neighbours(person(1), 5)


async def test_a_consent_taken_back_ends_it_for_good(runtime, clock, settings):
    shop, _ = await opened_shop(runtime, clock)
    await crowd(shop, 6)
    await runtime.audience.save()
    await shop.send(shop.event(2, "view", item="a1"), consent="denied")
    assert person(2) not in runtime.audience.visitors
    assert await again(runtime) == {person(who) for who in (0, 1, 3, 4, 5)}
    await shop.look(2, "a9")
    assert person(2) in runtime.audience.visitors


async def again(runtime, **given):
    """The visitors that another start would know."""
    fresh = Audience(runtime.store, runtime.book, runtime.clock, runtime.settings.home, **given)
    await fresh.load()
    return set(fresh.visitors)


@pytest.mark.parametrize("saved", [False, True])
async def test_after_a_crash_the_log_makes_the_same_neighbours(runtime, clock, saved):
    shop, _ = await opened_shop(runtime, clock)
    for who in range(16):
        receipt = shop.decide(who).receipt
        await shop.send(*(shop.event(who, kind, receipt) for kind in ("impression", "click", "view")))
        if who == 8 and saved:
            await runtime.audience.save()
            clock.advance(module.OVERLAP_MS + 1)
    await crowd(shop, 16)
    await shop.send(shop.event(3, "purchase", value=10, currency="BRL", order="o1"))
    fresh = Audience(runtime.store, runtime.book, clock, runtime.settings.home)
    await fresh.load()
    own = runtime.audience.visitors
    assert set(fresh.visitors) == set(own)
    for who in own:
        assert fresh.visitors.state(who) == own.state(who)
        assert fresh.neighbours(who, 5) == runtime.audience.neighbours(who, 5)
    (mine, other) = (one.ledger.everyone("purchase") for one in (own, fresh.visitors))
    assert mine.keys() == other.keys()
    assert all(mine[variant] == pytest.approx(other[variant]) for variant in mine)
    assert fresh.visitors.names == own.names


async def test_an_erased_visitor_is_nowhere(runtime, clock, settings):
    shop, _ = await opened_shop(runtime, clock)
    await crowd(shop)
    receipt = shop.decide(5).receipt
    await shop.send(shop.event(5, "impression", receipt))
    runtime.audience._group()
    await runtime.audience.save()
    assert "audience" in await runtime.export(person(5))
    index = runtime.audience.visitors.index
    count = len(index)
    await runtime.erase(person(5), "test")
    assert not names(await dump(runtime.store), person(5))
    assert len(index) == count - 1
    assert all(person(5) not in near(runtime, who, 47) for who in range(48) if who != 5)
    assert person(5) not in runtime.audience.select(parse("views >= 0"))
    assert person(5) not in [
        one.visitor for one in runtime.audience.visitors.alike([person(n) for n in range(1, 40, 2)], 99)
    ]
    with pytest.raises(NotFoundError):
        await runtime.export(person(5))
    late = await shop.look(5, "a1")
    assert (late.stored, len(late.refused)) == (0, 1)
    assert person(5) not in runtime.audience.visitors
    assert person(5) not in await again(runtime)


async def test_a_state_that_was_being_saved_while_its_visitor_was_erased_is_not_kept(runtime, clock):
    shop, _ = await opened_shop(runtime, clock)
    await shop.look(5, "a1")
    await runtime.store.privacy.erase(person(5), runtime.book.tomb(person(5)), "another process")
    await runtime.audience.save()
    assert not names(await dump(runtime.store), person(5))


async def test_another_process_hears_of_an_erasure_and_of_events(settings, clock):
    one, other = await Runtime.open(settings, clock=clock), await Runtime.open(settings, clock=clock)
    try:
        await one.audience.ready.wait()
        await other.audience.ready.wait()
        shop, _ = await opened_shop(one, clock)
        await crowd(shop, 6)
        await other.audience.tend()
        assert set(other.audience.visitors) == set(one.audience.visitors)
        await shop.send(shop.event(4, "view", item="a1"), consent="denied")
        await other.audience.tend()
        assert person(4) not in other.audience.visitors
        await one.erase(person(3), "test")
        await until(lambda: person(3) not in other.audience.visitors)
        await other.audience.tend()
        assert person(3) not in other.audience.visitors
    finally:
        await one.close()
        await other.close()


async def test_an_encoder_is_trained_on_the_log_and_taken_over(runtime, clock, settings):
    shop, _ = await opened_shop(runtime, clock)
    await crowd(shop)
    encoder = await train_encoder(settings, Recipe(ridge=5.0), dimensions=8)
    assert sorted(encoder.names) == sorted(f"{taste}{n}" for taste in "ab" for n in range(6))
    file = settings.home / "audience" / "encoder.npz"
    encoder.save(file)
    await runtime.audience.tend()
    assert runtime.audience.visitors.encoder.version == encoder.version
    assert all((one.int >> 70) % 2 == 1 for one in near(runtime, 0))
    items = (await runtime.offers(person(0), 3)).items
    assert items
    assert {one.item[0] for one in items} == {"a"}
    file.with_suffix(".json").write_text("{}")
    file.write_bytes(b"nonsense, and longer than before" * 999)
    await runtime.audience.tend()
    assert runtime.audience.visitors.encoder.version == encoder.version


async def test_offers_name_campaign_variant_and_reason(runtime, clock):
    shop, _ = await opened_shop(runtime, clock)
    for who in range(30):
        answer = shop.decide(who)
        kinds = ["impression", "click"] if answer.variant == "a" else ["impression"]
        await shop.send(*(shop.event(who, kind, answer.receipt) for kind in kinds))
    await crowd(shop, 30)
    found = await runtime.offers(person(0), 2)
    assert found.known
    (offer,) = found.offers
    assert (offer.campaign, offer.variant) == ("watch", "a")
    assert "similar visitors clicked this" in offer.reason["en"]
    stranger = await runtime.offers(person(999), 2)
    assert not stranger.known
    assert (stranger.segment, stranger.items) == (NOBODY, [])
    assert stranger.offers[0].variant == "a"
    assert "to everyone" in stranger.offers[0].reason["en"]
    answer = shop.decide(0)
    await shop.send(
        shop.event(0, "impression", answer.receipt),
        shop.event(0, "purchase", answer.receipt, value=9, currency="BRL", order="o"),
    )
    assert (await runtime.offers(person(0), 2)).offers == []


@pytest.mark.no_cover
async def test_decisions_follow_the_segment_from_the_next_one_on(runtime, clock):
    """Taste a clicks the first variant only, taste b the second: each comes to be shown what it clicks."""
    shop, campaign = await opened_shop(runtime, clock, allocation="audience", floor=0.01)
    await crowd(shop)
    runtime.audience._group()
    for _ in range(12):
        for who in range(48):
            answer = shop.decide(who)
            liked = answer.variant == ("a" if who % 2 == 0 else "b")
            kinds = ["impression", "click"] if liked else ["impression"]
            await shop.send(*(shop.event(who, kind, answer.receipt) for kind in kinds))
    policy = runtime.decider.policy(campaign.id)
    assert len(policy.mixes) == len(policy.groups) + 1 >= 3
    answers = {who: [shop.decide(who) for _ in range(40)] for who in (0, 1)}
    assert sum(one.variant == "a" for one in answers[0]) >= 36
    assert sum(one.variant == "b" for one in answers[1]) >= 36
    assert all(0.9 < one.propensity <= 1 for one in answers[0] if one.variant == "a")
    before = runtime.audience.group_of(person(0))
    await shop.look(0, *(f"b{n}" for n in range(6)), *(f"b{n}" for n in range(6)), kind="cart")
    assert runtime.audience.group_of(person(0)) != before
    assert sum(shop.decide(0).variant == "b" for _ in range(40)) >= 36


async def test_a_release_of_another_allocation_leaves_the_segments_to_the_control(runtime, clock):
    _, campaign = await opened_shop(runtime, clock, allocation="audience")
    campaign = await runtime.store.catalogue.campaign(campaign.id)
    variants = await runtime.store.catalogue.variants(campaign.id)
    totals = await runtime.store.rollups.totals(campaign.id)

    def audience(arms, _goal):
        counts = np.full((len(arms), 3), 10.0)
        return Groups((4, 7, 9), counts / 2, counts)

    for change in ({}, {"allocation": "contextual"}, {"allocation": "uniform"}, {"allocation": "thompson"}):
        ramp = Ramp(stage=2, share=0.3, change=change) if change else None
        policy = make_policy(campaign, variants, totals, 5, ramp, audience)
        assert policy.groups == (4, 7, 9)
        assert len(policy.mixes) == 4
        for mix in policy.mixes:
            assert sum(draw.chance for draw in mix) == pytest.approx(1.0)
    candidates = Ramp(stage=2, share=0.5, candidates=(variants[1].id,))
    policy = make_policy(campaign, variants, totals, 5, candidates, audience)
    assert {draw.variant_id for draw in policy.mixes[0]} == {one.id for one in variants}


async def test_the_one_longest_away_makes_room(runtime, clock, monkeypatch):
    shop, _ = await opened_shop(runtime, clock)
    await crowd(shop, 4)
    monkeypatch.setattr(module, "MOST_VISITORS", 4)
    await shop.look(9, "a1")
    assert set(runtime.audience.visitors) == {person(who) for who in (1, 2, 3, 9)}


async def test_a_terminal_can_ask_the_audience(runtime, clock, settings):
    shop, _ = await opened_shop(runtime, clock)
    await crowd(shop)
    await runtime.audience.save()
    told = []

    async def ask(own):
        told.append(own.segments())

    await open_audience(settings, ask)
    assert told[0].visitors == 48
    assert sum(one.size for one in told[0].segments) == 48
    assert json.loads(msgspec.json.encode(told[0]))["drift"]["shifted"] is False
