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
from numpy.typing import NDArray

from arauto.core.clock import Clock, SystemClock
from arauto.core.errors import AuthError, ConflictError
from arauto.federated import wire
from arauto.federated.authority import Authority, Ticket, key_hash, new_site_key
from arauto.federated.coordinator import Coordinator, public_key
from arauto.federated.local import new_offer
from arauto.federated.privacy import check_privacy, decode, epsilon_of
from arauto.federated.server import Server
from arauto.federated.wire import Offer, Privacy, RefusedError
from arauto.store import FederatedModel, RoundRow, Store

Floats = NDArray[np.float64]
KEPT_MS = 86_400_000
"""How long the messages of a round are kept after its end."""


def model_bytes(weights: Floats) -> bytes:
    """A model as it is kept and hashed: float32, little-endian."""
    return weights.astype("<f4").tobytes()


class Rounds:
    """Opens rounds, takes messages, moves rounds on. Any number of processes may do so on one store."""

    def __init__(
        self, store: Store, authority: Authority, *, server: Server | None = None, clock: Clock | None = None
    ) -> None:
        self._rows = store.federated
        self._authority = authority
        self._server = server or Server()
        self._clock = clock or SystemClock()
        self._held: dict[str, Coordinator] = {}

    async def new_task(
        self, name: str, weights: Floats, *, epsilon: float, delta: float = 1e-6, free: bool = False
    ) -> None:
        """A model to learn, with all that one device may ever give to it. ``free``: anyone may join, without a
        token."""
        kept = model_bytes(weights)
        await self._rows.new_task(name, epsilon, delta, kept, sha256(kept).hexdigest(), free=free)

    async def new_site(self, name: str, quota: int) -> str:
        """Let a site bring ``quota`` clients into each round; gives its key, to be told once. A known site gets another
        key, and the old one counts no more.

        Raises:
            InputError: the name or the quota cannot be used.
        """
        key, kept = new_site_key(name, quota)
        await self._rows.new_site(name, kept, quota)
        return key

    async def tokens(self, round_id: str, key: str, first: int = 0, count: int = 1) -> list[str]:
        """Tokens of a site for a round: its ``first``, and ``count`` in all; fewer where its quota ends.

        Raises:
            AuthError: the key is no site's.
            ConflictError: joining has ended.
        """
        site = await self._rows.site(sha256=key_hash(key))
        if site is None:
            raise AuthError("is no key of a site", field="key", mend="arauto federated site NAME")
        if (await self._rows.round(round_id)).phase != "join":
            raise ConflictError("joining has ended", field="round", mend="wait for another round")
        numbers = range(max(0, first), min(first + count, site.quota))
        return [self._authority.token(round_id, Ticket(site.name, number)) for number in numbers]

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
        key = self._authority.key
        round_id = secrets.token_bytes(16)
        now = self._clock.now_ms()
        offer = new_offer(
            key, round_id=round_id, task=task, model=model.sha256, dim=len(model.weights) // 4, quantum=quantum,
            privacy=privacy, clients=clients, live=live, closes_ms=now + patience_ms,
        )  # fmt: skip
        check_privacy(offer)
        frame = Coordinator(offer, key).frame
        await self._rows.open_round(RoundRow(offer.round, task, frame, privacy.rho, patience_ms, now + patience_ms))
        return offer.round

    async def take(self, round_id: str, frame: bytes, token: str | None = None) -> str:
        """Take a message; answers its sender after the commit. The same bytes again are welcome. Joining takes a
        ``token`` unless the task is free; later messages prove themselves by the keys that joined.

        Raises:
            AuthError: there is no token, or none that lets in.
            RefusedError: as :meth:`Coordinator.take`, or the round has moved on.
        """
        row = await self._rows.round(round_id)
        coordinator = await self._current(row)
        phase = coordinator.phase
        ticket = await self._ticket(row, token) if phase == "join" else None
        try:
            sender = coordinator.take(frame)
        except RefusedError:
            if (phase, frame) in await self._rows.messages(round_id):
                return "again"
            raise
        name = sender.hex() if isinstance(sender, bytes) else str(sender)
        try:
            kept = await self._rows.put(round_id, phase, name, frame, str(ticket) if ticket else None)
        except BaseException:
            self._held.pop(round_id, None)  # it knows of a message that may not be kept
            raise
        if not kept:
            self._held.pop(round_id, None)
            raise RefusedError("came too late, or after another of the same sender or token", field="phase")
        return name

    async def _ticket(self, row: RoundRow, token: str | None) -> Ticket | None:
        if (await self._rows.task(row.task)).free:
            return None
        if token is None:
            raise AuthError("joining takes a token", field="token", mend="ask the site for one")
        ticket = self._authority.ticket(row.id, token)
        site = await self._rows.site(name=ticket.site)
        if site is None or ticket.number >= site.quota:
            raise AuthError("is of a site that may not let clients in", field="token", mend="ask another site")
        return ticket

    async def coordinator(self, round_id: str) -> Coordinator:
        """The round as it stands, to be asked for its frames."""
        return await self._current(await self._rows.round(round_id))

    async def advance(self, round_id: str) -> str:
        """End the phase now; gives the new one."""
        async with self._rows.moving(round_id) as move:
            coordinator = await asyncio.to_thread(rebuilt, move.row, move.taken, self._authority)
            await asyncio.to_thread(coordinator.advance)
            phase: str = coordinator.phase
            if phase == "masked":
                task = await move.charge()
                if epsilon_of(task.rho, task.delta) > task.epsilon:
                    raise ConflictError("the budget is spent", field="privacy", mend="this task ends here")
            receipt, norm = None, None
            if coordinator.outcome is not None:
                receipt = coordinator.outcome.receipt
                mean = decode(coordinator.outcome.total, coordinator.offer) / coordinator.outcome.live
                norm = float(np.linalg.norm(mean))
                await move.model(await self._next_model(coordinator.offer, mean))
            await move.to(phase, reason=coordinator.reason, receipt=receipt, norm=norm)
        self._held.pop(round_id, None)
        return phase

    async def tick(self) -> list[tuple[str, str]]:
        """Move on every round whose phase has run out, or waits for nobody; gives (id, new phase)."""
        moved = []
        await self._rows.forget(self._clock.now_ms() - KEPT_MS)
        for row in await self._rows.rounds(open_only=True):
            coordinator = await self._current(row)
            if row.deadline_ms <= self._clock.now_ms() or coordinator.waits_for_nobody():
                moved.append((row.id, await self.advance(row.id)))
        return moved

    async def _next_model(self, offer: Offer, mean: Floats) -> FederatedModel:
        last = await self._rows.model(offer.task)
        if last.sha256 != offer.model:
            raise ConflictError("the task has another model by now", field="model", mend="start another round")
        weights = np.frombuffer(last.weights, "<f4").astype(np.float64)
        moved, state = self._server.step(weights, mean, last.state)
        kept = model_bytes(moved)
        return FederatedModel(last.task, last.version + 1, sha256(kept).hexdigest(), kept, state, offer.round)

    async def _current(self, row: RoundRow) -> Coordinator:
        held = self._held.get(row.id)
        if held is None or held.phase != row.phase:
            held = rebuilt(row, await self._rows.messages(row.id), self._authority)
            self._held[row.id] = held
        return held


def rebuilt(row: RoundRow, taken: list[tuple[str, bytes]], authority: Authority) -> Coordinator:
    """The coordinator of a round, from what was taken, up to its phase.

    Raises:
        ConflictError: it was opened with another secret, or its messages are forgotten.
    """
    offer = wire.peek(row.offer, Offer)[0]
    if offer.key != public_key(authority.key).hex():
        raise ConflictError(
            "was opened with another secret", field="round", mend="set federated_secret to the one it was opened with"
        )
    coordinator = Coordinator(offer, authority.key)
    if row.phase == "failed":
        coordinator.phase, coordinator.reason = "failed", row.reason
        return coordinator
    if row.phase == "done" and not taken:
        raise ConflictError("its messages are forgotten", field="round", mend="its receipt is kept")
    while True:
        for phase, frame in taken:
            if phase == coordinator.phase:
                coordinator.take(frame)
        if coordinator.phase == row.phase:
            return coordinator
        coordinator.advance()
