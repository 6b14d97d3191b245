"""Test vectors of the protocol: one small round in which nothing is random. docs/federated-protocol.md prints them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from arauto.federated import masks, wire
from arauto.federated.client import Client, Keys
from arauto.federated.coordinator import Coordinator, public_key
from arauto.federated.wire import Offer, Privacy

CLIENTS, DIM, THRESHOLD = 5, 4, 3
DROPPED = 4
"""The client (in the order of ``n``) that sends shares and no vector."""


def _bytes(name: str, size: int) -> bytes:
    """SHA-256 of ``name/0``, ``name/1``, … one after the other, cut to ``size``."""
    blocks = (sha256(f"{name}/{n}".encode()).digest() for n in range(-(-size // 32)))
    return b"".join(blocks)[:size]


def keys(n: int) -> Keys:
    """The secrets of client ``n``."""
    sizes = {"id": 16, "channel": 32, "mask": 32, "sign": 32, "seed": 32, "coefficients": 64 * (THRESHOLD - 1)}
    return Keys(*(_bytes(f"client {n} {name}", size) for name, size in sizes.items()))


def words(n: int) -> masks.Words:
    """The vector of client ``n``: n, 1, 2³² − 1 − n, 7."""
    return np.array([n, 1, 2**32 - 1 - n, 7], np.uint32)


def vectors() -> dict[str, Any]:
    """Every intermediate value that another implementation would want to compare; bytes in hexadecimal."""
    key = Ed25519PrivateKey.from_private_bytes(_bytes("coordinator", 32))
    offer = Offer(
        round="0f" * 16, task="vectors", model="ab" * 32, dim=DIM, quantum=0.5, neighbours=4, threshold=THRESHOLD,
        least=CLIENTS, live=THRESHOLD, closes_ms=1_800_000_000_000, key=public_key(key).hex(),
        privacy=Privacy(clip=1.0),
    )  # fmt: skip
    coordinator = Coordinator(offer, key)
    crowd = [Client(coordinator.frame, public_key(key), keys=keys(n)) for n in range(CLIENTS)]
    joins = [one.join() for one in crowd]
    _send(coordinator, joins)
    shares = [one.shares(coordinator.roster()) for one in crowd]
    _send(coordinator, shares)
    there = [n for n in range(CLIENTS) if n != DROPPED]
    masked = [crowd[n].masked(coordinator.inbox(crowd[n].position), words(n)) for n in there]
    _send(coordinator, masked)
    unmasked = [crowd[n].unmask(coordinator.ask()) for n in there]
    _send(coordinator, unmasked)
    if coordinator.outcome is None:
        raise AssertionError(coordinator.reason)
    transcript = bytes.fromhex(wire.peek(shares[0], wire.Shares)[0].transcript)
    first, second = keys(0), keys(1)
    shared = masks.agree(X25519PrivateKey.from_private_bytes(first.mask), masks.public(_private(second.mask)))
    return {
        "coordinator_secret": _bytes("coordinator", 32).hex(),
        "client_0": {name: value.hex() for name, value in first._asdict().items()},
        "offer": coordinator.frame.hex(),
        "offer_hash": wire.frame_hash(coordinator.frame),
        "join_0": joins[0].hex(),
        "roster": coordinator.roster().hex(),
        "transcript": transcript.hex(),
        "positions": [one.position for one in crowd],
        "graph_of_9_with_4": masks.graph(transcript, 9, 4),
        "shares_0": shares[0].hex(),
        "mask_secret_0_1": shared.hex(),
        "mask_key_0_1": masks.pair_key(shared, transcript).hex(),
        "self_key_0": masks.self_key(first.seed, transcript).hex(),
        "commitment_0": masks.commitment(first.seed, first.id).hex(),
        "inbox_0": coordinator.inbox(crowd[0].position).hex(),
        "words_0": words(0).astype("<u4").tobytes().hex(),
        "masked_0": masked[0].hex(),
        "ask": coordinator.ask().hex(),
        "unmask_0": unmasked[0].hex(),
        "sum": [int(one) for one in coordinator.outcome.total],
        "receipt": coordinator.outcome.receipt.hex(),
    }


def _send(coordinator: Coordinator, frames: list[bytes]) -> None:
    for frame in frames:
        coordinator.take(frame)
    coordinator.advance()


def _private(secret: bytes) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(secret)
