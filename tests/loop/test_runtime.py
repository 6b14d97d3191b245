"""The engine room on a real database: what it knows, how it learns, and what it does while the database is away."""

import asyncio

import msgspec
import pytest

from arauto.core.errors import AuthError, NotFoundError, StoreError
from arauto.core.events import DecideQuery
from arauto.core.ids import uuid7
from arauto.core.tasks import end
from arauto.loop import DecideAnswer, Runtime
from arauto.loop import pulse as pulses
from arauto.loop import runtime as module
from arauto.store import Notice
from tests.loop.made import ACTOR, launch, leave_alone, until


def ask(runtime, site, slug="watch"):
    return msgspec.json.decode(runtime.decide(DecideQuery(key=site.key, campaign=slug)), type=DecideAnswer)


def events(site, clock, *told):
    made = [
        {"type": kind, "id": str(uuid7(clock.now_ms())), "at": clock.now_ms(), "receipt": answer.receipt}
        for answer, kinds in told
        for kind in kinds
    ]
    return msgspec.json.encode({"key": site.key, "events": made})


async def test_a_campaign_of_another_process_is_served_when_its_notice_comes(runtime):
    site, campaign = await launch(runtime.store)
    await until(lambda: runtime.decider.policy(campaign.id) is not None)
    assert ask(runtime, site).campaign == "watch"
    await runtime.store.catalogue.set_campaign_state(campaign.id, "paused", ACTOR)
    await until(lambda: runtime.decider.policy(campaign.id) is None)
    with pytest.raises(NotFoundError):
        ask(runtime, site)


async def test_two_processes_that_know_the_same_serve_by_the_same_policy(runtime, settings, clock):
    site, campaign = await launch(runtime.store, arms=5)
    await runtime.sync(all_over=True)
    other = await Runtime.open(settings, clock=clock)
    try:
        answers = [ask(runtime, site) for _ in range(50)]
        told = [(answer, ["impression", "click"][: 1 + (answer.variant == "b")]) for answer in answers]
        assert (await runtime.ingest(events(site, clock, *told))).stored >= 50
        mine = runtime.decider.policy(campaign.id)
        await until(lambda: other.decider.policy(campaign.id) == mine)
        best = max(mine.propensities, key=mine.propensities.get)
        assert runtime._variants[campaign.id][1].id == best
    finally:
        await other.close()


async def test_the_same_seed_and_events_give_the_same_arms(runtime, clock):
    async def run(slug):
        site, _ = await launch(runtime.store, slug, arms=4, seed=11)
        await runtime.sync()
        arms = []
        for turn in range(30):
            answer = ask(runtime, site, slug)
            arms.append(answer.variant)
            kinds = ["impression", "click"] if (turn * 7) % 3 == 0 else ["impression"]
            await runtime.ingest(events(site, clock, (answer, kinds)))
        return arms

    assert await run("one") == await run("two")


async def test_weights_are_written_down_but_not_at_every_breath(runtime, clock):
    site, campaign = await launch(runtime.store)
    await runtime.sync()
    for _ in range(5):
        await runtime.ingest(events(site, clock, (ask(runtime, site), ["impression"])))
    assert len(await runtime.store.rollups.weights(campaign.id)) == 1
    clock.advance(module.RECORD_MS)
    await runtime.ingest(events(site, clock, (ask(runtime, site), ["impression"])))
    history = await runtime.store.rollups.weights(campaign.id)
    assert len(history) == 2
    assert history[-1].propensities == runtime.decider.policy(campaign.id).propensities


async def test_a_slower_rhythm_is_kept_to(runtime, clock):
    site, campaign = await launch(runtime.store, refresh_ms=86_400_000)
    await runtime.sync()
    before = runtime.decider.policy(campaign.id)
    answer = ask(runtime, site)
    await runtime.ingest(events(site, clock, (answer, ["impression", "click"])))
    assert runtime.decider.policy(campaign.id) == before
    # A sweep asks again whatever the rhythm.
    await runtime.sync(all_over=True)
    assert runtime.decider.policy(campaign.id).version > before.version


async def test_a_quick_rhythm_learns_soon(runtime, clock):
    site, campaign = await launch(runtime.store, refresh_ms=1)
    await runtime.sync()
    before = runtime.decider.policy(campaign.id)
    await runtime.ingest(events(site, clock, (ask(runtime, site), ["impression", "click"])))
    await until(lambda: runtime.decider.policy(campaign.id).version > before.version)


async def test_a_look_for_what_is_not_there_is_not_taken_too_often(runtime, monkeypatch):
    looks = []
    catalogue = runtime.store.catalogue
    real = catalogue.sites

    async def sites():
        looks.append(1)
        return await real()

    monkeypatch.setattr(catalogue, "sites", sites)
    for _ in range(20):
        with pytest.raises(AuthError):
            await runtime.decide_again(DecideQuery(key="nobody", campaign="none"))
    assert 1 <= len(looks) <= 5


async def test_a_campaign_that_vanished_is_forgotten(runtime, monkeypatch):
    _, campaign = await launch(runtime.store)
    await runtime.sync()

    async def gone(_):
        raise NotFoundError("gone")

    monkeypatch.setattr(runtime.store.catalogue, "campaign", gone)
    await runtime.reload(campaign.id)
    assert runtime.decider.policy(campaign.id) is None


async def test_notices_of_totals_and_erasures_renew_and_our_own_echo_does_not(runtime):
    leave_alone(runtime)
    _, campaign = await launch(runtime.store)
    await runtime.sync()
    pulse = runtime._pulses[campaign.id]
    touched = []
    pulse.touch = lambda own=False: touched.append(own)
    await runtime._hear(Notice("totals", campaign.id))
    await runtime._hear(Notice("erasure", 1))
    await runtime._hear(Notice("totals", 999))
    assert touched == [False, False]
    runtime._echoes.add(campaign.id)
    await runtime._hear(Notice("totals", campaign.id))
    assert touched == [False, False]


async def test_a_sweep_goes_on_while_the_database_is_away(runtime, monkeypatch, caplog):
    site, _ = await launch(runtime.store)
    await runtime.sync()
    monkeypatch.setattr(module, "SWEEP_S", 0.01)
    faults = [StoreError("away"), RuntimeError("secret")]
    maintained = []

    async def sites():
        if faults:
            raise faults.pop(0)
        return [site]

    async def maintain():
        maintained.append(1)

    monkeypatch.setattr(runtime.store.catalogue, "sites", sites)
    monkeypatch.setattr(runtime.store, "maintain", maintain)
    task = asyncio.create_task(runtime._sweep())
    await until(lambda: not faults)
    runtime.clock.advance(86_400_000)
    await until(lambda: maintained)
    await end(task)
    assert "the database is away" in caplog.text
    assert "RuntimeError at" in caplog.text
    assert "secret" not in caplog.text
    assert ask(runtime, site).campaign == "watch"


async def test_news_are_followed_again_after_a_failure(runtime, monkeypatch):
    leave_alone(runtime)
    _, campaign = await launch(runtime.store)
    heard = []

    async def listen():
        heard.append("asked")
        if len(heard) == 1:
            raise StoreError("away")
        yield Notice("campaign", campaign.id)
        await asyncio.Event().wait()

    monkeypatch.setattr(runtime.store, "listen", listen)
    runtime.decider.drop(campaign.id)
    task = asyncio.create_task(runtime._follow())
    await until(lambda: runtime.decider.policy(campaign.id) is not None)
    await end(task)
    assert heard == ["asked", "asked"]


async def test_what_cannot_be_opened_is_closed_again(settings, monkeypatch):
    async def broken(*_, **__):
        raise StoreError("away")

    monkeypatch.setattr(Runtime, "sync", broken)
    with pytest.raises(StoreError):
        await Runtime.open(settings)


async def test_a_pulse_never_fills_the_machine(monkeypatch):
    now, renewals = [0.0], []

    async def renew(own):
        renewals.append((now[0], own))
        now[0] += 1.0

    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    pulse = pulses.Pulse(renew)
    await pulse.now()
    scheduled = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda wait, call: scheduled.append((wait, call)) or scheduled)
    pulse.touch(own=True)
    pulse.touch()
    # It took one second, so the next comes twenty seconds after its beginning, not a fifth of one.
    assert [wait for wait, _ in scheduled] == [pulses.BREATH - 1.0]


async def test_a_pulse_asked_while_it_renews_does_so_once_more(caplog):
    going, done = asyncio.Event(), []

    async def renew(own):
        await going.wait()
        done.append(own)
        if len(done) == 1:
            raise StoreError("away")
        if len(done) == 2:
            raise ValueError("secret")

    pulse = pulses.Pulse(renew)
    pulse.every = 0.0
    pulse.touch(own=True)
    await until(lambda: pulse._task is not None)
    pulse.touch()
    pulse.touch(own=True)
    going.set()
    await until(lambda: len(done) == 2)
    pulse.touch()
    await until(lambda: len(done) == 3)
    await pulse.stop()
    assert done == [True, True, False]
    assert "the database is away" in caplog.text
    assert "secret" not in caplog.text
