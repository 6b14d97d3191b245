"""A regional coordinator that is given weights, as its Flower client does."""

import asyncio

import numpy as np
import pytest

from arauto.core.errors import ConflictError, InputError, NotFoundError
from arauto.federated import Client, Report, Rounds, encode, learn, noise_for, region, until_given
from arauto.federated.wire import Offer, peek
from tests.federated.rounds import AUTHORITY

DIM, CROWD = 4, 7
PRIVACY = noise_for(1e4, 1e-6, 4, 1.0, 1 / 4096, DIM, 4)


@pytest.fixture
async def rounds(store):
    rounds = Rounds(store, AUTHORITY)
    await rounds.new_task("ctr", np.zeros(DIM), epsilon=1e5, free=True)
    return rounds


async def serve(store, rounds, crowd=CROWD):
    """What `arauto federated coordinator --given` does, and its devices; each says a quarter more."""
    await until_given(store, "ctr")
    round_id = await rounds.open("ctr", clients=CROWD, quantum=1 / 4096, privacy=PRIVACY, live=5)
    frame = (await rounds.coordinator(round_id)).frame
    offer = peek(frame, Offer)[0]
    clients = [Client(frame, bytes.fromhex(offer.key)) for _ in range(crowd)]
    for one in clients:
        await rounds.take(round_id, one.join())
    if await rounds.advance(round_id) == "failed":
        return
    coordinator = await rounds.coordinator(round_id)
    for one in clients:
        await rounds.take(round_id, one.shares(coordinator.roster()))
    await rounds.advance(round_id)
    coordinator = await rounds.coordinator(round_id)
    for one in clients:
        words = encode(np.full(DIM, 0.25), offer)
        await rounds.take(round_id, one.masked(coordinator.inbox(one.position), words))
    await rounds.advance(round_id)
    coordinator = await rounds.coordinator(round_id)
    for one in clients:
        await rounds.take(round_id, one.unmask(coordinator.ask()))
    await rounds.advance(round_id)


async def test_weights_go_in_and_come_back_with_the_sum(store, rounds):
    for number in range(2):
        given = np.full(DIM, 10.0 * number)
        told, _ = await asyncio.gather(learn(store, "ctr", given), serve(store, rounds))
        assert isinstance(told, Report)
        assert np.abs(told.weights - given - 0.25).max() < 0.05
        assert (told.live, told.epsilon, told.delta) == (CROWD, PRIVACY.epsilon, 1e-6)
        assert told.receipt == (await store.federated.last_round("ctr")).receipt
    models = await store.federated.models("ctr")
    assert [one.round is None for one in models] == [True, True, False, True, False]
    assert not await store.federated.given("ctr")


async def test_a_round_that_fails_is_told_and_the_same_weights_may_be_given_again(store, rounds):
    given = np.ones(DIM)
    found = asyncio.gather(learn(store, "ctr", given), serve(store, rounds, crowd=2))
    with pytest.raises(ConflictError, match="2 joined"):
        await found
    assert not await store.federated.given("ctr")
    told, _ = await asyncio.gather(learn(store, "ctr", given), serve(store, rounds))
    assert told.live == CROWD


async def test_what_cannot_be_given(store, rounds):
    with pytest.raises(InputError, match="has 4 numbers, 5 were given"):
        await learn(store, "ctr", np.ones(5))
    with pytest.raises(NotFoundError):
        await learn(store, "other", np.ones(5))
    with pytest.raises(ConflictError, match="no round ended"):
        await learn(store, "ctr", np.ones(DIM), patience_s=0.0)
    await rounds.open("ctr", clients=CROWD, quantum=1 / 4096, privacy=PRIVACY, live=5)
    with pytest.raises(ConflictError, match="is open"):
        await learn(store, "ctr", np.ones(DIM))


async def test_a_region_finds_its_installation_by_its_settings(store, rounds, settings):
    once = region("ctr", settings=settings, patience_s=0.0)
    with pytest.raises(ConflictError, match="no round ended"):
        await asyncio.to_thread(once, np.ones(DIM))
    assert await store.federated.given("ctr")
