"""The graph, the keys and the masks of secure aggregation: pure functions.

Bell, Bonawitz, Gascón, Lepoint, Raykova: Secure single-server aggregation with (poly)logarithmic overhead, CCS 2020;
Bonawitz et al.: Practical secure aggregation for privacy-preserving machine learning, CCS 2017. Masks are AES-256-CTR
keystreams read as little-endian uint32 and added mod 2³².
"""

from __future__ import annotations

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from numpy.typing import NDArray

from arauto.federated.wire import LABEL, RefusedError, digest

Words = NDArray[np.uint32]
CIPHERTEXT = 80
_ZERO = bytes(16)
_NONCE = bytes(12)  # each key encrypts one message


def transcript_of(offer: bytes, records: bytes | memoryview) -> bytes:
    """What binds every later message to this contract and these participants (``offer``: the hash of its frame)."""
    return digest(LABEL, b" roster", offer, records)


def graph(transcript: bytes, size: int, neighbours: int) -> list[list[int]]:
    """The neighbours of each position, ascending: a random ``neighbours``-regular graph that anyone can compute.

    Positions are ordered by a 64-bit number each, drawn from the transcript, and stand in a circle; each is joined to
    the ``neighbours / 2`` before and after it (a Harary graph under a random permutation; Bell et al., section 3).
    """
    drawn = np.frombuffer(_keystream(derive(transcript, transcript, b"graph"), 8 * size), "<u8")
    circle = np.argsort(drawn, kind="stable")
    half = np.arange(1, neighbours // 2 + 1)
    steps = np.concatenate((-half, half))
    around = circle[(np.arange(size)[:, None] + steps) % size]
    found = np.empty_like(around)
    found[circle] = np.sort(around, axis=1)
    return [list(map(int, row)) for row in found]


def derive(secret: bytes, transcript: bytes, purpose: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869): 32 bytes for one purpose, of this round only."""
    return HKDF(SHA256(), 32, salt=transcript, info=LABEL + b" " + purpose).derive(secret)


def public(key: X25519PrivateKey) -> bytes:
    """Its public half, 32 bytes."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def raw(key: X25519PrivateKey) -> bytes:
    """Its private half, 32 bytes."""
    return key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def agree(mine: X25519PrivateKey, theirs: bytes) -> bytes:
    """The X25519 secret of the two (RFC 7748). Raises :class:`RefusedError` for a key of small order."""
    try:
        return mine.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError:
        raise RefusedError("is no usable X25519 key", field="roster") from None


def encrypt(secret: bytes, transcript: bytes, sender: int, to: int, plain: bytes) -> bytes:
    """64 bytes of shares from ``sender`` for ``to``: AES-256-GCM under a key of this pair and direction."""
    return AESGCM(derive(secret, transcript, _way(sender, to))).encrypt(_NONCE, plain, transcript)


def decrypt(secret: bytes, transcript: bytes, sender: int, to: int, sealed: bytes) -> bytes | None:
    """The shares, or None when the sender wrote nonsense."""
    try:
        return AESGCM(derive(secret, transcript, _way(sender, to))).decrypt(_NONCE, sealed, transcript)
    except InvalidTag:
        return None


def _way(sender: int, to: int) -> bytes:
    return b"share %d %d" % (sender, to)


def pair_key(secret: bytes, transcript: bytes) -> bytes:
    """The key of the mask that two neighbours share."""
    return derive(secret, transcript, b"mask")


def self_key(seed: bytes, transcript: bytes) -> bytes:
    """The key of the mask that a client adds for itself."""
    return derive(seed, transcript, b"self")


def commitment(seed: bytes, client: bytes) -> bytes:
    """What a client says of its self-mask when it joins: recovered seeds are held against it."""
    return digest(LABEL, b" self", client, seed)


def _keystream(key: bytes, size: int) -> bytes:
    return Cipher(algorithms.AES256(key), modes.CTR(_ZERO)).encryptor().update(bytes(size))


class Expander:
    """Adds keystreams to a sum in place, with one buffer for all. ``dim`` is the length in words."""

    def __init__(self, dim: int) -> None:
        self._zeros = bytes(4 * dim)
        self._buffer = bytearray(4 * dim + 15)  # the library wants a block to spare
        self._words = np.frombuffer(self._buffer, "<u4", count=dim)

    def add(self, total: Words, key: bytes, sign: int) -> None:
        """total ← total ± the keystream of ``key``, mod 2³²."""
        Cipher(algorithms.AES256(key), modes.CTR(_ZERO)).encryptor().update_into(self._zeros, self._buffer)
        if sign > 0:
            np.add(total, self._words, out=total)
        else:
            np.subtract(total, self._words, out=total)
