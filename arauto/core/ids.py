"""Identifiers: UUIDv7 (RFC 9562, section 5.7), whose first 48 bits are Unix milliseconds."""

from __future__ import annotations

import os
import time
from uuid import UUID

_VERSION_7 = 0x7000
_VARIANT = 0x8000000000000000


def uuid7(unix_ms: int | None = None) -> UUID:
    """A new UUIDv7 for ``unix_ms`` (now by default). Its 74 random bits come from the operating system."""
    if unix_ms is None:
        unix_ms = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    high = (unix_ms & 0xFFFFFFFFFFFF) << 16 | _VERSION_7 | (random >> 68)
    low = _VARIANT | (random & 0x3FFFFFFFFFFFFFFF)
    return UUID(int=high << 64 | low)


def uuid7_ms(value: UUID) -> int:
    """The Unix milliseconds written in a UUIDv7. The caller has checked ``value.version == 7``."""
    return value.int >> 80
