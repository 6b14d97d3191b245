"""How often a campaign's policy is made anew: as its plan says, and never so often that it fills the machine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from arauto.core.errors import StoreError
from arauto.core.tasks import end
from arauto.loop.trace import where

BREATH = 20
"""A renewal that takes t is followed by at least this many times t without one, so it costs at most 5 % of the time."""

log = logging.getLogger(__name__)


class Pulse:
    """The rhythm of one campaign. ``renew(own)`` makes the policy anew; ``own`` tells whether our own commit asked."""

    def __init__(self, renew: Callable[[bool], Awaitable[None]], *, breath: int = BREATH) -> None:
        self.every = 0.2
        """Seconds between two renewals."""
        self.renewed = 0.0
        """When the last renewal began, by the loop's clock."""
        self._renew = renew
        self._breath = breath
        self._lock = asyncio.Lock()
        self._cost = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._asked = False
        self._own = False

    def touch(self, *, own: bool = False) -> None:
        """There is news: renew when the rhythm allows."""
        self._own = self._own or own
        if self._timer is not None:
            return
        if self._task is not None:
            self._asked = True
            return
        loop = asyncio.get_running_loop()
        wait = self.renewed + max(self.every, self._breath * self._cost) - loop.time()
        self._timer = loop.call_later(max(0.0, wait), self._start)

    async def now(self, *, own: bool = False) -> None:
        """Renew at once."""
        async with self._lock:
            loop = asyncio.get_running_loop()
            self.renewed = loop.time()
            await self._renew(own)
            self._cost = loop.time() - self.renewed

    async def stop(self) -> None:
        """Renew no more."""
        if self._task is not None:
            await end(self._task)
        if self._timer is not None:
            self._timer.cancel()

    def _start(self) -> None:
        self._timer = None
        self._task = asyncio.create_task(self._run(), name="renew")

    async def _run(self) -> None:
        own, self._own = self._own, False
        try:
            await self.now(own=own)
        except StoreError:
            # What is in memory goes on being served; the next sweep tries again.
            log.warning("a policy could not be renewed: the database is away")
        except Exception as error:
            log.warning("a policy could not be renewed: %s", where(error))
        finally:
            self._task = None
        if self._asked:
            self._asked = False
            self.touch(own=self._own)
