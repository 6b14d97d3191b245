"""The two hot routes, from the request's bytes to the database and back."""

import asyncio
from uuid import UUID, uuid4

import msgspec
import pytest

from arauto.core.errors import Problem, StoreError
from arauto.core.ids import uuid7
from arauto.core.receipts import ANONYMOUS
from arauto.loop import AllRefused, CandidatesAnswer, DecideAnswer, EventsAnswer
from arauto.server.front import DECIDE_LIMIT, EVENTS_LIMIT
from tests.server.rsgi import Protocol
from tests.server.world import ORIGIN

HERE = {"origin": ORIGIN}
FOREIGN = {"origin": "https://evil.example"}


async def test_a_decision_seen_and_clicked_is_counted_once(world):
    await world.launch()
    answer = await world.decide()
    msgspec.convert(answer, DecideAnswer)
    events = [world.event("impression", answer["receipt"]), world.event("click", answer["receipt"])]
    for expected in ((2, 0), (0, 2)):
        told = (await world.send(*events)).json(EventsAnswer)
        assert (told.stored, told.duplicates, told.refused) == (*expected, [])
    # The same receipt replayed under new event ids says nothing new.
    again = (await world.send(world.event("impression", answer["receipt"]))).json(EventsAnswer)
    assert (again.stored, again.duplicates) == (0, 1)
    assert (await world.count("impressions"), await world.count("clicks")) == (1, 1)


async def test_learning_shows_before_the_acknowledgement_when_asked_for(world):
    await world.launch()
    before = await world.decide()
    await world.send(world.event("impression", before["receipt"]), world.event("click", before["receipt"]))
    after = await world.decide()
    assert after["policy_version"] > before["policy_version"]
    weights = await world.runtime.store.rollups.weights(world.campaign_id)
    assert sum(weights[0].propensities.values()) == pytest.approx(1)


async def test_a_body_may_be_plain_text_and_the_key_in_the_query(world):
    await world.launch()
    headers = {"content-type": "text/plain;charset=UTF-8", **HERE}
    answer = await world("POST", f"/v1/decide?key={world.key}", {"campaign": world.slug}, headers)
    assert answer.status == 200
    events = {"events": [world.event("impression", answer.json()["receipt"])]}
    told = await world("POST", f"/v1/events?key={world.key}", events, headers)
    assert told.json(EventsAnswer).stored == 1


async def test_pages_of_the_site_and_of_this_server_may_ask_and_others_not(world):
    await world.launch()
    query = {"key": world.key, "campaign": world.slug}
    ours = await world("POST", "/v1/decide", query, HERE)
    assert (ours.status, ours.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert ours.headers["vary"] == "Origin"
    own = await world("POST", "/v1/decide", query, {"origin": "http://arauto.example"})
    assert own.status == 200
    foreign = await world("POST", "/v1/decide", query, FOREIGN)
    assert foreign.status == 403
    assert "access-control-allow-origin" not in foreign.headers
    receipt = ours.json()["receipt"]
    refused = await world.send(world.event("impression", receipt), headers=FOREIGN)
    assert refused.status == 403
    assert await world.count() == 0


async def test_a_preflight_is_answered_for_known_origins(world):
    await world.launch()
    for path in ("/v1/decide", "/v1/events"):
        answer = await world("OPTIONS", path, headers=HERE)
        assert (answer.status, answer.headers["access-control-allow-methods"]) == (204, "POST")
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert (await world("OPTIONS", path, headers=FOREIGN)).status == 403
        assert (await world("OPTIONS", path)).status == 403


async def test_another_method_is_told_what_goes(world):
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        answer = await world(method, "/v1/decide")
        assert (answer.status, answer.headers["allow"]) == (405, "OPTIONS, POST")
        answer.json(Problem)


async def test_problems_of_a_decision(world):
    await world.launch()
    cases = [
        ({"key": "nobody", "campaign": world.slug}, 401, "key"),
        ({"key": world.key, "campaign": "nothing"}, 404, "campaign"),
        ({"key": world.key}, 422, "campaign"),
        ({"key": world.key, "campaign": world.slug, "colour": "red"}, 422, "colour"),
        ({"key": world.key, "campaign": world.slug, "visitor": "me"}, 422, "visitor"),
        (b"{", 422, "$"),
        (b"", 422, "$"),
        (b"\xff\xfe", 422, "$"),
        (b"[" * 5000, 422, "$"),
    ]
    for body, status, field in cases:
        answer = await world("POST", "/v1/decide", body, HERE)
        assert (answer.status, answer.json(Problem).field) == (status, field)
        # The page may read what was wrong with it.
        assert answer.headers["access-control-allow-origin"] == ORIGIN


async def test_bodies_are_read_to_their_limit_and_no_further(world):
    for path, limit in (("/v1/decide", DECIDE_LIMIT), ("/v1/events", EVENTS_LIMIT)):
        protocol = Protocol([b" " * (limit + 1)])
        assert (await world("POST", path, [b" " * (limit + 1)], protocol=protocol)).status == 413
        assert protocol.read == 0
        protocol = Protocol([b" " * 4096] * 200)
        assert (await world("POST", path, protocol=protocol, chunked=True)).status == 413
        assert limit < protocol.read <= limit + 4096


async def test_a_body_that_does_not_come_is_not_waited_for_for_ever(world, monkeypatch):
    monkeypatch.setattr("arauto.server.front.BODY_S", 0.01)
    monkeypatch.setattr("arauto.server.web.BODY_S", 0.01)

    class Slow(Protocol):
        async def __call__(self):
            await asyncio.Event().wait()

        async def __aiter__(self):
            yield b"{"
            await asyncio.Event().wait()

    watch = asyncio.create_task(world.front.watch())
    for path, chunked in (("/v1/decide", False), ("/v1/events", True), ("/v1/sites", False)):
        answer = await world("POST", path, [b"{}"], world.admin, protocol=Slow([]), chunked=chunked)
        assert (answer.status, answer.json(Problem).field) == (422, "$")
    watch.cancel()


async def test_one_bad_event_never_loses_the_others(world):
    await world.launch()
    receipt = (await world.decide())["receipt"]
    answer = await world.send(
        world.event("impression", receipt), {"type": "click"}, world.event("click", receipt), world.event("click")
    )
    told = answer.json(EventsAnswer)
    assert (answer.status, told.stored) == (200, 2)
    assert [(problem.index, problem.field) for problem in told.refused] == [
        (1, "events[1].id"),
        (3, "events[3].receipt"),
    ]


async def test_a_batch_of_nothing_good_is_a_problem_with_the_whole_list(world):
    await world.launch()
    answer = await world.send(world.event("click"), {"type": "click"}, headers=HERE)
    told = answer.json(AllRefused)
    assert (answer.status, told.index, len(told.refused)) == (422, 0, 2)
    assert answer.headers["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("how", ["gpc", "denied", "unsaid"])
async def test_without_consent_nothing_ties_a_visitor(world, how):
    await world.launch()
    visitor = str(uuid4())
    consent = {"unsaid": {}, "denied": {"consent": "denied"}, "gpc": {"consent": "granted"}}[how]
    headers = {"sec-gpc": "1"} if how == "gpc" else {}
    answer = await world.decide(headers, visitor=visitor, **consent)
    assert world.runtime.book.read(answer["receipt"]).visitor_tag == ANONYMOUS
    events = [
        world.event("impression", answer["receipt"], visitor=visitor),
        world.event("purchase", answer["receipt"], visitor=visitor, value=10, currency="BRL", order="o-1"),
        world.event("custom", answer["receipt"], visitor=visitor, name="x", props={"mail": "a@b.example"}),
        world.event("rating", visitor=visitor, score=5),
    ]
    told = (await world.send(*events, headers=headers, **consent)).json(EventsAnswer)
    assert (told.stored, [problem.index for problem in told.refused]) == (3, [3])
    assert (await world.count("impressions"), await world.count("value_cents")) == (1, 1000)
    assert (await world("GET", f"/v1/visitors/{visitor}?key={world.key}")).status == 404


async def test_forged_altered_expired_and_foreign_receipts_are_not_counted(world):
    await world.launch(site="other", slug="other")
    foreign = (await world.decide())["receipt"]
    await world.launch()
    good = (await world.decide())["receipt"]
    forged = "A" * 84
    altered = good[:40] + ("A" if good[40] != "A" else "B") + good[41:]
    answer = await world.send(*[world.event("impression", one) for one in (foreign, forged, altered, good[:-4], "x")])
    assert answer.status == 422
    assert {problem.code for problem in answer.json(AllRefused).refused} == {"bad_receipt"}
    world.clock.advance(15 * 86_400_000)
    assert (await world.send(world.event("impression", good))).json(AllRefused).problem == "has expired"
    assert await world.count() == 0


async def test_a_receipt_of_another_visitor_is_refused(world):
    await world.launch()
    mine = (await world.decide(visitor=str(uuid4()), consent="granted"))["receipt"]
    answer = await world.send(world.event("impression", mine, visitor=str(uuid4())), consent="granted")
    assert answer.json(AllRefused).problem == "is another visitor's"


async def test_an_outcome_without_a_receipt_joins_the_visitors_last_impression(world):
    await world.launch()
    visitor = str(uuid4())
    answer = await world.decide(visitor=visitor, consent="granted")
    await world.send(world.event("impression", answer["receipt"], visitor=visitor), consent="granted")
    world.clock.advance(3_600_000)
    bought = world.event("purchase", visitor=visitor, value="19.90", currency="BRL", order="o-1")
    assert (await world.send(bought, consent="granted")).json(EventsAnswer).stored == 1
    assert (await world.count("purchases"), await world.count("value_cents")) == (1, 1990)


async def test_more_orders_than_a_decision_may_count_are_refused_with_the_reason(world):
    await world.launch()
    visitor = str(uuid4())
    receipt = (await world.decide(visitor=visitor, consent="granted"))["receipt"]
    orders = [
        world.event("purchase", receipt, visitor=visitor, value=1, currency="BRL", order=f"o{n}") for n in range(21)
    ]
    told = (await world.send(world.event("impression", receipt, visitor=visitor), *orders, consent="granted")).json(
        EventsAnswer
    )
    assert (told.stored, [problem.index for problem in told.refused]) == (21, [21])
    assert told.refused[0].problem


async def test_a_receipt_signed_elsewhere_for_a_campaign_not_seen_yet_is_looked_up(world):
    await world.launch()
    receipt = (await world.decide())["receipt"]
    campaign = world.runtime._campaigns.pop(world.campaign_id)
    assert (await world.send(world.event("impression", receipt))).json(EventsAnswer).stored == 1
    assert world.runtime._campaigns[world.campaign_id] == campaign


async def test_the_receipt_of_a_campaign_that_is_gone_is_refused(world):
    await world.launch()
    from arauto.core.receipts import Receipt

    ghost = world.runtime.book.sign(
        Receipt(
            decision_id=uuid7(world.clock.now_ms()),
            campaign_id=999_999,
            variant_id=1,
            propensity=0.5,
            policy_version=1,
            segment=0,
        )
    )
    assert (await world.send(world.event("impression", ghost))).json(AllRefused).code == "bad_receipt"


async def test_while_the_database_is_away_decisions_go_on_and_events_are_told_to_wait(world, monkeypatch):
    await world.launch()
    receipt = (await world.decide())["receipt"]

    async def away(*_):
        raise StoreError("the database cannot be reached")

    with monkeypatch.context() as broken:
        broken.setattr(world.runtime._ingest, "_append", away)
        broken.setattr(world.runtime.store.catalogue, "sites", away)
        assert (await world.decide())["campaign"] == world.slug
        assert (await world("POST", "/v1/decide", {"key": world.key, "campaign": "new"})).status == 404
        answer = await world.send(world.event("impression", receipt))
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert (await world.send(world.event("impression", receipt))).json(EventsAnswer).stored == 1


async def test_an_unexpected_error_is_a_500_that_tells_nothing(world, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError("secret of a visitor")

    monkeypatch.setattr(world.runtime, "decide", broken)
    answer = await world("POST", "/v1/decide", {"key": "k", "campaign": "c"})
    assert (answer.status, answer.json(Problem).code) == (500, "error")
    assert "RuntimeError at" in caplog.text
    assert "secret" not in caplog.text + answer.body.decode()


async def test_a_campaign_launched_by_another_process_is_found(world):
    await world.launch()
    world.runtime.decider.drop(world.campaign_id)
    world.runtime._campaigns.clear()
    assert (await world.decide())["campaign"] == world.slug


async def test_a_visitor_outside_of_a_layers_part_gets_409_and_others_keep_their_variant(world):
    await world.launch(arms=3, assignment="visitor", allocation="uniform", layer="home", layer_part=[0.0, 0.5])
    inside, outside = [], 0
    for n in range(1, 81):
        query = {"key": world.key, "campaign": world.slug, "visitor": str(UUID(int=n)), "consent": "granted"}
        answer = await world("POST", "/v1/decide", query, HERE)
        if answer.status == 200:
            again = await world("POST", "/v1/decide", query, HERE)
            inside.append(answer.json()["variant"])
            assert again.json()["variant"] == inside[-1]
        else:
            assert (answer.status, answer.json()["field"]) == (409, "visitor")
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            outside += 1
    assert 16 < outside < 64
    assert set(inside) == {"a", "b", "c"}
    anonymous = await world("POST", "/v1/decide", {"key": world.key, "campaign": world.slug}, HERE)
    assert anonymous.status == 409


async def test_a_device_chooses_among_candidates_and_only_one_of_them_counts(world):
    await world.launch(arms=3)
    body = {"key": world.key, "campaign": world.slug, "candidates": 4}
    seen = 0
    for _ in range(12):
        answer = await world("POST", "/v1/candidates", body)
        told = msgspec.convert(answer.json(), CandidatesAnswer)
        assert sum(told.shares) == pytest.approx(1)
        chance = told.floor * told.shares[0] + (1 - told.floor)
        events = [
            world.event(kind, one.receipt, chance=chance) for one in told.candidates for kind in ("impression", "click")
        ]
        stored = (await world.send(*events)).json(EventsAnswer)
        # Every candidate of a decision shares its id: what the first told is the decision's.
        assert stored.stored == 2
        seen += 1
    assert (await world.count("impressions"), await world.count("clicks")) == (seen, seen)
    fair = await world.runtime.store.rollups.totals(world.campaign_id, fair=True)
    assert sum(one.impressions for one in fair) < seen
    parts = await world.runtime.store.rollups.parts(world.campaign_id)
    assert sum(one.impressions for one in parts) == sum(one.impressions for one in fair)
    outcomes = await world.runtime.store.rollups.outcomes(world.campaign_id, "click")
    assert sum(one.n for one in outcomes) == sum(one.impressions for one in fair)


async def test_candidates_of_an_unknown_campaign_or_without_a_chance_are_refused(world):
    await world.launch()
    body = {"key": world.key, "campaign": world.slug}
    assert (await world("POST", "/v1/candidates", {**body, "campaign": "none"})).status == 404
    assert (await world("POST", "/v1/candidates", {**body, "candidates": 9})).status == 422
    told = (await world("POST", "/v1/candidates", body)).json(CandidatesAnswer)
    refused = await world.send(world.event("impression", told.candidates[0].receipt))
    assert refused.json(AllRefused).refused[0].field == "events[0].chance"
