"""When a server is asked for more than it can do, or is about to end: it says so at once, with a time to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from pathlib import Path
from time import perf_counter

from arauto.core.errors import BusyError

TICK_S = 0.1
LATE_S = 2.0
"""A call that the event loop keeps waiting for so long is late: a page gives up on its decision after 1.5 s, so what is
answered later is work for nobody."""
CALM_S = LATE_S / 4
"""Below this the loop is at ease again."""
RETRY_S = 2


class Overload:
    """Whether this process has more to do than it can: how late its event loop wakes who asked to be woken.

    The loop is one queue, first come, first served; so a timer's lateness is what a new request would wait. ``on`` goes
    up when two looks in a row were late, and down at the first that was not.
    """

    def __init__(self, *, now: Callable[[], float] = perf_counter) -> None:
        self.on = False
        self.refused = 0
        """Requests that were refused for it."""
        self._late = False
        self._due = inf
        self._now = now

    def check(self, now: float) -> None:
        """Raises :class:`BusyError` while there is too much to do, also within one long turn of the loop.

        ``now`` is the clock's, which the caller has at hand.
        """
        if self.on or now - self._due > LATE_S:
            self.refused += 1
            raise BusyError("the server has more to do than it can", mend="come back later", retry_after=RETRY_S)

    def note(self, late_s: float) -> None:
        """Take in one look's lateness, in seconds."""
        late = late_s > (CALM_S if self.on else LATE_S)
        self.on, self._late = late and (self.on or self._late), late

    async def watch(self) -> None:
        """Look for as long as the process lives."""
        # The loop may stand still until the server has begun: that is nobody's load.
        await asyncio.sleep(TICK_S)
        while True:
            self._due = self._now() + TICK_S
            await asyncio.sleep(TICK_S)
            self.note(self._now() - self._due)


class Drain:
    """The sign, seen by all processes of a server, that it takes no new work: a load balancer's ``/readyz`` fails, and
    kept connections are asked to close, while everything that comes is still answered. ``file`` None: never."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    @property
    def on(self) -> bool:
        return self._file is not None and self._file.exists()

    def begin(self) -> None:
        """Give the sign."""
        if self._file is not None:
            self._file.touch()
