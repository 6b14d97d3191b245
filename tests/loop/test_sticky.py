"""Assignment by visitor: sticky variants, layers, the holdout, and evidence that counts each visitor once."""

import asyncio
from collections import Counter, defaultdict
from uuid import UUID, uuid4

import msgspec
import pytest

from arauto.core.clock import FakeClock
from arauto.core.errors import ConflictError, InputError
from arauto.core.events import HELD_OUT, PARTS, DecideQuery
from arauto.core.ids import uuid7
from arauto.core.receipts import ANONYMOUS
from arauto.experiments import Guardrail
from arauto.loop import DecideAnswer, NewRelease, Runtime, build_report, read_experiment, read_release, start_release
from arauto.loop.campaigns import NewCampaign, create_campaign
from arauto.loop.decide import Decider
from arauto.loop.policy import Ramp, check_deal, make_policy
from arauto.store import ArmTotals
from tests.loop.made import CTR, copies, launch_even
from tests.loop.test_decide import BOOK, SITE, TOTALS, VARIANTS, campaign, variant

VISITORS = [UUID(int=n << 64 | 7) for n in range(1, 1501)]
STAGED = [*VARIANTS[:2], variant(13, state="staged")]


def serving(of, variants=VARIANTS, totals=TOTALS, ramp=None):
    made = Decider(BOOK, FakeClock())
    made.know([SITE])
    made.put(SITE, of, variants, make_policy(of, variants, totals, 5, ramp))
    return made


def ask(made, visitor, consent="granted", **query):
    asked = DecideQuery(key="key-3", campaign="watch", visitor=visitor, consent=consent, **query)
    answer = msgspec.json.decode(made.decide(asked), type=DecideAnswer)
    return BOOK.read(answer.receipt)


def test_a_visitor_sees_the_same_variant_everywhere_and_always():
    of = campaign(assignment="visitor", allocation="fixed", shares={"v11": 0.6, "v12": 0.3, "v13": 0.1})
    one, other = serving(of), serving(of)
    seen = {visitor: ask(one, visitor).variant_id for visitor in VISITORS}
    assert {visitor: ask(other, visitor).variant_id for visitor in VISITORS} == seen
    dealt = Counter(seen.values())
    assert [dealt[arm] / 1500 for arm in (11, 12, 13)] == pytest.approx([0.6, 0.3, 0.1], abs=0.04)
    assert [ask(one, visitor).propensity for visitor in VISITORS if seen[visitor] == 12] == pytest.approx(
        [0.3] * dealt[12]
    )
    # Another campaign is another coin; the id alone does not tell the arm.
    again = serving(msgspec.structs.replace(of, id=8))
    assert {visitor: ask(again, visitor).variant_id for visitor in VISITORS} != seen


def test_without_consent_each_decision_tosses_its_own_coin():
    made = serving(campaign(assignment="visitor", allocation="uniform"))
    receipts = [ask(made, VISITORS[0], "denied") for _ in range(60)]
    assert {receipt.variant_id for receipt in receipts} == {11, 12, 13}
    assert {receipt.visitor_tag for receipt in receipts} == {ANONYMOUS}


def test_a_bandit_moves_only_those_whose_variant_lost():
    of = campaign(assignment="visitor", allocation="thompson")
    told = [ArmTotals(variant_id=11, segment="mobile", impressions=900, clicks=30), *TOTALS[2:]]
    before, after = serving(of, totals=[]), serving(of, totals=told)
    p, q = before.policy(7).propensities, after.policy(7).propensities
    moved = Counter()
    for visitor in VISITORS:
        moved[ask(before, visitor).variant_id, ask(after, visitor).variant_id] += 1
    assert all(q[b] / p[b] > q[a] / p[a] for a, b in moved if a != b)
    assert sum(n for (a, b), n in moved.items() if b == 12) / 1500 == pytest.approx(q[12], abs=0.04)


def test_a_release_keeps_whom_it_has_and_its_coin_is_its_own():
    of = campaign(assignment="visitor", allocation="uniform")

    def changed(share, release=1):
        made = serving(of, STAGED, ramp=Ramp(stage=40, share=share, candidates=(13,), release=release))
        told = {visitor: ask(made, visitor) for visitor in VISITORS}
        assert {(r.variant_id, r.stage) for r in told.values()} == {(11, 40), (12, 40), (13, 41)}
        assert all(r.propensity == pytest.approx(share) for r in told.values() if r.variant_id == 13)
        return {visitor for visitor, r in told.items() if r.stage == 41}

    few, many = changed(0.1), changed(0.5)
    assert few < many
    assert len(many) / 1500 == pytest.approx(0.5, abs=0.04)
    other = changed(0.5, release=2)
    assert len(many & other) / 1500 == pytest.approx(0.25, abs=0.04)


def test_campaigns_of_one_layer_never_meet():
    parts = ((0.0, 0.4), (0.4, 1.0))
    made = [serving(campaign(assignment="visitor", layer="home", layer_part=part)) for part in parts]
    inside = [{visitor for visitor in VISITORS if _shown(one, visitor)} for one in made]
    assert inside[0].isdisjoint(inside[1])
    assert inside[0] | inside[1] == set(VISITORS)
    assert len(inside[0]) / 1500 == pytest.approx(0.4, abs=0.04)
    with pytest.raises(ConflictError):  # nobody can be told apart without consent
        ask(made[0], VISITORS[0], "denied")


def _shown(made, visitor):
    try:
        return bool(ask(made, visitor))
    except ConflictError:
        return False


def test_the_holdout_gets_the_default_and_the_others_their_propensities():
    of = campaign(assignment="visitor", allocation="uniform", holdout=0.2)
    made = serving(of)
    told = [ask(made, visitor) for visitor in VISITORS]
    held = [receipt for receipt in told if receipt.stage == HELD_OUT]
    assert len(held) / 1500 == pytest.approx(0.2, abs=0.04)
    assert {(receipt.variant_id, receipt.propensity) for receipt in held} == {(11, 1.0)}
    assert all(receipt.propensity == pytest.approx(1 / 3) for receipt in told if receipt.stage == 0)
    # A release passes them by.
    ramp = Ramp(stage=40, share=0.5, candidates=(13,), release=1)
    released = serving(of, STAGED, ramp=ramp)
    again = [ask(released, visitor) for visitor in VISITORS]
    assert [r.stage == HELD_OUT for r in again] == [r.stage == HELD_OUT for r in told]


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        ({"layer": "home"}, "layer"),
        ({"holdout": 0.1}, "holdout"),
        ({"assignment": "visitor", "layer": "home", "layer_part": (0.5, 0.5)}, "layer_part"),
        ({"assignment": "visitor", "layer_part": (0.5, 0.6)}, "layer_part"),
    ],
)
def test_plans_that_contradict_themselves_are_refused(plan, field):
    with pytest.raises(InputError) as refused:
        check_deal(campaign(**plan).plan)
    assert refused.value.field == field


async def test_parts_of_a_layer_may_not_touch(store, settings):
    def new(slug, low, high, **more):
        plan = {"assignment": "visitor", "layer": "home", "layer_part": (low, high)}
        return NewCampaign(brief={"product": "tea"}, slug=slug, plan=msgspec.convert({**plan, **more}, type(PLAN)))

    first = await create_campaign(store, settings, new("a", 0.0, 0.5), actor="test")
    await create_campaign(store, settings, new("b", 0.5, 1.0), actor="test")
    await create_campaign(store, settings, new("c", 0.2, 0.6, layer="cart"), actor="test")
    with pytest.raises(ConflictError) as refused:
        await create_campaign(store, settings, new("d", 0.4, 0.45), actor="test")
    assert "a" in refused.value.problem
    for state in ("live", "ended"):
        await store.catalogue.set_campaign_state(first.campaign.id, state, "test")
    await create_campaign(store, settings, new("d", 0.4, 0.45), actor="test")


PLAN = campaign().plan


class Guests:
    """Visitors who come back, on a real runtime."""

    def __init__(self, runtime, site, clock):
        self.runtime, self.site, self.clock = runtime, site, clock

    async def visit(self, visitor, click=False, consent="granted", order=None):
        query = DecideQuery(key=self.site.key, campaign="watch", visitor=visitor, consent=consent)
        answer = msgspec.json.decode(self.runtime.decide(query), type=DecideAnswer)
        self.clock.advance(5)
        now = self.clock.now_ms()
        kinds = ["impression"] + ["click"] * click
        events = [
            {"type": kind, "id": str(uuid7(now)), "at": now, "receipt": answer.receipt, "visitor": str(visitor)}
            for kind in kinds
        ]
        body = {"key": self.site.key, "consent": consent, "events": events}
        done = await self.runtime.ingest(msgspec.json.encode(body))
        assert done.stored == len(kinds)
        return self.runtime.book.read(answer.receipt)


async def test_a_release_counts_each_visitor_once(runtime, clock):
    site, made = await launch_even(runtime.store, assignment="visitor")
    await runtime.reload(made.id)
    new = NewRelease(
        copies=copies("new"), steps=(0.5, 1.0), guardrails=(Guardrail(name="ctr"),), least_exposures=10_000
    )
    release = await start_release(runtime.store, made.id, new, actor="test")
    await runtime.reload(made.id)
    guests = Guests(runtime, site, clock)
    sides = defaultdict(set)
    people = [uuid4() for _ in range(20)]
    for _ in range(3):
        for visitor in people:
            receipt = await guests.visit(visitor, click=True)
            sides[visitor].add(receipt.stage & 1)
    assert all(len(seen) == 1 for seen in sides.values())
    shown = await read_release(runtime.store, release.id)
    assert shown.exposures + shown.control_exposures == 20
    assert shown.exposures == sum(1 in seen for seen in sides.values())
    # Without consent each decision is a unit of its own; all of them are in the totals.
    for _ in range(4):
        await guests.visit(people[0], consent="denied")
    shown = await read_release(runtime.store, release.id)
    assert shown.exposures + shown.control_exposures == 24
    recount = await runtime.store.rollups.recount(made.id)
    assert sum(row.impressions for row in recount.totals) == 64
    assert await runtime.store.rollups.staged(made.id) == recount.staged
    # Both decisions of a newcomer in one batch: the earlier one counts, and a late event of it still does.
    await _two_at_once(guests, uuid4())
    shown = await read_release(runtime.store, release.id)
    assert shown.exposures + shown.control_exposures == 25
    # Who is erased leaves nothing behind.
    await runtime.store.privacy.erase(people[0], runtime.book.tomb(people[0]), "test")
    left = await runtime.store.rollups.staged(made.id)
    assert sum(row.impressions for row in left.totals) == 24
    rows = await runtime.store._database.fetch("SELECT count(*) AS n FROM entrants")
    assert rows[0]["n"] == 20


async def _two_at_once(guests, visitor):
    runtime, now = guests.runtime, guests.clock.now_ms()
    query = DecideQuery(key=guests.site.key, campaign="watch", visitor=visitor, consent="granted")
    events = []
    for _ in range(2):
        answer = msgspec.json.decode(runtime.decide(query), type=DecideAnswer)
        guests.clock.advance(5)
        events.append(
            {"type": "impression", "id": str(uuid7(now)), "at": now, "receipt": answer.receipt, "visitor": str(visitor)}
        )
    body = {"key": guests.site.key, "consent": "granted", "events": events}
    assert (await runtime.ingest(msgspec.json.encode(body))).stored == 2
    first = {**events[0], "type": "click", "id": str(uuid7(now))}
    body = {"key": guests.site.key, "consent": "granted", "events": [first]}
    assert (await runtime.ingest(msgspec.json.encode(body))).stored == 1


async def test_the_test_counts_first_decisions_and_tells_of_the_holdout(runtime, clock):
    site, made = await launch_even(runtime.store, assignment="visitor", holdout=0.3)
    await runtime.reload(made.id)
    guests = Guests(runtime, site, clock)
    people = [uuid4() for _ in range(60)]
    stages = {}
    for turn in range(2):
        # Nobody clicks at first; on their second visit all do, which is no evidence.
        for visitor in people:
            stages[visitor] = (await guests.visit(visitor, click=turn == 1)).stage
    await guests.visit(people[0], consent="denied", click=True)
    held = sum(stage == HELD_OUT for stage in stages.values())
    assert 2 < held < 42
    found = await read_experiment(runtime.store, made.id)
    assert found.assignment == "visitor"
    assert sum(arm.impressions for arm in found.arms) == 60 - held + 1
    assert sum(arm.value * arm.impressions for arm in found.arms) == pytest.approx(1.0)
    assert (found.holdout.held, found.holdout.others) == (held, 60 - held)
    assert (found.holdout.held_value, found.holdout.value) == (0.0, 0.0)
    assert found.holdout.p == 1.0
    assert found.sample_ratio_p > 1e-5


async def test_two_servers_agree_on_who_is_first(runtime, settings, clock):
    site, made = await launch_even(runtime.store, assignment="visitor")
    await runtime.reload(made.id)
    release = await start_release(
        runtime.store, made.id, NewRelease(copies=copies("new"), steps=(0.5, 1.0), guardrails=CTR), actor="test"
    )
    other = await Runtime.open(settings, clock=clock)
    try:
        await runtime.reload(made.id)
        here, there = Guests(runtime, site, clock), Guests(other, site, clock)
        people = [uuid4() for _ in range(15)]
        for visitor in people:
            first, second = await asyncio.gather(here.visit(visitor), there.visit(visitor))
            assert first.variant_id == second.variant_id
        shown = await read_release(runtime.store, release.id)
        assert shown.exposures + shown.control_exposures == 15
    finally:
        await other.close()


async def test_the_hour_is_learned_from_the_counters(runtime, clock):
    """By the counters' hours: what is clicked in the morning is shown in the morning."""
    site, made = await launch_even(
        runtime.store, allocation="contextual", features=("device", "hour"), assignment="decision", refresh_ms=0
    )
    await runtime.reload(made.id)
    guests = Guests(runtime, site, clock)
    day = 86_400_000
    clock.advance(day - clock.now_ms() % day)  # midnight, UTC
    for half in range(2):
        for _ in range(120):
            query = DecideQuery(key=site.key, campaign="watch", device="mobile")
            answer = msgspec.json.decode(runtime.decide(query), type=DecideAnswer)
            now = clock.now_ms()
            kinds = ["impression"] + ["click"] * ((answer.variant == "a") is (half == 0))
            events = [{"type": kind, "id": str(uuid7(now)), "at": now, "receipt": answer.receipt} for kind in kinds]
            await runtime.ingest(msgspec.json.encode({"key": site.key, "events": events}))
        clock.advance(12 * 3_600_000)
    parts = await runtime.store.rollups.parts(made.id)
    assert {row.part for row in parts} == {0, 4}
    assert sum(row.impressions for row in parts) == 240
    policy = runtime.decider.policy(made.id)
    best = [{draw.variant_id: draw.chance for draw in policy.mixes[2 * PARTS + part]} for part in (0, 4)]
    first, second = (variant.id for variant in await runtime.store.catalogue.variants(made.id))
    assert best[0][first] > 0.7
    assert best[1][second] > 0.7
    assert (await guests.visit(uuid4())).propensity < 1.0
    report = await build_report(runtime.store, made.id, clock=clock)
    assert report.totals.impressions == 241
    assert sum(row.share for row in report.variants) == pytest.approx(1.0)
    assert (await read_experiment(runtime.store, made.id)).assignment == "decision"


async def test_the_report_names_no_leader_where_visitors_keep_their_variant(runtime, clock):
    site, made = await launch_even(runtime.store, assignment="visitor")
    await runtime.reload(made.id)
    guests = Guests(runtime, site, clock)
    people = [uuid4() for _ in range(6)]
    for _ in range(40):
        for visitor in people:
            arm = runtime.decider.policy(made.id).propensities
            await guests.visit(visitor, click=(await _arm(guests, visitor)) == min(arm))
    report = await build_report(runtime.store, made.id, clock=clock)
    assert (report.standing.verdict, report.standing.leader) == ("too_early", None)
    assert "arauto experiment show" in report.standing.text["pt-BR"]
    assert report.sample_ratio_p is None


async def _arm(guests, visitor):
    query = DecideQuery(key=guests.site.key, campaign="watch", visitor=visitor, consent="granted")
    answer = msgspec.json.decode(guests.runtime.decide(query), type=DecideAnswer)
    return guests.runtime.book.read(answer.receipt).variant_id
