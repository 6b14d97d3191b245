"""Group commit: what many connections send at once becomes durable in one transaction.

One task per process writes. While a transaction is on its way, whatever arrives gathers for the next one, so that the
cost of a commit is shared by all who wait for it. Nobody is answered before the commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import msgspec

from arauto.core.errors import StoreError
from arauto.core.events import EventRow
from arauto.loop.trace import where
from arauto.store import Appended, AppendStatus

MOST = 2000
"""Rows in one transaction. A single request may bring up to 500."""
ROOM = 50_000
"""Rows that may wait; beyond that the answer is at once that the store is busy."""

log = logging.getLogger(__name__)


class Outcome(msgspec.Struct, frozen=True):
    """What became of the rows of one request: a status for each, and by place why one could not be kept."""

    status: Sequence[AppendStatus]
    problems: Mapping[int, str]


class _Part:
    """The rows of one request, and who waits for them."""

    __slots__ = ("future", "rows")

    def __init__(self, rows: Sequence[EventRow], future: asyncio.Future[Outcome]) -> None:
        self.rows = rows
        self.future = future


class Ingest:
    """The one writer of this process. After each commit, before anyone is answered, ``stored`` hears of the rows and
    what became of them, and ``committed`` is awaited."""

    def __init__(
        self,
        append: Callable[[Sequence[EventRow]], Awaitable[Appended]],
        committed: Callable[[Collection[int]], Awaitable[None]],
        stored: Callable[[Sequence[EventRow], Appended], None] = lambda _rows, _done: None,
    ) -> None:
        self._append = append
        self._committed = committed
        self._stored = stored
        self._waiting: deque[_Part] = deque()
        self._rows = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._write(), name="ingest")

    async def put(self, rows: Sequence[EventRow]) -> Outcome:
        """Store ``rows``; the answer comes after the commit.

        Raises:
            StoreError: nothing is known to be stored; send the same again later, a repeat changes nothing.
        """
        if not rows:
            return Outcome((), {})
        if self._closing or self._rows + len(rows) > ROOM:
            raise StoreError("too many events are waiting", mend="send the same events again in a few seconds")
        part = _Part(rows, asyncio.get_running_loop().create_future())
        self._waiting.append(part)
        self._rows += len(rows)
        self._wake.set()
        return await part.future

    async def close(self) -> None:
        """Write what waits, then stop."""
        self._closing = True
        self._wake.set()
        await self._task

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            group = self._take()
            if group:
                await self._store(group)
            elif self._closing:
                return
            else:
                self._wake.clear()

    def _take(self) -> list[_Part]:
        group: list[_Part] = []
        size = 0
        while self._waiting and (not group or size + len(self._waiting[0].rows) <= MOST):
            part = self._waiting.popleft()
            group.append(part)
            size += len(part.rows)
        self._rows -= size
        return group

    async def _store(self, group: list[_Part]) -> None:
        rows = [row for part in group for row in part.rows]
        try:
            done = await self._append(rows)
        except StoreError as error:
            for part in group:
                _fail(part, StoreError(error.problem, field=error.field, mend=error.mend))
        except Exception as error:
            # A row that the database cannot take must not cost the others their commit.
            log.warning("a group of %d requests could not be stored: %s", len(group), where(error))
            if len(group) == 1:
                _fail(group[0], error)
                return
            for part in group:
                await self._store([part])
        else:
            try:
                self._stored(rows, done)
                await self._committed(done.changed)
            except Exception as error:
                log.warning("after a commit: %s", where(error))
            _answer(group, done)


def _fail(part: _Part, error: Exception) -> None:
    if not part.future.done():
        part.future.set_exception(error)


def _answer(group: list[_Part], done: Appended) -> None:
    start = 0
    for part in group:
        end = start + len(part.rows)
        if not part.future.done():
            problems = {place - start: why for place, why in done.problems.items() if start <= place < end}
            part.future.set_result(Outcome(done.status[start:end], problems))
        start = end
