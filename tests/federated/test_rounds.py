"""Rounds on the store: killed in any phase, nothing is half-applied, nothing is paid twice, nothing is forgotten."""

import asyncio
import os
import signal
import sys

import msgspec
import numpy as np
import pytest

from arauto.core.errors import ConflictError, NotFoundError
from arauto.federated import Client, Rounds, Server, median_of, noise_for
from arauto.federated.privacy import encode, epsilon_of
from arauto.federated.wire import Offer, RefusedError, peek
from tests.federated.rounds import AUTHORITY

DIM, CROWD = 8, 9
PRIVACY = noise_for(8, 1e-6, 2, 1.0, 1 / 4096, DIM, 4)

KILLED = """
import asyncio, os, signal, sys
import arauto.store.federated as rows
from arauto.core.settings import Settings, Secret
from arauto.federated import Authority, Rounds
from arauto.store import Store

async def main():
    url, home, round_id, when = sys.argv[1:]
    authority = Authority(bytes(range(32)))
    from pathlib import Path
    async with await Store.open(Settings(home=Path(home), database_url=Secret(url))) as store:
        real = rows.Move.to
        async def to(self, phase, **more):
            if when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            await real(self, phase, **more)
            os.kill(os.getpid(), signal.SIGKILL)
        rows.Move.to = to
        await Rounds(store, authority).advance(round_id)

asyncio.run(main())
"""


class Party:
    """A crowd that plays a round over the store, a new coordinator process (object) at every step."""

    def __init__(self, store):
        self.store = store

    async def open(self, **more):
        rounds = Rounds(self.store, AUTHORITY)
        self.id = await rounds.open("ctr", clients=CROWD, quantum=1 / 4096, privacy=PRIVACY, live=5, **more)
        frame = (await self.store.federated.round(self.id)).offer
        self.offer = peek(frame, Offer)[0]
        self.clients = [Client(frame, bytes.fromhex(self.offer.key)) for _ in range(CROWD)]
        return self

    async def speak(self, phase):
        rounds = Rounds(self.store, AUTHORITY)
        coordinator = await rounds.coordinator(self.id)
        for one in self.clients:
            if phase == "join":
                frame = one.join()
            elif phase == "shares":
                frame = one.shares(coordinator.roster())
            elif phase == "masked":
                frame = one.masked(coordinator.inbox(one.position), encode(np.full(DIM, 0.1), self.offer))
            else:
                frame = one.unmask(coordinator.ask())
            await rounds.take(self.id, frame)
            self.last = frame


@pytest.fixture
async def party(store):
    await Rounds(store, AUTHORITY).new_task("ctr", np.zeros(DIM), epsilon=9.0, free=True)
    return await Party(store).open()


async def finish(party, phases=("join", "shares", "masked", "unmask")):
    for phase in phases:
        await party.speak(phase)
        await Rounds(party.store, AUTHORITY).advance(party.id)


async def test_a_round_makes_a_model_and_pays(party, store):
    await finish(party)
    row = await store.federated.round(party.id)
    assert (row.phase, row.charged) == ("done", True)
    model = await store.federated.model("ctr")
    assert (model.version, model.round) == (2, party.id)
    mean = np.frombuffer(model.weights, "<f4")
    assert np.abs(mean - 0.1).max() < 8 * PRIVACY.noise / 4096 / 3
    assert (await store.federated.task("ctr")).rho == PRIVACY.rho
    assert party.clients[0].receipt(row.receipt).live == CROWD
    assert (await store.federated.model("ctr", 1)).round is None
    with pytest.raises(ConflictError):
        await Rounds(store, AUTHORITY).advance(party.id)
    with pytest.raises(NotFoundError):
        await store.federated.model("ctr", 9)


@pytest.mark.no_cover
@pytest.mark.long
async def test_killed_in_every_move(party, store, settings):
    """kill -9 before or after a move is written: until the commit nothing has happened; the next goes on."""
    for phase in ("join", "shares", "masked", "unmask"):
        await party.speak(phase)
        for when in ("before",) if phase in ("join", "masked") else ("after",):
            environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            arguments = [settings.database_url.reveal(), str(settings.home), party.id, when]
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, *arguments, env=environ)
            assert await process.wait() == -signal.SIGKILL
            # Killed inside the transaction: neither phase, nor budget, nor model has moved.
            row = await store.federated.round(party.id)
            assert row.phase == phase
            assert (await store.federated.task("ctr")).rho == (PRIVACY.rho if phase in ("masked", "unmask") else 0)
            assert (await store.federated.model("ctr")).version == 1
        await Rounds(store, AUTHORITY).advance(party.id)
    assert (await store.federated.round(party.id)).phase == "done"
    assert (await store.federated.model("ctr")).version == 2
    assert (await store.federated.task("ctr")).rho == PRIVACY.rho


async def test_a_message_counts_once_and_may_be_repeated(party, store):
    await party.speak("join")
    assert await Rounds(store, AUTHORITY).take(party.id, party.last) == "again"
    assert len(await store.federated.messages(party.id)) == CROWD
    rounds = Rounds(store, AUTHORITY)
    await rounds.coordinator(party.id)
    await Rounds(store, AUTHORITY).advance(party.id)
    with pytest.raises(RefusedError):
        await rounds.take(party.id, party.last)


async def test_a_late_message_is_refused_whoever_held_the_round(party, store, monkeypatch):
    """Two processes: one moves the round on while the other is taking a message."""
    await party.speak("join")
    rounds = Rounds(store, AUTHORITY)
    await rounds.coordinator(party.id)
    late = Client((await store.federated.round(party.id)).offer, bytes.fromhex(party.offer.key)).join()
    put = store.federated.put

    async def slow(*given):
        await Rounds(store, AUTHORITY).advance(party.id)
        return await put(*given)

    monkeypatch.setattr(store.federated, "put", slow)
    with pytest.raises(RefusedError, match="too late"):
        await rounds.take(party.id, late)
    assert (await rounds.coordinator(party.id)).phase == "shares"


async def test_deadlines_and_stragglers(store):
    class Clock:
        now = 1_000

        def now_ms(self):
            return self.now

    clock = Clock()
    rounds = Rounds(store, AUTHORITY, clock=clock)
    await rounds.new_task("ctr", np.zeros(DIM), epsilon=9.0, free=True)
    party = await Party(store).open()
    assert await Rounds(store, AUTHORITY).tick() == []
    await party.speak("join")
    await rounds.advance(party.id)
    await party.speak("shares")
    assert await Rounds(store, AUTHORITY).tick() == [(party.id, "masked")]
    clock.now = 10**15
    assert await rounds.tick() == [(party.id, "failed")]
    row = await store.federated.round(party.id)
    assert "delivered" in row.reason
    assert (await Rounds(store, AUTHORITY).coordinator(party.id)).reason == row.reason
    # Vectors may have been given: it stays paid.
    assert (await store.federated.task("ctr")).rho == PRIVACY.rho


async def test_one_round_at_a_time_and_a_hard_stop(party, store):
    with pytest.raises(ConflictError, match="is open"):
        await Party(store).open()
    with pytest.raises(ConflictError, match="already"):
        await Rounds(store, AUTHORITY).new_task("ctr", np.zeros(DIM), epsilon=1.0)
    await finish(party)
    await finish(await Party(store).open())
    task = await store.federated.task("ctr")
    assert epsilon_of(task.rho, task.delta) == pytest.approx(8.0, abs=1e-6)
    with pytest.raises(ConflictError, match="is spent"):
        await Party(store).open()
    with pytest.raises(NotFoundError):
        await store.federated.task("other")
    with pytest.raises(NotFoundError):
        await Rounds(store, AUTHORITY).advance("00")


async def test_an_offer_must_be_honest(store):
    rounds = Rounds(store, AUTHORITY)
    await rounds.new_task("ctr", np.zeros(DIM), epsilon=9.0, free=True)
    with pytest.raises(RefusedError):
        await rounds.open(
            "ctr", clients=9, quantum=1 / 4096, privacy=msgspec.structs.replace(PRIVACY, rho=PRIVACY.rho / 2), live=5
        )


def test_adam_and_the_median():
    server = Server(rate=0.1, adam=True)
    weights, state = np.zeros(2), b""
    for _ in range(50):
        weights, state = server.step(weights, np.array([1.0, -1.0]) - weights, state)
    assert np.abs(weights - [1, -1]).max() < 0.5
    assert median_of([np.zeros(2), np.ones(2), np.full(2, 1e9)]).tolist() == [1, 1]
    assert Server(rate=0.5).step(np.zeros(1), np.ones(1), b"")[0].tolist() == [0.5]
    heavy, state = Server(momentum=0.5), b""
    for expected in (1.0, 2.5, 4.25):
        weights, state = heavy.step(np.zeros(1) if not state else weights, np.ones(1), state)
        assert weights.tolist() == [expected]
