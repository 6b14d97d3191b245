"""A thousand clients, 30 % vanishing at random steps, 65,536 words: is the sum exact, and what does the coordinator
pay?

Then: are 100,000 tampered messages refused? And the attacks, ε and AUC side by side.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from arauto.federated.audit import canary, inversion, row_support, row_support_single, tamper
from arauto.federated.client import Client
from arauto.federated.coordinator import Coordinator, public_key
from arauto.federated.local import new_offer
from arauto.federated.wire import Privacy

CLIENTS, DIM, GONE = 1000, 65_536, 0.3
CPU_SECONDS = 5.0
EPSILON = 3.0


class Clock:
    """CPU seconds spent in the blocks that it times."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._began = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self._began


def round_of(clients: int, dim: int, gone: float, seed: int = 0) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    key = Ed25519PrivateKey.generate()
    offer = new_offer(
        key,
        round_id=bytes(16),
        task="bench",
        model="00" * 32,
        dim=dim,
        quantum=1.0,
        privacy=Privacy(clip=1.0),
        clients=clients,
    )
    fate = {n: int(draw.integers(4)) for n in range(clients) if draw.random() < gone}
    theirs, ours = Clock(), Clock()
    expected = np.zeros(dim, np.uint32)
    with ours:
        coordinator = Coordinator(offer, key)
    crowd = {n: Client(coordinator.frame, public_key(key)) for n in range(clients) if fate.get(n) != 0}
    with theirs:
        joins = [client.join() for client in crowd.values()]
    with ours:
        for frame in joins:
            coordinator.take(frame)
        coordinator.advance()
        roster = coordinator.roster()
    crowd = {n: client for n, client in crowd.items() if fate.get(n) != 1}
    with theirs:
        frames = [client.shares(roster) for client in crowd.values()]
    with ours:
        for frame in frames:
            coordinator.take(frame)
        coordinator.advance()
    crowd = {n: client for n, client in crowd.items() if fate.get(n) != 2}
    for client in crowd.values():
        words = draw.integers(0, 1 << 32, dim, dtype=np.uint32)
        expected += words
        with ours:
            inbox = coordinator.inbox(client.position)
        with theirs:
            frame = client.masked(inbox, words)
        with ours:
            coordinator.take(frame)
    with ours:
        coordinator.advance()
        ask = coordinator.ask()
    for n, client in crowd.items():
        if fate.get(n) != 3:
            with theirs:
                frame = client.unmask(ask)
            with ours:
                coordinator.take(frame)
    with ours:
        coordinator.advance()
    exact = coordinator.outcome is not None and bool((coordinator.outcome.total == expected).all())
    return {
        "clients": clients,
        "dim": dim,
        "vanished": len(fate),
        "vanished_before": {
            name: list(fate.values()).count(n) for n, name in enumerate(("join", "shares", "masked", "unmask"))
        },
        "neighbours": offer.neighbours,
        "threshold": offer.threshold,
        "summed": len(crowd),
        "exact": exact,
        "reason": coordinator.reason,
        "coordinator_cpu_seconds": round(ours.seconds, 2),
        "client_cpu_ms": round(1000 * theirs.seconds / clients, 1),
    }


def main() -> dict[str, Any]:
    whole = round_of(CLIENTS, DIM, GONE)
    print(whole, flush=True)
    attacks = [row_support_single(masked) for masked in (False, True)] + [inversion(masked) for masked in (False, True)]
    for size in (16, 64, 256, 1000):
        trials = 20 if size < 1000 else 5
        attacks += [row_support(size, bound, trials=trials) for bound in (None, EPSILON)]
    attacks += [canary(size, epsilon) for size in (16, 64) for epsilon in (1.0, EPSILON, 8.0)]
    attacks.append(tamper(100_000))
    good = {
        "exact": whole["exact"],
        "cpu": whole["coordinator_cpu_seconds"] <= CPU_SECONDS,
        "bare_found": all(one.auc >= 0.99 for one in attacks if one.auc is not None and one.target == "bare update"),
        "masked_hidden": all(
            abs(one.auc - 0.5) <= 0.05 for one in attacks if one.auc and one.target == "masked update"
        ),
        "sums_hidden": all(
            one.auc <= 0.55 for one in attacks if one.auc and one.attack == "row support" and one.epsilon > 0
        ),
        "canaries": all(one.epsilon_lower <= one.epsilon for one in attacks if one.epsilon_lower is not None),
        "tampered": all(one.refused == one.tried and one.tried >= 100_000 for one in attacks if one.tried),
    }
    return {
        "round": whole,
        "attacks": [msgspec.to_builtins(one) for one in attacks],
        "promises": good,
        "passed": all(good.values()),
    }
