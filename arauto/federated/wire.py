"""Messages of a round as bytes: a JSON header, a binary payload, an Ed25519 signature. docs/federated-protocol.md says
all.

    frame = "AFS1" ‖ length of the header (u32, little-endian) ‖ header (JSON) ‖ payload ‖ signature (64 bytes)

The signature is over ``"arauto-secagg-1" ‖ SHA-256(frame without signature)``. Nobody re-encodes a header: what was
signed are the bytes that came.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Annotated, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta

from arauto.core.errors import InputError

MAGIC = b"AFS1"
LABEL = b"arauto-secagg-1"
SIGNATURE = 64
MAX_HEADER = 65_536
MAX_CLIENTS = 20_000
RECORD = 144
"""Bytes of a client in the roster: id (16), channel key, mask key, signing key, commitment to the self-mask (32
each)."""

Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Position = Annotated[int, Meta(ge=0, lt=MAX_CLIENTS)]


class RefusedError(InputError):
    """A message of a round was refused: forged, altered, replayed, out of turn, or asking what must not be asked."""

    code = "refused"


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    """What every message has: its type."""


class Privacy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one round costs a device, and how often it may pay. See :mod:`arauto.federated.privacy`.

    ``noise`` is the standard deviation of the discrete Gaussian that EACH client adds, in quanta; ``assured`` the
    number of noises that the accounting relies on; ``rho`` the zero-concentrated cost of one participation;
    ``epsilon`` that of ``cap`` participations at ``delta``. A ``noise`` of 0 promises nothing, and says ``epsilon`` −1.
    """

    clip: Annotated[float, Meta(gt=0, le=1e9)]
    noise: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    assured: Annotated[int, Meta(ge=1, le=MAX_CLIENTS)] = 1
    rho: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    delta: Annotated[float, Meta(gt=0, lt=1)] = 1e-6
    epsilon: Annotated[float, Meta(ge=-1)] = -1.0
    cap: Annotated[int, Meta(ge=1, le=10_000)] = 1


class Offer(Header, frozen=True, tag="offer", kw_only=True):
    """What a coordinator asks: the whole contract of the round, signed by ``key``.

    ``model`` is the SHA-256 of the model that the update is for; ``dim`` the length of the vector; ``quantum`` the size
    of one integer step; ``neighbours`` and ``threshold`` are k and t of the graph; ``least`` the clients that must have
    joined, ``live`` those that must have delivered before anything may be unmasked; ``closes_ms`` the end of joining.
    """

    round: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    task: Annotated[str, Meta(min_length=1, max_length=80)]
    model: Hash
    dim: Annotated[int, Meta(ge=1, le=1 << 24)]
    quantum: Annotated[float, Meta(gt=0)]
    neighbours: Annotated[int, Meta(ge=2, le=254)]
    threshold: Annotated[int, Meta(ge=2, le=254)]
    least: Annotated[int, Meta(ge=3, le=MAX_CLIENTS)]
    live: Annotated[int, Meta(ge=2, le=MAX_CLIENTS)]
    closes_ms: Annotated[int, Meta(ge=0)]
    key: Hash
    privacy: Privacy
    plan: dict[str, float] = {}


class Join(Header, frozen=True, tag="join", kw_only=True):
    """Client, 1 of 4: its keys. Payload: its record. ``offer`` is the hash of the offer's frame."""

    offer: Hash


class Roster(Header, frozen=True, tag="roster", kw_only=True):
    """Coordinator: who takes part. Payload: the records, ascending by id."""

    offer: Hash


class Shares(Header, frozen=True, tag="shares", kw_only=True):
    """Client, 2 of 4. Payload: for each neighbour, ascending, 80 bytes that only it can read."""

    transcript: Hash
    sender: Position


class Inbox(Header, frozen=True, tag="inbox", kw_only=True):
    """Coordinator, to one client: what its neighbours ``senders`` wrote to it, 80 bytes each."""

    transcript: Hash
    to: Position
    senders: Annotated[tuple[Position, ...], Meta(max_length=254)]


class Masked(Header, frozen=True, tag="masked", kw_only=True):
    """Client, 3 of 4. Payload: its masked vector, ``dim`` uint32, little-endian."""

    transcript: Hash
    sender: Position


class Ask(Header, frozen=True, tag="ask", kw_only=True):
    """Coordinator: who is live (delivered a vector) and who is dead (sent shares and no vector). Payload: two
    bitmaps."""

    transcript: Hash


class Unmask(Header, frozen=True, tag="unmask", kw_only=True):
    """Client, 4 of 4. Payload: 32 bytes for each of ``of``: a share of the self-mask of a live neighbour, of the mask
    key of a dead one. ``ask`` is the hash of the ask's frame."""

    transcript: Hash
    sender: Position
    ask: Hash
    of: Annotated[tuple[Position, ...], Meta(max_length=254)]


class Receipt(Header, frozen=True, tag="receipt", kw_only=True):
    """Coordinator, at the end: what was made of the round. ``sum`` is the SHA-256 of the sum's bytes."""

    transcript: Hash
    ask: Hash
    live: Annotated[int, Meta(ge=0, le=MAX_CLIENTS)]
    sum: Hash
    model: Hash
    privacy: Privacy


H = TypeVar("H", bound=Header)


def digest(*parts: bytes | memoryview) -> bytes:
    """SHA-256 of the parts, one after the other."""
    hashed = sha256()
    for part in parts:
        hashed.update(part)
    return hashed.digest()


def frame_hash(frame: bytes) -> str:
    """The SHA-256 by which other messages name this one: of the frame without its signature, in hexadecimal."""
    return digest(memoryview(frame)[:-SIGNATURE]).hex()


def seal(key: Ed25519PrivateKey, header: Header, payload: bytes | memoryview = b"") -> bytes:
    """The signed frame of a message."""
    head = msgspec.json.encode(header)
    signed = b"".join((MAGIC, struct.pack("<I", len(head)), head, payload))
    return signed + key.sign(LABEL + digest(signed))


def peek(frame: bytes, kind: type[H]) -> tuple[H, memoryview]:
    """Header and payload of a frame WITHOUT looking at its signature.

    Raises:
        RefusedError: it is no frame of that kind.
    """
    if len(frame) < 8 + SIGNATURE or frame[:4] != MAGIC:
        raise RefusedError("is no frame", field="frame")
    (length,) = struct.unpack_from("<I", frame, 4)
    if length > MAX_HEADER or 8 + length + SIGNATURE > len(frame):
        raise RefusedError("is cut short", field="frame")
    try:
        header = msgspec.json.decode(memoryview(frame)[8 : 8 + length], type=kind)
    except (msgspec.MsgspecError, ValueError) as wrong:
        raise RefusedError(str(wrong), field="header") from None
    return header, memoryview(frame)[8 + length : -SIGNATURE]


def unseal(frame: bytes, kind: type[H], key: bytes) -> tuple[H, memoryview]:
    """Header and payload of a frame that the holder of the Ed25519 ``key`` signed.

    Raises:
        RefusedError: it is no frame of that kind, or not theirs, or altered.
    """
    header, payload = peek(frame, kind)
    check_signature(frame, key)
    return header, payload


def check_signature(frame: bytes, key: bytes) -> None:
    """Raises :class:`RefusedError` unless the holder of ``key`` signed ``frame``."""
    view = memoryview(frame)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(bytes(view[-SIGNATURE:]), LABEL + digest(view[:-SIGNATURE]))
    except (InvalidSignature, ValueError):
        raise RefusedError("was not signed by its sender, or was altered", field="signature") from None


def bitmap(members: set[int], size: int) -> bytes:
    """Position p is bit p mod 8 of byte p div 8."""
    bits = bytearray((size + 7) // 8)
    for member in members:
        bits[member >> 3] |= 1 << (member & 7)
    return bytes(bits)


def members_of(bits: bytes | memoryview, size: int) -> set[int]:
    """The set of a :func:`bitmap`. Raises :class:`RefusedError` for a wrong length or a bit beyond ``size``."""
    found = {8 * place + bit for place, byte in enumerate(bits) if byte for bit in range(8) if byte >> bit & 1}
    if len(bits) != (size + 7) // 8 or (found and max(found) >= size):
        raise RefusedError("is no bitmap of the roster", field="payload")
    return found
