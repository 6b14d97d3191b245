"""What is told of rounds, and a model of many devices that goes live through the release machine."""

import sys

import numpy as np
import pytest

from arauto.core.errors import ConflictError, InputError, NotFoundError
from arauto.federated import Client, Rounds, Server, encode, noise_for
from arauto.loop import NewRelease, federated_tasks, read_release, release_model, steer_release
from arauto.loop.federated import shares_of
from tests.federated.rounds import AUTHORITY
from tests.loop.made import launch
from tests.loop.test_release import ACTOR

CROWD = 9
PRIVACY = noise_for(8, 1e-6, 3, 1.0, 1 / 4096, 2, 4)


async def open_round(store):
    rounds = Rounds(store, AUTHORITY, server=Server(rate=4.0))
    return rounds, await rounds.open("taste", clients=CROWD, quantum=1 / 4096, privacy=PRIVACY, live=5)


async def learn(store, update, gone=()):
    """A round of nine devices; those of ``gone`` go away before the masked vector."""
    rounds, round_id = await open_round(store)
    first = await rounds.coordinator(round_id)
    clients = [Client(first.frame, bytes.fromhex(first.offer.key)) for _ in range(CROWD)]
    for one in clients:
        await rounds.take(round_id, one.join())
    await rounds.advance(round_id)
    for one in clients:
        await rounds.take(round_id, one.shares((await rounds.coordinator(round_id)).roster()))
    await rounds.advance(round_id)
    there = [one for n, one in enumerate(clients) if n not in gone]
    for one in there:
        inbox = (await rounds.coordinator(round_id)).inbox(one.position)
        await rounds.take(round_id, one.masked(inbox, encode(np.array(update), first.offer)))
    await rounds.advance(round_id)
    for one in there:
        await rounds.take(round_id, one.unmask((await rounds.coordinator(round_id)).ask()))
    assert await rounds.advance(round_id) == "done"
    return round_id


@pytest.fixture
async def task(store):
    assert await federated_tasks(store) == ()
    await Rounds(store, AUTHORITY).new_task("taste", np.zeros(2), epsilon=9.0, free=True)
    return store


async def test_what_is_told_of_rounds(task):
    done = await learn(task, [0.6, -0.6], gone=(3,))
    rounds, waiting = await open_round(task)
    first = await rounds.coordinator(waiting)
    await rounds.take(waiting, Client(first.frame, bytes.fromhex(first.offer.key)).join())
    (told,) = await federated_tasks(task)
    assert (told.name, told.version, told.free) == ("taste", 2, True)
    assert told.spent == pytest.approx(told.rounds[1].epsilon)
    assert 0 < told.spent < 8
    by = {one.id: one for one in told.rounds}
    assert (by[done].phase, by[done].clients, by[done].live) == ("done", 9, 8)
    assert by[done].lost == {"shares": 0, "masked": 1, "unmask": 0}
    assert by[done].update_norm == pytest.approx(0.6 * 2**0.5, abs=8 * PRIVACY.noise / 4096)
    assert (by[done].version, by[done].releases) == (2, ())
    assert (by[waiting].phase, by[waiting].clients, by[waiting].lost, by[waiting].live) == ("join", 1, {}, None)


async def test_without_the_extra_it_is_said(task, monkeypatch):
    await open_round(task)
    monkeypatch.setitem(sys.modules, "arauto.federated", None)
    with pytest.raises(InputError, match="arauto\\[federated\\]"):
        await federated_tasks(task)


async def test_a_model_is_released_through_the_ramp_and_rolled_back(task):
    _, campaign = await launch(task)
    with pytest.raises(InputError, match="began with"):
        await release_model(task, "taste", campaign.id, actor=ACTOR)
    round_id = await learn(task, [0.7, -0.7])
    release = await release_model(task, "taste", campaign.id, actor=ACTOR)
    assert (release.status, release.share, release.change["allocation"]) == ("running", 0.01, "fixed")
    names = sorted(variant.name for variant in await task.catalogue.variants(campaign.id))
    shares = release.change["shares"]
    assert shares[names[0]] > 0.6 > shares[names[1]] >= 0.01
    assert sum(shares.values()) == pytest.approx(1)
    (told,) = await federated_tasks(task)
    assert {one.id: one.releases for one in told.rounds} == {round_id: (release.id,)}
    with pytest.raises(ConflictError, match="already"):
        await release_model(task, "taste", campaign.id, actor=ACTOR)
    await steer_release(task, release.id, "rollback", actor=ACTOR)
    assert (await read_release(task, release.id)).status == "rolled_back"
    assert (await task.catalogue.campaign(campaign.id)).plan == campaign.plan


async def test_what_cannot_be_released(task):
    _, campaign = await launch(task, arms=3)
    await learn(task, [0.5, 0.5])
    with pytest.raises(InputError, match="3 live variants"):
        await release_model(task, "taste", campaign.id, actor=ACTOR, new=NewRelease(steps=(0.5, 1.0)))
    with pytest.raises(NotFoundError):
        await release_model(task, "taste", campaign.id, version=9, actor=ACTOR)


def test_every_variant_keeps_a_share():
    for scores in ([9.0, -9.0, 0.0], [0.0] * 200, [1e6] + [0.0] * 199):
        shares = shares_of(np.array(scores))
        assert sum(shares) == pytest.approx(1)
        assert min(shares) > 0.0009
    assert min(shares_of(np.array([9.0, -9.0]))) >= 0.01
