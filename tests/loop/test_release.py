"""Releases on a real database: begun, climbed, rolled back by themselves, steered by people, and put back."""

import asyncio
import random

import msgspec
import pytest

from arauto.core.errors import ConflictError, InputError, NotFoundError
from arauto.core.events import DecideQuery
from arauto.core.ids import uuid7
from arauto.experiments import Guardrail
from arauto.loop import (
    DecideAnswer,
    NewRelease,
    latest_release,
    list_releases,
    look,
    read_release,
    start_release,
    steer_release,
)
from arauto.loop import runtime as module
from arauto.loop.evidence import standard_guardrail as standard
from arauto.loop.release import moves_of, state_after
from tests.loop.made import ACTOR, CTR, copies, launch_even, until

QUICK = (0.2, 0.5, 1.0)


class Traffic:
    """Visitors who click more or less as the texts deserve."""

    def __init__(self, runtime, site, clock, slug="watch"):
        self.runtime, self.site, self.clock, self.slug = runtime, site, clock, slug
        self.rng = random.Random(3)
        self.seen = []

    def ask(self, **more):
        query = DecideQuery(key=self.site.key, campaign=self.slug, **more)
        return msgspec.json.decode(self.runtime.decide(query), type=DecideAnswer)

    async def send(self, n, rate, **vitals):
        """``n`` visitors; ``rate(title)`` is the chance to click, ``vitals`` give a reading by title."""
        for start in range(0, n, 200):
            events = []
            for _ in range(min(200, n - start)):
                answer = self.ask()
                self.seen.append(answer)
                self.clock.advance(1)
                told = ["impression"]
                told += ["click"] * (self.rng.random() < rate(answer.copy.title))
                events += [self.event(kind, answer) for kind in told]
                events += [
                    self.event("web_vital", answer, metric=metric, reading=reading(answer.copy.title))
                    for metric, reading in vitals.items()
                ]
            for first in range(0, len(events), 500):
                await self.runtime.ingest(
                    msgspec.json.encode({"key": self.site.key, "events": events[first : first + 500]})
                )

    def event(self, kind, answer, **more):
        now = self.clock.now_ms()
        return {"type": kind, "id": str(uuid7(now)), "at": now, "receipt": answer.receipt, **more}


async def status(store, release):
    return (await read_release(store, release.id)).status


async def begin(runtime, campaign, **new):
    release = await start_release(runtime.store, campaign.id, NewRelease(**new), actor=ACTOR)
    await runtime.reload(campaign.id)
    return release


@pytest.mark.no_cover
async def test_a_good_change_reaches_everyone_by_itself(runtime, clock):
    site, campaign = await launch_even(runtime.store)
    release = await begin(runtime, campaign, copies=copies("new"), steps=QUICK, guardrails=CTR)
    assert (release.status, release.share, release.exposures) == ("running", 0.2, 0)
    traffic = Traffic(runtime, site, clock)
    async with asyncio.timeout(60):
        while await status(runtime.store, release) == "running":
            await traffic.send(400, lambda title: 0.6 if title == "new" else 0.4)
            await asyncio.sleep(0.15)
    done = await read_release(runtime.store, release.id)
    # The early look at the rate is a line of its own, wherever it falls.
    assert [line.move.action for line in done.moves if line.move.action != "check"] == ["start", "advance", "finish"]
    assert sum(line.move.action == "check" for line in done.moves) == 1
    assert all(line.move.readings[0].low is not None for line in done.moves[1:])
    assert "everyone" in done.text["en"]
    states = {variant.copy.title: variant.state for variant in await runtime.store.catalogue.variants(campaign.id)}
    assert states == {"old 0": "retired", "old 1": "retired", "new": "live"}
    assert traffic.ask().copy.title == "new"
    assert traffic.ask().propensity == 1.0
    # Late outcomes still count where they belong, and a person may yet go back.
    back = await steer_release(runtime.store, release.id, "rollback", actor="ana")
    assert back.status == "rolled_back"
    states = {variant.copy.title: variant.state for variant in await runtime.store.catalogue.variants(campaign.id)}
    assert states == {"old 0": "live", "old 1": "live", "new": "staged"}


async def test_the_sides_and_propensities_are_exact(runtime, clock):
    site, campaign = await launch_even(runtime.store)
    release = await begin(runtime, campaign, copies=copies("new"), steps=QUICK, guardrails=CTR)
    traffic = Traffic(runtime, site, clock)
    await traffic.send(600, lambda title: 0.3)
    shares = {answer.copy.title: answer.propensity for answer in traffic.seen}
    assert shares == pytest.approx({"new": 0.2, "old 0": 0.4, "old 1": 0.4})
    first = (await runtime.store.rollouts.get(release.id)).moves[0].id
    for answer in traffic.seen:
        stage = runtime.book.read(answer.receipt).stage
        assert stage == 2 * first + (answer.copy.title == "new")
    shown = await read_release(runtime.store, release.id)
    assert shown.exposures == sum(answer.copy.title == "new" for answer in traffic.seen)
    assert shown.exposures + shown.control_exposures == 600
    assert shown.sample_ratio_p > 0.01
    recount = await runtime.store.rollups.recount(campaign.id)
    assert await runtime.store.rollups.staged(campaign.id) == recount.staged


async def test_a_bad_change_is_rolled_back_soon_after_the_commit_that_shows_it(runtime, clock):
    site, campaign = await launch_even(runtime.store)
    release = await begin(runtime, campaign, copies=copies("new"), guardrails=CTR, steps=(0.3, 1.0))
    traffic = Traffic(runtime, site, clock)
    async with asyncio.timeout(60):
        while await status(runtime.store, release) == "running":
            await traffic.send(200, lambda title: 0.1 if title == "new" else 0.5)
            await asyncio.sleep(0.15)
    gone = await read_release(runtime.store, release.id)
    assert gone.status == "rolled_back"
    move = gone.moves[-1].move
    assert (move.action, move.guardrail, move.actor) == ("rollback", "ctr", "arauto")
    assert move.readings[0].high < 0
    assert "taxa de cliques" in gone.text["pt-BR"]
    assert gone.exposures < 500
    await until(lambda: _all_old(traffic))
    audit = await runtime.store.catalogue.audit_log()
    told = [entry for entry in audit if entry.target == f"release:{release.id}"]
    assert [entry.action for entry in told] == ["release.rollback", "release.start"]
    assert told[0].detail["readings"][0]["harm"] >= told[0].detail["threshold"]
    # The next release of the campaign begins with its own evidence.
    again = await begin(runtime, campaign, variants=("c",), guardrails=CTR)
    assert (again.exposures, again.variants) == (0, ("c",))
    assert [one.id for one in await list_releases(runtime.store, campaign.id)] == [release.id, again.id]
    assert (await latest_release(runtime.store, campaign.id)).id == again.id


async def _all_old(traffic):
    return all(traffic.ask().copy.title != "new" for _ in range(50))


async def test_slow_pages_errors_and_complaints_count(runtime, clock):
    site, campaign = await launch_even(runtime.store)
    rails = (standard("lcp"), standard("complaints"), standard("violations"))
    release = await begin(runtime, campaign, copies=copies("new"), guardrails=rails, steps=(0.5, 1.0))
    traffic = Traffic(runtime, site, clock)
    rng = random.Random(1)
    await traffic.send(400, lambda _: 0.1, LCP=lambda title: (3000 if title == "new" else 1000) * rng.uniform(0.7, 1.4))
    await until(lambda: _is(runtime, release, "rolled_back"))
    gone = await read_release(runtime.store, release.id)
    assert gone.moves[-1].move.guardrail == "lcp"
    assert gone.readings[0].change > 0.5
    release = await begin(runtime, campaign, variants=("c",), guardrails=rails, steps=(0.5, 1.0))
    new = next(answer for answer in (traffic.ask() for _ in range(99)) if answer.copy.title == "new")
    told = [
        traffic.event("impression", new),
        traffic.event("custom", new, name="violation"),
        traffic.event("custom", new, name="violation"),
    ]
    done = await runtime.ingest(msgspec.json.encode({"key": site.key, "events": told}))
    assert (done.stored, done.duplicates) == (2, 1)
    await until(lambda: _is(runtime, release, "rolled_back"))
    gone = await read_release(runtime.store, release.id)
    assert gone.moves[-1].move.guardrail == "violations"


async def _is(runtime, release, wanted):
    return await status(runtime.store, release) == wanted


async def test_a_policy_is_released_like_a_text(runtime, clock):
    site, campaign = await launch_even(runtime.store, arms=2)
    change = {"allocation": "fixed", "shares": {"a": 0.9, "b": 0.1}}
    release = await begin(runtime, campaign, **change, steps=(0.5, 1.0), guardrails=CTR)
    traffic = Traffic(runtime, site, clock)
    await traffic.send(400, lambda title: 0.3)
    shares = {answer.variant: answer.propensity for answer in traffic.seen}
    assert shares == pytest.approx({"a": 0.7, "b": 0.3})
    shown = await read_release(runtime.store, release.id)
    assert 140 < shown.exposures < 260
    async with asyncio.timeout(60):
        while await status(runtime.store, release) == "running":
            await traffic.send(400, lambda title: 0.5)
            await asyncio.sleep(0.15)
    plan = (await runtime.store.catalogue.campaign(campaign.id)).plan
    assert (plan.allocation, plan.shares) == ("fixed", change["shares"])
    await steer_release(runtime.store, release.id, "rollback", actor=ACTOR)
    assert (await runtime.store.catalogue.campaign(campaign.id)).plan == campaign.plan


async def test_people_steer(runtime, clock):
    _, campaign = await launch_even(runtime.store)
    release = await begin(runtime, campaign, copies=copies("new"), guardrails=CTR)
    held = await steer_release(runtime.store, release.id, "hold", actor="ana")
    assert (held.status, held.share) == ("held", 0.01)
    assert "ana" in held.moves[-1].text["pt-BR"]
    assert not await look(runtime.store, await runtime.store.rollouts.get(release.id))
    assert (await steer_release(runtime.store, release.id, "resume", actor="ana")).status == "running"
    with pytest.raises(ConflictError):
        await steer_release(runtime.store, release.id, "resume", actor="ana")
    with pytest.raises(ConflictError):
        await begin(runtime, campaign, variants=("c",))
    assert (await steer_release(runtime.store, release.id, "rollback", actor="ana")).share == 0.0
    assert not await look(runtime.store, await runtime.store.rollouts.get(release.id))


async def test_only_one_makes_a_move(runtime, clock):
    _, campaign = await launch_even(runtime.store)
    release = await begin(runtime, campaign, copies=copies("new"), guardrails=CTR)
    seen = await runtime.store.rollouts.get(release.id)
    await steer_release(runtime.store, release.id, "hold", actor="ana")
    # Somebody who looked before is late: nothing happens twice, nothing is overwritten.
    late = [
        runtime.store.rollouts.move(
            seen, 1, "rollback", "rolled_back", 0.0, msgspec.to_builtins(moves_of(seen)[0]), "x"
        )
        for _ in range(3)
    ]
    assert await asyncio.gather(*late) == [False, False, False]
    rollout = await runtime.store.rollouts.get(release.id)
    assert [line.action for line in rollout.moves] == ["start", "hold"]
    assert state_after(moves_of(rollout)).status == rollout.moves[-1].status
    results = await asyncio.gather(
        *(steer_release(runtime.store, release.id, "resume", actor=f"p{n}") for n in range(4)), return_exceptions=True
    )
    assert sum(not isinstance(result, Exception) for result in results) == 1
    assert all(isinstance(result, ConflictError) for result in results if isinstance(result, Exception))


async def test_what_cannot_be_released_is_refused(runtime):
    _, campaign = await launch_even(runtime.store)
    store = runtime.store
    for new, error, field in (
        (NewRelease(), InputError, "$"),
        (NewRelease(allocation="uniform"), InputError, "$"),
        (NewRelease(variants=("z",)), NotFoundError, "variants"),
        (NewRelease(variants=("a",)), ConflictError, "variants"),
        (NewRelease(copies=copies("x"), guardrails=(Guardrail(name="fame"),)), InputError, "guardrails"),
        (NewRelease(copies=copies("x"), guardrails=(Guardrail(name="lcp"),)), InputError, "guardrails"),
        (NewRelease(copies=copies("x"), guardrails=(Guardrail(name="cpa"),)), InputError, "guardrails"),
        (NewRelease(copies=copies("x"), steps=(0.5, 0.4)), InputError, "steps"),
    ):
        with pytest.raises(error) as refused:
            await start_release(store, campaign.id, new, actor=ACTOR)
        assert refused.value.field == field
    with pytest.raises(NotFoundError):
        await steer_release(store, 99, "hold", actor=ACTOR)
    with pytest.raises(NotFoundError):
        await latest_release(store, campaign.id)
    await store.catalogue.set_campaign_state(campaign.id, "ended", ACTOR)
    with pytest.raises(ConflictError):
        await start_release(store, campaign.id, NewRelease(copies=copies("x")), actor=ACTOR)
    assert await store.rollouts.of_campaign(campaign.id) == []


async def test_the_sweep_looks_when_no_event_comes(runtime, clock, monkeypatch):
    monkeypatch.setattr(module, "SWEEP_S", 0.05)
    _, campaign = await launch_even(runtime.store)
    guarded = []
    monkeypatch.setattr(module, "look", lambda store, rollout: _note(guarded, rollout))
    await begin(runtime, campaign, copies=copies("new"), guardrails=CTR)
    await until(lambda: _any(guarded))


async def _note(guarded, rollout):
    guarded.append(rollout.id)
    return False


async def _any(guarded):
    return bool(guarded)
