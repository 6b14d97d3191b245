"""The one seam to time. Everything that asks what time it is takes a :class:`Clock`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Unix time in milliseconds."""

    def now_ms(self) -> int: ...


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class FakeClock:
    """A clock that moves when told, for tests and for replaying a log at its own times."""

    def __init__(self, now_ms: int = 1_760_000_000_000) -> None:
        self._now = now_ms

    def now_ms(self) -> int:
        return self._now

    def advance(self, milliseconds: int) -> None:
        self._now += milliseconds


def to_datetime(unix_ms: int) -> datetime:
    """Unix milliseconds as an aware UTC ``datetime``."""
    return datetime.fromtimestamp(unix_ms / 1000, tz=UTC)
