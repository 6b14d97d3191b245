"""A client of a round: four messages, and the refusals that its privacy rests on. It does no I/O."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from arauto.federated import masks, shamir, wire
from arauto.federated.masks import CIPHERTEXT, Words
from arauto.federated.wire import RECORD, Offer, RefusedError

CHANNEL, MASK, SIGN, COMMIT = (slice(16 + 32 * n, 48 + 32 * n) for n in range(4))
"""Where a record of the roster holds what; the id is its first 16 bytes."""


class Keys(NamedTuple):
    """What a client draws for one round, and forgets with it. ``coefficients``: 64 · (t − 1) bytes for the shares."""

    id: bytes
    channel: bytes
    mask: bytes
    sign: bytes
    seed: bytes
    coefficients: bytes

    @classmethod
    def draw(cls, offer: Offer) -> Keys:
        """From the system's random source."""
        sizes = (16, 32, 32, 32, 32, 64 * (offer.threshold - 1))
        return cls(*(secrets.token_bytes(size) for size in sizes))

    def __repr__(self) -> str:
        return "Keys(***)"


def check_offer(offer: Offer) -> None:
    """Raises :class:`RefusedError` when its numbers would not protect anyone.

    More than half of a client's neighbours must be needed to unmask it: otherwise a server could tell one half that it
    is live and the other that it is dead, and learn both of its masks (the drop-out-splitting attack).
    """
    if offer.neighbours % 2 or offer.neighbours >= offer.least:
        raise RefusedError("must be even, and smaller than `least`", field="neighbours")
    if not offer.neighbours < 2 * offer.threshold <= 2 * offer.neighbours:
        raise RefusedError("must be more than half of the neighbours, and not more than all", field="threshold")
    if not offer.threshold <= offer.live <= offer.least:
        raise RefusedError("must lie between `threshold` and `least`", field="live")


class Client:
    """One client in one round.

    ``pinned``: the coordinator's Ed25519 key as the client knows it from elsewhere. ``models``: hashes of the models
    that it holds, None to take any. ``consent``: asked before every message, and False (no consent, Global Privacy
    Control) ends it. ``spend``: told the offer right before the masked vector is made; raises when the device's budget
    is spent. ``least``: the smallest crowd that it will join, whatever the offer says.

    Raises:
        RefusedError: from any method; the client is then out of this round, and the round can go on without it.
    """

    def __init__(
        self,
        offer: bytes,
        pinned: bytes,
        *,
        models: Collection[str] | None = None,
        consent: Callable[[], bool] = lambda: True,
        spend: Callable[[Offer], None] = lambda _: None,
        least: int = 3,
        keys: Keys | None = None,
    ) -> None:
        self.offer, payload = wire.unseal(offer, Offer, pinned)
        if len(payload):
            raise RefusedError("has no payload", field="offer")
        if self.offer.key != pinned.hex():
            raise RefusedError("names another coordinator", field="key")
        check_offer(self.offer)
        if self.offer.least < least:
            raise RefusedError(f"a crowd of {self.offer.least} is too small", field="least")
        if models is not None and self.offer.model not in models:
            raise RefusedError("is not a model of this client", field="model")
        self._hash = bytes.fromhex(wire.frame_hash(offer))
        self._pinned, self._consent, self._spend = pinned, consent, spend
        self._step = 0
        self._keys = keys or Keys.draw(self.offer)
        self._channel = X25519PrivateKey.from_private_bytes(self._keys.channel)
        self._mask = X25519PrivateKey.from_private_bytes(self._keys.mask)
        self._sign = Ed25519PrivateKey.from_private_bytes(self._keys.sign)
        self._held: dict[int, bytes] = {}

    def _turn(self, step: int) -> None:
        """Each step once, in order; none without consent."""
        if self._step != step:
            raise RefusedError("was asked out of turn, or twice", field="step")
        if not self._consent():
            self._step = -1
            raise RefusedError("consent was not given, or was withdrawn", field="consent")
        self._step = -1  # until the step has succeeded

    def join(self) -> bytes:
        """Message 1: its keys."""
        self._turn(0)
        sign = self._sign.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        keys = (masks.public(self._channel), masks.public(self._mask), sign)
        self._record = b"".join((self._keys.id, *keys, masks.commitment(self._keys.seed, self._keys.id)))
        self._step = 1
        return wire.seal(self._sign, wire.Join(offer=self._hash.hex()), self._record)

    def shares(self, roster: bytes) -> bytes:
        """Message 2: shares of its secrets, for its neighbours' eyes only."""
        self._turn(1)
        header, payload = wire.unseal(roster, wire.Roster, self._pinned)
        records = check_records(payload)
        if header.offer != self._hash.hex():
            raise RefusedError("belongs to another offer", field="offer")
        if len(records) < self.offer.least:
            raise RefusedError(f"has {len(records)} clients, {self.offer.least} are needed", field="roster")
        if self._record not in records:
            raise RefusedError("does not hold this client's keys", field="roster")
        self.position, self.size = records.index(self._record), len(records)
        self._transcript = masks.transcript_of(self._hash, payload)
        self._neighbours = masks.graph(self._transcript, self.size, self.offer.neighbours)[self.position]
        self._peers = {other: records[other] for other in self._neighbours}
        secret = self._keys.seed + self._keys.mask
        parts = shamir.share_with(secret, self._keys.coefficients, self.offer.threshold, len(self._neighbours))
        self._channels = {to: masks.agree(self._channel, record[CHANNEL]) for to, record in self._peers.items()}
        sealed = [
            masks.encrypt(self._channels[to], self._transcript, self.position, to, part)
            for to, part in zip(self._neighbours, parts, strict=True)
        ]
        self._step = 2
        head = wire.Shares(transcript=self._transcript.hex(), sender=self.position)
        return wire.seal(self._sign, head, b"".join(sealed))

    def masked(self, inbox: bytes, words: Words) -> bytes:
        """Message 3: ``words`` (``dim`` uint32, already noised) under its masks. Its budget is charged first."""
        self._turn(2)
        header, payload = wire.unseal(inbox, wire.Inbox, self._pinned)
        self._bound(header.transcript)
        senders = header.senders
        if header.to != self.position or len(payload) != CIPHERTEXT * len(senders):
            raise RefusedError("is not for this client", field="inbox")
        if len(set(senders)) != len(senders) or not set(senders) <= self._peers.keys():
            raise RefusedError("comes from others than the neighbours", field="inbox")
        if len(senders) < self.offer.threshold:
            raise RefusedError(f"only {len(senders)} neighbours are left", field="inbox")
        if words.dtype != np.uint32 or words.shape != (self.offer.dim,):
            raise RefusedError(f"must be {self.offer.dim} uint32", field="words")
        for place, sender in enumerate(senders):
            sealed = bytes(payload[CIPHERTEXT * place : CIPHERTEXT * (place + 1)])
            plain = masks.decrypt(self._channels[sender], self._transcript, sender, self.position, sealed)
            if plain is not None:
                self._held[sender] = plain
        self._senders = set(senders)
        self._spend(self.offer)
        total = words.copy()
        expander = masks.Expander(self.offer.dim)
        expander.add(total, masks.self_key(self._keys.seed, self._transcript), 1)
        for other in senders:
            secret = masks.agree(self._mask, self._peers[other][MASK])
            expander.add(total, masks.pair_key(secret, self._transcript), 1 if self.position < other else -1)
        self._step = 3
        head = wire.Masked(transcript=self._transcript.hex(), sender=self.position)
        return wire.seal(self._sign, head, total.astype("<u4").tobytes())

    def unmask(self, ask: bytes) -> bytes:
        """Message 4, once: for each neighbour ONE share, of its self-mask or of its mask key, never both."""
        self._turn(3)
        header, payload = wire.unseal(ask, wire.Ask, self._pinned)
        self._bound(header.transcript)
        live, dead = split_ask(payload, self.size)
        if live & dead:
            raise RefusedError("calls a client live and dead at once", field="ask")
        if len(live) < self.offer.live:
            raise RefusedError(f"only {len(live)} clients are live, {self.offer.live} are needed", field="ask")
        if self.position not in live:
            raise RefusedError("does not count this client's own vector", field="ask")
        if not (live | dead) & self._peers.keys() <= self._senders:
            raise RefusedError("names neighbours who sent no shares", field="ask")
        of = tuple(other for other in self._neighbours if other in self._held and other in live | dead)
        parts = [self._held[other][:32] if other in live else self._held[other][32:] for other in of]
        self._step = 4
        head = wire.Unmask(transcript=self._transcript.hex(), sender=self.position, ask=wire.frame_hash(ask), of=of)
        self._ask = head.ask
        self._live = len(live)
        return wire.seal(self._sign, head, b"".join(parts))

    def receipt(self, frame: bytes) -> wire.Receipt:
        """The coordinator's word on what was made of the round, checked against what this client saw of it."""
        header, payload = wire.unseal(frame, wire.Receipt, self._pinned)
        self._bound(header.transcript)
        if len(payload):
            raise RefusedError("has no payload", field="receipt")
        if self._step == 4 and (header.ask, header.live) != (self._ask, self._live):
            raise RefusedError("counts others than the ask did", field="receipt")
        if header.privacy != self.offer.privacy:
            raise RefusedError("states another privacy than the offer", field="receipt")
        return header

    def _bound(self, transcript: str) -> None:
        if transcript != self._transcript.hex():
            raise RefusedError("belongs to another round or roster", field="transcript")


def check_records(payload: bytes | memoryview) -> list[bytes]:
    """The records of a roster. Raises :class:`RefusedError` unless they ascend strictly by id."""
    count, rest = divmod(len(payload), RECORD)
    records = [bytes(payload[RECORD * n : RECORD * (n + 1)]) for n in range(count)]
    ids = [record[:16] for record in records]
    if rest or count > wire.MAX_CLIENTS or any(a >= b for a, b in pairwise(ids)):
        raise RefusedError("is no list of records, ascending by id", field="roster")
    return records


def split_ask(payload: bytes | memoryview, size: int) -> tuple[set[int], set[int]]:
    """The live and the dead of an ask."""
    half = (size + 7) // 8
    if len(payload) != 2 * half:
        raise RefusedError("is not two bitmaps of the roster", field="ask")
    return wire.members_of(payload[:half], size), wire.members_of(payload[half:], size)
