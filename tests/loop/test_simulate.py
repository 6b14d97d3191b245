"""Made-up visitors: repeatable, called simulated, and with a ledger that equals what a server kept."""

from collections import Counter
from functools import cache

import msgspec
import numpy as np
import pytest

from arauto.core.brief import Brief
from arauto.core.campaign import DAY_MS, CampaignPlan, Copy
from arauto.core.clock import FakeClock
from arauto.core.errors import InputError
from arauto.core.events import Click, Impression, Purchase, Rating, View
from arauto.loop.answers import DecideAnswer
from arauto.loop.remote import Remote
from arauto.loop.simulate import ArmSent, Simulation, Taste, make_person, tell_story
from tests.loop.stub import TOKEN, Stub

COPIES = [
    Copy(title="Seu coração no pulso", description="Monitore seus batimentos o dia todo.", image_suggestion="pulso"),
    Copy(title="Saúde em tempo real", description="O relógio que cuida de você.", image_suggestion="corrida"),
    Copy(title="Treine melhor", description="Batimentos, sono e energia.", image_suggestion="academia"),
]
FIELDS = [name for name in ArmSent.__struct_fields__ if name not in ("variant", "segment")]


async def run(visitors=120, *, seed=7, simulated=True, stub=None, **options):
    stub = stub or Stub()
    async with Remote("http://stub", key="key-1", token=TOKEN, transport=stub.transport()) as remote:
        plan = CampaignPlan(simulated=simulated, seed=1, refresh_ms=0)
        campaign = await remote.create("relogio", "Relógio", Brief(product="Relógio"), plan, COPIES)
        await remote.move(campaign.id, "live")
        moment = {name: options.pop(name) for name in ("first", "progress") if name in options}
        simulation = Simulation(remote, "relogio", **{"seed": seed, "clock": stub.clock, **options})
        return await simulation.run(visitors, **moment), stub


def kept(stub) -> dict[tuple[str, str], dict[str, int]]:
    """The stub's rows as a ledger: what came without a receipt is joined to its visitor's only decision."""
    names = {variant.id: variant.name for variant in stub.variants[1]}
    decided = {row.visitor_id: row for row in stub.rows.values() if row.visitor_id and row.decision_id}
    totals: dict[tuple[str, str], Counter] = {}
    bought = set()
    for row in stub.rows.values():
        owner = row if row.decision_id else decided[row.visitor_id]
        total = totals.setdefault((names[owner.variant_id], owner.segment), Counter())
        if row.type == "purchase":
            total["orders"] += 1
            total["value_cents"] += row.value_cents
            total["purchases"] += owner.decision_id not in bought
            bought.add(owner.decision_id)
        elif row.type == "rating":
            total.update(ratings=1, rating_sum=row.score)
        else:
            total["vitals" if row.type == "web_vital" else f"{row.type}s"] += 1
    return {key: {name: total[name] for name in FIELDS} for key, total in totals.items()}


def ledger(sent) -> dict[tuple[str, str], dict[str, int]]:
    rows = {(arm.variant, arm.segment): {name: getattr(arm, name) for name in FIELDS} for arm in sent.arms}
    return {key: row for key, row in rows.items() if any(row.values())}


async def test_the_ledger_equals_what_the_server_kept():
    sent, stub = await run(1000)
    assert ledger(sent) == kept(stub)
    assert sent.stored == sent.events == len(stub.rows)
    assert sent.duplicates == sent.repeats > 0
    assert sent.decisions == sent.visitors == stub.decisions == 1000
    assert sum(arm.impressions for arm in sent.arms) < 1000, "some never see what was decided"
    assert sum(arm.orders for arm in sent.arms) >= sum(arm.purchases for arm in sent.arms) > 0
    assert any(row.decision_id is None for row in stub.rows.values()), "some outcomes come without a receipt"


async def test_private_visitors_leave_no_trace_of_themselves():
    _, stub = await run(300)
    private = {person.visitor for person in (make_person(7, index) for index in range(300)) if not person.known}
    assert len(private) > 60
    assert private.isdisjoint(row.visitor_id for row in stub.rows.values())
    assert any(row.visitor_id for row in stub.rows.values())


async def test_one_at_a_time_it_is_repeatable():
    one, two, other = [(await run(concurrency=1, seed=seed))[0] for seed in (7, 7, 8)]
    assert one.arms == two.arms
    assert (one.events, one.repeats) == (two.events, two.repeats)
    assert one.arms != other.arms


async def test_a_run_can_be_continued_with_new_visitors():
    first, _ = await run(40)
    again, _ = await run(40, first=40)
    assert {make_person(7, index).visitor for index in range(40)}.isdisjoint(
        make_person(7, index).visitor for index in range(40, 80)
    )
    assert (again.first, again.visitors) == (40, 40)
    assert first.arms != again.arms


async def test_progress_is_told_to_the_end():
    told = []
    await run(50, progress=lambda done, total: told.append((done, total)))
    assert told == [(20, 50), (40, 50), (50, 50)]
    await run(0, progress=lambda done, total: pytest.fail("there was nothing to tell"))


async def test_real_and_made_up_visitors_are_not_mixed():
    with pytest.raises(InputError, match="simulated"):
        await run(5, simulated=False)


async def test_a_refused_event_is_not_passed_over():
    stub = Stub()
    with pytest.raises(InputError, match="refused"):
        await run(60, stub=stub, clock=FakeClock(stub.clock.now_ms() + 30 * DAY_MS))


def test_taste_is_hidden_seeded_and_of_the_promised_spread():
    taste = Taste(3)
    texts = [f"{chr(97 + i)}lpha {chr(97 + j)}eta gamma{chr(97 + i)}" for i in range(26) for j in range(26)]
    likings = [taste.liking(text) for text in texts]
    assert likings == [Taste(3).liking(text) for text in texts]
    assert np.mean(likings) == pytest.approx(0, abs=0.4)
    assert np.std(likings) == pytest.approx(1, abs=0.4)
    assert taste.liking("Relógio, RELÓGIO relógio!") == taste.liking("relógio")
    assert taste.liking("") == 0
    assert Taste(4).liking("relógio") != taste.liking("relógio") != taste.liking("relógio", "rating")


def test_rates_are_probabilities_around_their_base():
    taste = Taste(1)
    for copy in COPIES:
        for rate, base in (
            (taste.click_rate(copy), 0.08),
            (taste.purchase_rate(copy), 0.45),
            (taste.happiness(copy), 0.70),
        ):
            assert 0 < rate < 1
            assert rate == pytest.approx(base, abs=0.25)
    neutral = Copy(title="", description="", image_suggestion="")
    assert taste.click_rate(neutral, "tablet") == pytest.approx(0.08)
    assert taste.click_rate(neutral, "desktop") < 0.08 < taste.click_rate(neutral, "mobile")


def answer(copy=COPIES[0]) -> DecideAnswer:
    return DecideAnswer(
        decision=make_person(0, 0).visitor,
        campaign="relogio",
        variant="a",
        copy=copy,
        call_to_action="Ver",
        link="",
        propensity=0.5,
        policy_version=1,
        receipt="r",
        simulated=True,
    )


@cache
def stories(count=4000, copy=COPIES[0]):
    taste = Taste(2)
    people = [make_person(2, index) for index in range(count)]
    return taste, [(person, tell_story(person, answer(copy), taste, 1_760_000_000_000)) for person in people]


def test_behaviour_has_the_documented_rates():
    taste, told = stories()
    seen = [(person, story) for person, story in told if story.batches]
    assert len(seen) / len(told) == pytest.approx(0.9, abs=0.02)
    expected = np.mean([taste.click_rate(COPIES[0], person.device) for person, _ in seen])
    clicked = [any(isinstance(e, Click) for batch in story.batches for e in batch) for _, story in seen]
    assert np.mean(clicked) == pytest.approx(expected, abs=5 * (expected / len(seen)) ** 0.5)
    scores = [e.score for _, story in told for batch in story.batches for e in batch if isinstance(e, Rating)]
    assert set(scores) <= {1, 2, 3, 4, 5}
    assert len(scores) > 10
    shares = Counter(person.device for person, _ in told)
    assert shares["mobile"] / 4000 == pytest.approx(0.6, abs=0.03)
    assert np.mean([person.consent == "denied" for person, _ in told]) == pytest.approx(0.25, abs=0.03)


def test_habits_of_pages():
    _, told = stories()
    by_habit = {
        habit: [s for p, s in told if p.habit == habit and s.batches] for habit in ("late", "twice", "impatient")
    }
    assert any(not isinstance(story.batches[0][0], Impression) for story in by_habit["late"])
    for story in by_habit["twice"]:
        ids = [event.id for batch in story.batches for event in batch]
        assert len(ids) == 2 * len(set(ids)) == 2 * story.repeats
    clicks = [[e for batch in story.batches for e in batch if isinstance(e, Click)] for story in by_habit["impatient"]]
    assert {len(found) for found in clicks} == {0, 2}
    assert all(len({event.id for event in found}) == len(found) for found in clicks)


def test_money_is_whole_cents_and_views_follow_clicks():
    _, told = stories()
    events = [e for _, story in told for batch in story.batches for e in batch]
    values = [e.value for e in events if isinstance(e, Purchase)]
    assert len(values) > 20
    buyers = [[e.order for e in story.batches[-1] if isinstance(e, Purchase)] for _, story in told if story.batches]
    assert any(len(set(orders)) == 2 for orders in buyers), "some buy twice"
    assert all(value == round(value, 2) and 15 <= value <= 315 for value in values)
    assert sum(isinstance(e, View) for e in events) > 0
    assert all(len(msgspec.json.encode(e)) < 600 for e in events)
