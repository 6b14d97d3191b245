"""A round in memory, with drop-outs where the test says."""

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from arauto.federated.authority import Authority
from arauto.federated.client import Client
from arauto.federated.coordinator import Coordinator, public_key
from arauto.federated.wire import Offer, Privacy

AUTHORITY = Authority(bytes(range(32)))
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PINNED = public_key(KEY)


def offer(n=12, k=6, t=4, dim=16, live=6, **more):
    return Offer(
        **{
            "round": "00" * 16, "task": "words", "model": "ab" * 32, "dim": dim, "quantum": 1.0, "neighbours": k,
            "threshold": t, "least": max(k + 1, n // 2), "live": live, "closes_ms": 1, "key": PINNED.hex(),
            "privacy": Privacy(clip=1.0), **more,
        }
    )  # fmt: skip


def play(contract, count, fate=None, words=None, seed=0, **client):
    """Run a round; ``fate[i]`` is the step (1 … 3) after which client i goes. Answers coordinator, clients, sum."""
    fate = fate or {}
    draw = np.random.default_rng(seed)
    coordinator = Coordinator(contract, KEY)
    clients = [Client(coordinator.frame, PINNED, **client) for _ in range(count)]
    values = words if words is not None else draw.integers(0, 2**32, (count, contract.dim), dtype=np.uint32)
    for one in clients:
        coordinator.take(one.join())
    coordinator.advance()
    here = [i for i in range(count) if fate.get(i) != 1]
    for i in here:
        coordinator.take(clients[i].shares(coordinator.roster()))
    if coordinator.advance() == "failed":
        return coordinator, clients, None
    here = [i for i in here if fate.get(i) != 2]
    for i in here:
        coordinator.take(clients[i].masked(coordinator.inbox(clients[i].position), values[i]))
    expected = values[here].sum(axis=0, dtype=np.uint32)
    if coordinator.advance() == "failed":
        return coordinator, clients, expected
    for i in here:
        if fate.get(i) != 3:
            coordinator.take(clients[i].unmask(coordinator.ask()))
    coordinator.advance()
    return coordinator, clients, expected
