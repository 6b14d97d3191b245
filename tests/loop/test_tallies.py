"""Experiments for screens: as of now where that is quick, else as of the latest reading; equal to a reading anew."""

import asyncio
from uuid import UUID

import msgspec
import pytest

from arauto.core.errors import StoreError
from arauto.loop import read_experiment
from arauto.loop.tallies import Tallies
from tests.store.builders import NOW, Decisions, new_campaign, tomb_of

PATIENT = 60.0
ANN = UUID(int=7)


async def seen(store, made, variants, first, count):
    """Decisions of moving shares: every third is clicked, every fourth is Ann's."""
    decisions = Decisions(made, variants)
    told = []
    for n in range(first, first + count):
        one = decisions.new(at_ms=NOW + n * 60_000, variant=n % 2, visitor=None if n % 4 else ANN)
        share = 0.25 + 0.5 * (n % 2)
        told += [one.row("impression", propensity=share)]
        told += [one.row("click", propensity=share)] if n % 3 == 0 else []
    await store.events.append(told)


@pytest.fixture
async def bandit(store):
    made, variants = await new_campaign(store, arms=2)
    await seen(store, made, variants, 0, 40)
    return made, variants


@pytest.fixture
async def tallies(store, clock):
    made = Tallies(store, clock, PATIENT)
    yield made
    await made.close()


def stopped(store, monkeypatch):
    """Reading every exposure waits until it is let go on."""
    go, outcomes = asyncio.Event(), store.rollups.outcomes

    async def slow(*args, **kwargs):
        await go.wait()
        return await outcomes(*args, **kwargs)

    monkeypatch.setattr(store.rollups, "outcomes", slow)
    return go


async def anew(store, made, clock):
    return await read_experiment(store, made.id, clock=clock)


async def test_what_is_quick_is_as_of_now(store, clock, bandit, tallies):
    made, variants = bandit
    assert await tallies.read(made.id) == await anew(store, made, clock)
    await seen(store, made, variants, 40, 20)
    found = await tallies.read(made.id)
    assert found == await anew(store, made, clock)
    assert sum(arm.impressions for arm in found.arms) == 60
    assert await store.tallies.get(made.id) is None


async def test_what_is_slow_is_kept_and_told_as_of_its_time(store, clock, bandit, monkeypatch):
    made, variants = bandit
    first = await anew(store, made, clock)
    go = stopped(store, monkeypatch)
    tallies = Tallies(store, clock, 0.0)
    assert await tallies.read(made.id) is None
    waiting = asyncio.create_task(tallies.read(made.id, patient=True))
    go.set()
    assert await waiting == first
    kept = await store.tallies.get(made.id)
    assert kept.at_ms == first.as_of_ms == clock.now_ms()
    # Another process, after a restart: at once what was kept, with any control; then the newest.
    go.clear()
    await seen(store, made, variants, 40, 20)
    clock.advance(100_000)
    other = Tallies(store, clock, 0.0)
    assert await other.read(made.id) == first
    assert (await other.read(made.id, "b")).control == "b"
    go.set()
    await asyncio.gather(*other._reading.values())
    second = await other.read(made.id)
    assert second == await anew(store, made, clock)
    assert second.as_of_ms == first.as_of_ms + 100_000
    # The first hears of it, and what is older replaces nothing.
    assert await tallies.read(made.id) == second
    await store.tallies.keep(made.id, kept)
    assert (await store.tallies.get(made.id)).at_ms == second.as_of_ms
    await tallies.close()
    await other.close()


async def test_what_took_long_is_not_read_again_at_once(store, clock, bandit, tallies, monkeypatch):
    made, variants = bandit
    first = await tallies.read(made.id)
    tallies._known[made.id] = msgspec.structs.replace(tallies._known[made.id], took_ms=80_000)
    await seen(store, made, variants, 40, 20)
    clock.advance(399_000)
    assert await tallies.read(made.id) == first
    clock.advance(1_000)
    assert await tallies.read(made.id) == first, "nobody waits for what took longer than an instant"
    await asyncio.gather(*tallies._reading.values())
    assert await tallies.read(made.id) == await anew(store, made, clock)


async def test_another_plan_or_an_erasure_makes_it_void(store, clock, bandit, tallies):
    made, _ = bandit
    tally = msgspec.structs.replace(await _tally(tallies, made), took_ms=80_000)
    await store.tallies.keep(made.id, tally)
    await _plan(store, made, msgspec.structs.replace(made.plan, goal="purchase"))
    assert (await tallies.read(made.id)).goal == "purchase"
    await _plan(store, made, made.plan)
    await store.privacy.erase(ANN, tomb_of(ANN), "test")
    assert await store.tallies.get(made.id) is None
    tallies._known[made.id] = tally
    assert sum(arm.impressions for arm in (await tallies.read(made.id)).arms) == 40
    tallies.forget()
    found = await tallies.read(made.id)
    assert sum(arm.impressions for arm in found.arms) == 30
    assert found == await anew(store, made, clock)


async def _plan(store, made, plan):
    await store.catalogue.change_draft(
        made.id, name=made.name, brief=made.brief, message=made.message, plan=plan, actor="test"
    )


async def _tally(tallies, made):
    await tallies.read(made.id)
    return tallies._known[made.id]


async def test_what_was_kept_otherwise_is_read_anew(store, bandit):
    made, _ = bandit
    async with store._database.connection() as connection:
        await connection.execute("INSERT INTO tallies VALUES (%s, 1, 1, '{\"old\": 1}')", [made.id])
    assert await store.tallies.get(made.id) is None


async def test_a_failure_is_told_to_who_waits_and_logged(store, bandit, tallies, monkeypatch, caplog):
    made, _ = bandit

    async def away(*args, **kwargs):
        raise StoreError("away")

    monkeypatch.setattr(store.rollups, "outcomes", away)
    with pytest.raises(StoreError):
        await tallies.read(made.id)
    assert "could not be read" in caplog.text
    assert not tallies._reading


async def test_the_same_facts_are_told_once(store, clock, bandit, tallies, monkeypatch):
    made, _ = bandit
    first = await tallies.read(made.id)
    told = []
    monkeypatch.setattr("arauto.loop.tallies.tell_experiment", lambda *facts: told.append(facts) or first)
    clock.advance(60_000)
    again = await tallies.read(made.id)
    assert (told, again) == ([], msgspec.structs.replace(first, as_of_ms=first.as_of_ms + 60_000))
    await tallies.read(made.id, "b")
    assert len(told) == 1
    await store.catalogue.set_campaign_state(made.id, "live", "test")
    await tallies.read(made.id)
    assert len(told) == 2
