"""Shamir's secret sharing over GF(256), a byte at a time (Shamir 1979; the field of FIPS 197, polynomial 0x11B).

The share at x = 0 is the secret; shares are taken at x = 1 … 254.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import InputError

Bytes = NDArray[np.uint8]
MOST = 254
"""Shares of one secret at most."""


def _tables() -> tuple[Bytes, NDArray[np.int64]]:
    powers = np.zeros(510, np.uint8)
    logs = np.zeros(256, np.int64)
    value = 1
    for exponent in range(255):
        powers[exponent] = powers[exponent + 255] = value
        logs[value] = exponent
        value ^= (value << 1) ^ (0x11B if value & 0x80 else 0)  # times 3, a generator
        value &= 0xFF
    return powers, logs


_EXP, _LOG = _tables()


def multiply(a: Bytes, b: Bytes) -> Bytes:
    """The product in GF(256), element by element."""
    product = _EXP[_LOG[a] + _LOG[b]]
    return np.where((a == 0) | (b == 0), np.uint8(0), product)


def share(secret: bytes, threshold: int, count: int) -> list[bytes]:
    """``count`` shares of ``secret``, at x = 1 … count; any ``threshold`` of them give it back, fewer tell nothing.

    Raises:
        InputError: not 1 ≤ threshold ≤ count ≤ 254.
    """
    if not 1 <= threshold <= count <= MOST:
        raise InputError(f"{threshold} of {count}", field="threshold", mend=f"1 ≤ threshold ≤ count ≤ {MOST}")
    random = secrets.token_bytes(len(secret) * (threshold - 1))
    return share_with(secret, random, threshold, count)


def share_with(secret: bytes, random: bytes, threshold: int, count: int) -> list[bytes]:
    """:func:`share` with the coefficients given: of x¹ first, each as long as the secret. For test vectors."""
    coefficients = np.frombuffer(secret + random, np.uint8).reshape(threshold, len(secret))
    x = np.arange(1, count + 1, dtype=np.uint8)[:, None]
    value = np.zeros((count, len(secret)), np.uint8)
    for row in coefficients[::-1]:  # Horner
        value = multiply(value, x) ^ row
    return [line.tobytes() for line in value]


def weights(points: Sequence[int]) -> Bytes:
    """Lagrange's weights at 0 for shares taken at ``points`` (distinct, 1 … 254)."""
    x = _LOG[np.asarray(points, np.uint8)]
    apart = np.bitwise_xor.outer(np.asarray(points, np.uint8), np.asarray(points, np.uint8))
    logs = _LOG[apart]
    np.fill_diagonal(logs, 0)
    exponents = (x.sum() - x - logs.sum(axis=1)) % 255
    return np.asarray(_EXP[exponents], np.uint8)


def recover(shares: Sequence[tuple[int, bytes]]) -> bytes:
    """The secret from ``(x, share)`` pairs: all that are given are used, so give exactly ``threshold`` of them.

    Raises:
        InputError: none, a point twice or outside 1 … 254, or lengths that differ.
    """
    points = [x for x, _ in shares]
    if not points or len(set(points)) != len(points) or not all(1 <= x <= MOST for x in points):
        raise InputError("points must differ and lie in 1 … 254", field="shares")
    if len({len(value) for _, value in shares}) != 1:
        raise InputError("differ in length", field="shares")
    values = np.frombuffer(b"".join(value for _, value in shares), np.uint8).reshape(len(shares), -1)
    return bytes(np.bitwise_xor.reduce(multiply(values, weights(points)[:, None]), axis=0))
