"""Rounds that survive: every accepted message and every move is committed before it is answered.

The state of a round is its rows. A process that is killed anywhere leaves a whole one, and the next to look, whoever it
is, rebuilds the coordinator from the messages (:mod:`arauto.federated.coordinator`) and goes on. A round's ρ is put on
the task in the transaction that opens the phase in which vectors are sent: before that nothing was given, from then on
it counts, whether the round succeeds or fails.
"""

from __future__ import annotations

import asyncio
import secrets
from hashlib import sha256

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from arauto.core.clock import Clock, SystemClock
from arauto.core.errors import ConflictError, InputError
from arauto.federated import wire
from arauto.federated.coordinator import Coordinator
from arauto.federated.local import new_offer
from arauto.federated.privacy import check_privacy, decode, epsilon_of
from arauto.federated.server import Server
from arauto.federated.wire import Offer, Privacy, RefusedError
from arauto.store import FederatedModel, RoundRow, Store

Floats = NDArray[np.float64]


def model_bytes(weights: Floats) -> bytes:
    """A model as it is kept and hashed: float32, little-endian."""
    return weights.astype("<f4").tobytes()


class Rounds:
    """Opens rounds, takes messages, moves rounds on. Any number of processes may do so on one store."""

    def __init__(self, store: Store, *, server: Server | None = None, clock: Clock | None = None) -> None:
        self._rows = store.federated
        self._server = server or Server()
        self._clock = clock or SystemClock()
        self._held: dict[str, Coordinator] = {}

    async def new_task(self, name: str, weights: Floats, *, epsilon: float, delta: float = 1e-6) -> None:
        """A model to learn, with all that one device may ever give to it."""
        kept = model_bytes(weights)
        await self._rows.new_task(name, epsilon, delta, kept, sha256(kept).hexdigest())

    async def open(
        self,
        task: str,
        *,
        clients: int,
        quantum: float,
        privacy: Privacy,
        patience_ms: int = 60_000,
        live: int | None = None,
    ) -> str:
        """Open a round for the task's last model; gives its id.

        Raises:
            ConflictError: another round of the task is open, or the budget does not allow one more.
            RefusedError: the privacy states less than its noise costs.
        """
        held, model = await self._rows.task(task), await self._rows.model(task)
        if epsilon_of(held.rho + privacy.rho, held.delta) > held.epsilon:
            raise ConflictError(
                f"the budget of ε = {held.epsilon:g} is spent",
                field="privacy",
                mend="this task ends here; start another",
            )
        key = Ed25519PrivateKey.generate()
        round_id = secrets.token_bytes(16)
        now = self._clock.now_ms()
        offer = new_offer(
            key, round_id=round_id, task=task, model=model.sha256, dim=len(model.weights) // 4, quantum=quantum,
            privacy=privacy, clients=clients, live=live, closes_ms=now + patience_ms,
        )  # fmt: skip
        check_privacy(offer)
        frame = Coordinator(offer, key).frame
        secret = key.private_bytes_raw()
        await self._rows.open_round(
            RoundRow(
                offer.round, task, frame, secret, privacy.rho, False, "join", now + patience_ms, patience_ms, "", None
            )
        )
        return offer.round

    async def take(self, round_id: str, frame: bytes) -> str:
        """Take a message; answers its sender after the commit. The same bytes again are welcome.

        Raises:
            RefusedError: as :meth:`Coordinator.take`, or the round has moved on.
        """
        row = await self._rows.round(round_id)
        coordinator = await self._current(row)
        phase = coordinator.phase
        try:
            sender = coordinator.take(frame)
        except RefusedError:
            if (phase, frame) in await self._rows.messages(round_id):
                return "again"
            raise
        name = sender.hex() if isinstance(sender, bytes) else str(sender)
        try:
            kept = await self._rows.put(round_id, phase, name, frame)
        except BaseException:
            self._held.pop(round_id, None)  # it knows of a message that may not be kept
            raise
        if not kept:
            self._held.pop(round_id, None)
            raise RefusedError("came too late, or after another of the same sender", field="phase")
        return name

    async def coordinator(self, round_id: str) -> Coordinator:
        """The round as it stands, to be asked for its frames."""
        return await self._current(await self._rows.round(round_id))

    async def advance(self, round_id: str) -> str:
        """End the phase now; gives the new one."""
        async with self._rows.moving(round_id) as move:
            coordinator = await asyncio.to_thread(rebuilt, move.row, move.taken)
            await asyncio.to_thread(coordinator.advance)
            phase: str = coordinator.phase
            if phase == "masked":
                task = await move.charge()
                if epsilon_of(task.rho, task.delta) > task.epsilon:
                    raise ConflictError("the budget is spent", field="privacy", mend="this task ends here")
            receipt = None
            if coordinator.outcome is not None:
                receipt = coordinator.outcome.receipt
                await move.model(await self._next_model(coordinator))
            await move.to(phase, reason=coordinator.reason, receipt=receipt)
        self._held.pop(round_id, None)
        return phase

    async def tick(self) -> list[tuple[str, str]]:
        """Move on every round whose phase has run out, or waits for nobody; gives (id, new phase)."""
        moved = []
        for row in await self._rows.rounds(open_only=True):
            coordinator = await self._current(row)
            if row.deadline_ms <= self._clock.now_ms() or coordinator.waits_for_nobody():
                moved.append((row.id, await self.advance(row.id)))
        return moved

    async def _next_model(self, coordinator: Coordinator) -> FederatedModel:
        outcome = coordinator.outcome
        if outcome is None:
            raise InputError("has no outcome", field="round")
        last = await self._rows.model(coordinator.offer.task)
        if last.sha256 != coordinator.offer.model:
            raise ConflictError("the task has another model by now", field="model", mend="start another round")
        weights = np.frombuffer(last.weights, "<f4").astype(np.float64)
        mean = decode(outcome.total, coordinator.offer) / outcome.live
        moved, state = self._server.step(weights, mean, last.state)
        kept = model_bytes(moved)
        return FederatedModel(
            last.task, last.version + 1, sha256(kept).hexdigest(), kept, state, coordinator.offer.round
        )

    async def _current(self, row: RoundRow) -> Coordinator:
        held = self._held.get(row.id)
        if held is None or held.phase != row.phase:
            held = rebuilt(row, await self._rows.messages(row.id))
            self._held[row.id] = held
        return held


def rebuilt(row: RoundRow, taken: list[tuple[str, bytes]]) -> Coordinator:
    """The coordinator of a round, from what was taken, up to its phase."""
    offer = wire.peek(row.offer, Offer)[0]
    coordinator = Coordinator(offer, Ed25519PrivateKey.from_private_bytes(row.secret))
    if row.phase == "failed":
        coordinator.phase, coordinator.reason = "failed", row.reason
        return coordinator
    while True:
        for phase, frame in taken:
            if phase == coordinator.phase:
                coordinator.take(frame)
        if coordinator.phase == row.phase:
            return coordinator
        coordinator.advance()
