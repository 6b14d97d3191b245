"""A whole round in one process: clients that deliver, clients that vanish, one coordinator. For simulation and
audits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from arauto.core.errors import InputError
from arauto.federated.client import Client
from arauto.federated.coordinator import Coordinator, Outcome, public_key
from arauto.federated.masks import Words
from arauto.federated.wire import Offer, Privacy

Step = Literal["join", "shares", "masked", "unmask"]


class Round(NamedTuple):
    """What came of a round, and every frame that crossed the wire, for those who attack it."""

    outcome: Outcome | None
    reason: str
    frames: dict[str, list[bytes]]


def new_offer(
    key: Ed25519PrivateKey,
    *,
    round_id: bytes,
    task: str,
    model: str,
    dim: int,
    quantum: float,
    privacy: Privacy,
    clients: int,
    live: int | None = None,
    closes_ms: int = 0,
    plan: Mapping[str, float] | None = None,
) -> Offer:
    """An offer with a graph that suits ``clients`` expected: half of them as neighbours, 100 at most, 55 % needed.

    ``live`` defaults to half of the clients.

    Raises:
        InputError: fewer than 3 clients.
    """
    if clients < 3:
        raise InputError("must be 3 or more", field="clients", mend="a sum of two hides nothing from either")
    # A small crowd knows everyone; a large one has room for clients that never join.
    neighbours = (clients - 1) // 2 * 2 if clients <= 16 else min(100, max(14, clients // 4 * 2))
    threshold = max(neighbours // 2 + 1, round(0.55 * neighbours))
    live = live or max(threshold, clients // 2)
    return Offer(
        round=round_id.hex(),
        task=task,
        model=model,
        dim=dim,
        quantum=quantum,
        neighbours=neighbours,
        threshold=threshold,
        least=max(neighbours + 1, live),
        live=live,
        closes_ms=closes_ms,
        key=public_key(key).hex(),
        privacy=privacy,
        plan=dict(plan or {}),
    )


def play(
    offer: Offer,
    key: Ed25519PrivateKey,
    updates: Sequence[Callable[[Offer], Words]],
    *,
    fate: Mapping[int, Step] | None = None,
    keep: bool = False,
    spend: Callable[[Offer], None] = lambda _: None,
) -> Round:
    """Run ``offer`` with a client for each of ``updates``; ``fate[i]`` is the message that client i never sends."""
    coordinator = Coordinator(offer, key)
    pinned = public_key(key)
    frames: dict[str, list[bytes]] = {"offer": [coordinator.frame]}
    clients = {n: Client(coordinator.frame, pinned, spend=spend) for n in range(len(updates))}
    says: dict[Step, Callable[[int, Client], bytes]] = {
        "join": lambda _, client: client.join(),
        "shares": lambda _, client: client.shares(coordinator.roster()),
        "masked": lambda n, client: client.masked(coordinator.inbox(client.position), updates[n](offer)),
        "unmask": lambda _, client: client.unmask(coordinator.ask()),
    }
    for step, say in says.items():
        clients = {n: client for n, client in clients.items() if (fate or {}).get(n) != step}
        for n, client in clients.items():
            frame = say(n, client)
            coordinator.take(frame)
            if keep:
                frames.setdefault(step, []).append(frame)
        if coordinator.advance() == "failed":
            break
    return Round(coordinator.outcome, coordinator.reason, frames)
