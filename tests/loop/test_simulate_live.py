"""Simulation, replay and report on the real store and engine room: the same routes, without a socket."""

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import Response

from arauto.core.brief import Brief, Message
from arauto.core.campaign import CampaignPlan, Copy, Origin
from arauto.core.clock import SystemClock
from arauto.core.events import DecideQuery
from arauto.loop.remote import Remote
from arauto.loop.replay import replay_log
from arauto.loop.report import build_report
from arauto.loop.runtime import Runtime
from arauto.loop.simulate import Simulation
from tests.loop.stub import TOKEN, Stub
from tests.loop.test_replay import comparable, make_log
from tests.loop.test_simulate import COPIES, FIELDS, ledger


class Live(Stub):
    """The stub's routes in front of a :class:`Runtime`."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self.runtime = runtime
        self.clock = SystemClock()

    async def start(self) -> None:
        self.site = await self.runtime.store.catalogue.ensure_site("shop", [])
        await self.runtime.sync()

    async def decide(self, request: Request) -> Response:
        query = msgspec.json.decode(await request.body(), type=DecideQuery)
        return Response(self.runtime.decide(query, gpc="sec-gpc" in request.headers))

    async def events(self, request: Request) -> Response:
        answer = await self.runtime.ingest(await request.body(), gpc="sec-gpc" in request.headers)
        return Response(msgspec.json.encode(answer))

    async def create(self, request: Request) -> Response:
        body = await self._admin(request)
        campaign = await self.runtime.store.catalogue.create_campaign(
            body["site"],
            body["slug"],
            body["name"],
            msgspec.convert(body["brief"], Brief, strict=False),
            Message(language="en", product="x", call_to_action="Learn more"),
            msgspec.convert(body["plan"], CampaignPlan),
            "test",
        )
        copies = [(copy, Origin(engine="given")) for copy in msgspec.convert(body["copies"], list[Copy])]
        variants = await self.runtime.store.catalogue.add_kit(campaign.id, copies, {}, "test")
        return Response(msgspec.json.encode({**msgspec.structs.asdict(campaign), "variants": variants, "job": None}))

    async def move(self, request: Request) -> Response:
        body = await self._admin(request)
        campaign_id = request.path_params["id"]
        campaign = await self.runtime.store.catalogue.set_campaign_state(campaign_id, body["state"], "test")
        await self.runtime.reload(campaign_id)
        return Response(msgspec.json.encode(campaign))


@pytest.fixture
async def live(settings):
    runtime = await Runtime.open(settings)
    try:
        live = Live(runtime)
        await live.start()
        yield live
    finally:
        await runtime.close()


@pytest.fixture
async def remote(live):
    async with Remote("http://live", key=live.site.key, token=TOKEN, transport=live.transport()) as remote:
        yield remote


async def test_the_stores_totals_equal_what_was_sent(live, remote):
    plan = CampaignPlan(simulated=True, seed=1, refresh_ms=0)
    campaign = await remote.create("relogio", "Relógio", Brief(product="Relógio"), plan, COPIES)
    await remote.move(campaign.id, "live")
    sent = await Simulation(remote, "relogio", seed=7).run(800)
    assert sent.stored == sent.events
    assert sent.duplicates == sent.repeats > 0

    store = live.runtime.store
    names = {variant.id: variant.name for variant in campaign.variants}
    totals = await store.rollups.totals(campaign.id)
    counted = [name for name in FIELDS if name != "vitals"]
    kept = {(names[row.variant_id], row.segment): {name: getattr(row, name) for name in counted} for row in totals}
    assert kept == {key: {name: row[name] for name in counted} for key, row in ledger(sent).items()}
    assert sum(row.purchases for row in totals) > 0
    assert sum(row.ratings for row in totals) > 0
    readings = sum(sum(row.buckets.values()) for row in await store.rollups.vitals(campaign.id))
    assert readings == sum(arm.vitals for arm in sent.arms)
    recount = await store.rollups.recount(campaign.id)
    assert recount.totals == totals

    report = await build_report(store, campaign.id)
    assert report.simulated
    assert report.totals.impressions == sum(arm.impressions for arm in sent.arms)
    assert report.totals.revenue_cents == sum(arm.value_cents for arm in sent.arms)
    assert report.totals.vitals["LCP"].low < report.totals.vitals["LCP"].p75 < report.totals.vitals["LCP"].high
    assert sum(row.share for row in report.variants) == pytest.approx(1)
    assert report.shares[0].shares.keys() == {row.name for row in report.variants}


async def test_a_replay_gives_the_same_twice_in_one_store(live, remote):
    """Other ids of campaign and variants, and the events of the first run: nothing leaks in."""
    log = make_log(rows=300)
    one = await replay_log(log, remote, seed=5, slug="one")
    two = await replay_log(log, remote, seed=5, slug="two")
    hide = {"campaign_id": 0, "slug": ""}
    assert msgspec.structs.replace(comparable(one), **hide) == msgspec.structs.replace(comparable(two), **hide)
    report = await build_report(live.runtime.store, two.campaign_id)
    assert (report.totals.impressions, report.totals.clicks) == (two.matched, two.clicks)
    assert report.state == "ended"
    assert not report.simulated
