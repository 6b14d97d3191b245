"""The coordinator of one round: takes messages, moves from phase to phase, and ends with the sum and a signed receipt.

It does no I/O and holds nothing that could not be had again from the messages it took: feeding a new one the same
messages, phase by phase, makes the same bytes (Ed25519 signatures are deterministic). That is how a round survives.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Sized
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from arauto.core.errors import ConflictError
from arauto.federated import masks, shamir, wire
from arauto.federated.client import COMMIT, MASK, SIGN, check_offer, check_records
from arauto.federated.masks import CIPHERTEXT, Expander, Words
from arauto.federated.wire import RECORD, Offer, RefusedError

Phase = Literal["join", "shares", "masked", "unmask", "done", "failed"]
PHASES: tuple[Phase, ...] = ("join", "shares", "masked", "unmask", "done")
TRIES = 64
"""Subsets of the shares that are tried for one secret, when some neighbour gave a wrong one."""


class Outcome(NamedTuple):
    """The sum of the live clients' words, mod 2³², how many they are, and the receipt's frame."""

    total: Words
    live: int
    receipt: bytes


def public_key(key: Ed25519PrivateKey) -> bytes:
    """Its public half, 32 bytes."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


class Coordinator:
    """One round. ``key`` signs; its public half is the offer's ``key``.

    Raises:
        RefusedError: the offer's numbers protect nobody.
    """

    def __init__(self, offer: Offer, key: Ed25519PrivateKey) -> None:
        check_offer(offer)
        if offer.key != public_key(key).hex():
            raise RefusedError("is not the public half of the signing key", field="key")
        self.offer = offer
        self._key = key
        self.frame = wire.seal(key, offer)
        self._hash = wire.frame_hash(self.frame)
        self.phase: Phase = "join"
        self.reason = ""
        self._records: dict[bytes, bytes] = {}
        self._shares: dict[int, bytes] = {}
        self._unmasked: dict[int, dict[int, bytes]] = {}
        self._total: Words = np.zeros(offer.dim, np.uint32)
        self._live: set[int] = set()
        self.outcome: Outcome | None = None

    def count(self) -> int:
        """Messages taken in this phase."""
        taken: dict[str, Sized] = {
            "join": self._records,
            "shares": self._shares,
            "masked": self._live,
            "unmask": self._unmasked,
        }
        return len(taken.get(self.phase, ()))

    def waits_for_nobody(self) -> bool:
        """Whether everyone who can still speak in this phase has. Joining is open to its end."""
        if self.phase == "shares":
            return len(self._shares) == len(self._list)
        if self.phase == "masked":
            return len(self._live) == len(self._shares)
        return self.phase == "unmask" and len(self._unmasked) == len(self._live)

    def take(self, frame: bytes) -> int | bytes:
        """Take a client's message; answers who sent it (its id when it joins, else its position).

        Raises:
            RefusedError: forged, altered, of another round or phase, or repeated.
        """
        if self.phase == "join":
            return self._take_join(frame)
        if self.phase == "shares":
            return self._take_shares(frame)
        if self.phase == "masked":
            return self._take_masked(frame)
        if self.phase == "unmask":
            return self._take_unmask(frame)
        raise RefusedError(f"the round is {self.phase}", field="phase")

    def advance(self) -> Phase:
        """End the phase with who is there; too few make the round fail."""
        offer = self.offer
        if self.phase == "join":
            if len(self._records) < offer.least:
                return self._fail(f"{len(self._records)} joined, {offer.least} are needed")
            self._seal_roster()
        elif self.phase == "shares":
            if len(self._shares) < offer.live:
                return self._fail(f"{len(self._shares)} sent shares, {offer.live} are needed")
            self.phase = "masked"
        elif self.phase == "masked":
            if len(self._live) < offer.live:
                return self._fail(f"{len(self._live)} delivered, {offer.live} are needed")
            self._seal_ask()
        elif self.phase == "unmask":
            try:
                self.outcome = self._finish()
            except RefusedError as wrong:
                return self._fail(wrong.problem)
            self.phase = "done"
        else:
            raise ConflictError(f"the round is {self.phase}", field="round", mend="start another")
        return self.phase

    @property
    def size(self) -> int:
        """Clients in the roster."""
        return len(self._list)

    def roster(self) -> bytes:
        """The frame for every client once joining has ended."""
        return self._roster

    def inbox(self, position: int) -> bytes:
        """The frame for one client once the shares are in."""
        senders = tuple(other for other in self._graph[position] if other in self._shares)
        payload = b"".join(self._for(sender, position) for sender in senders)
        head = wire.Inbox(transcript=self._transcript.hex(), to=position, senders=senders)
        return wire.seal(self._key, head, payload)

    def ask(self) -> bytes:
        """The frame for every live client once the masked vectors are in."""
        return self._ask

    def _fail(self, reason: str) -> Phase:
        self.phase, self.reason = "failed", reason
        return self.phase

    def _take_join(self, frame: bytes) -> bytes:
        header, payload = wire.peek(frame, wire.Join)
        if header.offer != self._hash:
            raise RefusedError("belongs to another offer", field="offer")
        if len(payload) != RECORD:
            raise RefusedError("is no record", field="payload")
        record = bytes(payload)
        wire.check_signature(frame, record[SIGN])
        client = record[:16]
        if client in self._records:
            raise RefusedError("has joined already", field="id")
        if len(self._records) >= wire.MAX_CLIENTS:
            raise RefusedError("the round is full", field="roster")
        self._records[client] = record
        return client

    def _seal_roster(self) -> None:
        payload = b"".join(self._records[client] for client in sorted(self._records))
        self._list = check_records(payload)
        self._roster = wire.seal(self._key, wire.Roster(offer=self._hash), payload)
        self._transcript = masks.transcript_of(bytes.fromhex(self._hash), payload)
        self._graph = masks.graph(self._transcript, len(self._list), self.offer.neighbours)
        self._place = [{other: n for n, other in enumerate(row)} for row in self._graph]
        self.phase = "shares"

    def _check(
        self,
        frame: bytes,
        header: wire.Shares | wire.Masked | wire.Unmask,
        among: Container[int],
        taken: Container[int],
    ) -> int:
        if header.transcript != self._transcript.hex():
            raise RefusedError("belongs to another round or roster", field="transcript")
        if header.sender not in among:
            raise RefusedError("does not take part", field="sender")
        wire.check_signature(frame, self._list[header.sender][SIGN])
        if header.sender in taken:
            raise RefusedError("was sent already", field=self.phase)
        return header.sender

    def _take_shares(self, frame: bytes) -> int:
        header, payload = wire.peek(frame, wire.Shares)
        sender = self._check(frame, header, range(len(self._list)), self._shares)
        if len(payload) != CIPHERTEXT * self.offer.neighbours:
            raise RefusedError("has not one share for each neighbour", field="payload")
        self._shares[sender] = bytes(payload)
        return sender

    def _for(self, sender: int, to: int) -> bytes:
        place = self._place[sender][to]
        return self._shares[sender][CIPHERTEXT * place : CIPHERTEXT * (place + 1)]

    def _take_masked(self, frame: bytes) -> int:
        header, payload = wire.peek(frame, wire.Masked)
        sender = self._check(frame, header, self._shares, self._live)
        if len(payload) != 4 * self.offer.dim:
            raise RefusedError(f"has not {self.offer.dim} words", field="payload")
        np.add(self._total, np.frombuffer(payload, "<u4"), out=self._total)
        self._live.add(sender)
        return sender

    def _seal_ask(self) -> None:
        self._dead = self._shares.keys() - self._live
        size = len(self._list)
        payload = wire.bitmap(self._live, size) + wire.bitmap(self._dead, size)
        self._ask = wire.seal(self._key, wire.Ask(transcript=self._transcript.hex()), payload)
        self.phase = "unmask"

    def _take_unmask(self, frame: bytes) -> int:
        header, payload = wire.peek(frame, wire.Unmask)
        sender = self._check(frame, header, self._live, self._unmasked)
        known = self._place[sender]
        if header.ask != wire.frame_hash(self._ask) or len(payload) != 32 * len(header.of):
            raise RefusedError("answers another ask", field="ask")
        if len(set(header.of)) != len(header.of) or not all(one in known and one in self._shares for one in header.of):
            raise RefusedError("speaks of others than its neighbours", field="of")
        self._unmasked[sender] = {one: bytes(payload[32 * n : 32 * n + 32]) for n, one in enumerate(header.of)}
        return sender

    def _finish(self) -> Outcome:
        """Take every mask off the sum. The shares are turned round first: what is known of each, by whom."""
        known: dict[int, list[tuple[int, bytes]]] = {one: [] for one in self._shares}
        for sender, parts in self._unmasked.items():
            for one, part in parts.items():
                known[one].append((self._place[one][sender] + 1, part))
        total = self._total.copy()
        expander = Expander(self.offer.dim)
        for one in sorted(self._live):
            client, promised = self._list[one][:16], self._list[one][COMMIT]
            seed = self._recover(known[one], partial(_commits, client, promised))
            expander.add(total, masks.self_key(seed, self._transcript), -1)
        for one in sorted(self._dead):
            promised = self._list[one][MASK]
            secret = self._recover(known[one], partial(_owns, promised))
            key = _private(secret)
            for other in self._graph[one]:
                if other in self._live:
                    shared = masks.agree(key, self._list[other][MASK])
                    # Undoes what the live one added: that was + when it is the smaller.
                    expander.add(total, masks.pair_key(shared, self._transcript), -1 if other < one else 1)
        return Outcome(total, len(self._live), self._receipt(total))

    def _recover(self, parts: list[tuple[int, bytes]], right: Callable[[bytes], bool]) -> bytes:
        """A secret from its shares. When the first do not give it, someone lied: other subsets are tried."""
        need = self.offer.threshold
        if len(parts) < need:
            raise RefusedError(f"{len(parts)} shares of a secret came back, {need} are needed", field="unmask")
        draw = random.Random(len(parts))  # noqa: S311  chooses subsets; no secret hangs on it
        chosen = sorted(parts)[:need]
        for _ in range(TRIES):
            secret = shamir.recover(chosen)
            if right(secret):
                return secret
            if len(parts) == need:
                break
            chosen = draw.sample(parts, need)
        raise RefusedError("the shares of a secret contradict each other", field="unmask")

    def _receipt(self, total: Words) -> bytes:
        header = wire.Receipt(
            transcript=self._transcript.hex(),
            ask=wire.frame_hash(self._ask),
            live=len(self._live),
            sum=wire.digest(total.astype("<u4").tobytes()).hex(),
            model=self.offer.model,
            privacy=self.offer.privacy,
        )
        return wire.seal(self._key, header)


def _private(secret: bytes) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(secret)


def _commits(client: bytes, promised: bytes, seed: bytes) -> bool:
    return masks.commitment(seed, client) == promised


def _owns(promised: bytes, secret: bytes) -> bool:
    return masks.public(_private(secret)) == promised
