"""Pages that renew themselves: each part of a page is computed once, however many look at it.

A part is known by what it may depend on: the screen, the parameters of its path, what it reads of the address, the
language and the reader's role. While somebody looks, it is made again at its pace (or after four times what making it
takes, if that is longer) and, when it changed, pushed to all of them; nobody looking, nothing is done.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from arauto.core.errors import ArautoError

BREATH = 4.0
"""A part that takes t to make is made again after 4 t at the earliest: it never takes more than a fifth of a core."""
BEAT_S = 10.0
"""How often a stream is told that it lives, when nothing changes; so late is a browser noticed that went away."""
STREAM_S = 300.0
"""How long a stream lasts; the browser asks for another by itself."""
SPREAD_S, SEND_S = 1.0, 0.02
"""What changed is sent to many readers one after the other: over so long at most, and so long for each."""
BEAT = b"event: beat\ndata:\n\n"
MOST = 500
"""So many different parts are kept."""

log = logging.getLogger(__name__)
Make = Callable[[], Awaitable[str]]


class Part:
    """The text of one part of one page, and its tag."""

    def __init__(self, make: Make, every: float) -> None:
        self._make = make
        self._every = every
        self._text = ""
        self._made = float("-inf")
        self._took = 0.0
        self._making = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._failed: ArautoError | None = None
        self._closed = False
        self._asked = float("-inf")
        self.tag = ""
        self.viewers = 0
        self.ticker: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        return self.viewers == 0 and self._rest() <= 0

    async def read(self) -> str:
        """The text, made anew if the last is older than it may be. Raises what making it raises."""
        async with self._making:
            if self._rest() <= 0:
                await self._renew()
        if self._failed is not None:
            raise self._failed
        return self._text

    async def put(self, text: str, asked: float) -> None:
        """What a whole page has just been made of, asked for at that time (:func:`time.monotonic`): nobody need make
        it again at once, and what was made before an action is not laid over what came of it."""
        if asked < self._asked:
            return
        self._asked, self._made = asked, time.monotonic()
        self._failed, self._took = None, self._made - asked
        if (tag := tag_of(text)) != self.tag:
            self._text, self.tag = text, tag
            async with self._changed:
                self._changed.notify_all()

    async def tick(self) -> None:
        """Keep it fresh for those who look."""
        while True:
            await asyncio.sleep(max(0.05, self._rest()))
            with suppress(ArautoError):
                await self.read()

    async def wait(self, tag: str, seconds: float) -> str:
        """Wait until the tag is another one than ``tag``, or for ``seconds``. Raises what making it raised."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self.tag != tag or self._failed is not None or self._closed)
        if self._failed is not None:
            raise self._failed
        return self._text

    async def close(self) -> None:
        """Wake whoever waits: there is nothing more to come."""
        self._closed = True
        async with self._changed:
            self._changed.notify_all()

    def _rest(self) -> float:
        return self._made + max(self._every, BREATH * self._took) - time.monotonic()

    async def _renew(self) -> None:
        began = time.monotonic()
        try:
            text = await self._make()
        except ArautoError as error:
            self._failed = error
        else:
            if began < self._asked:  # a page was made meanwhile, of something newer
                return
            self._failed = None
            self._text, self.tag, self._asked = text, tag_of(text), began
        self._made = time.monotonic()
        self._took = self._made - began
        async with self._changed:
            self._changed.notify_all()


class Live:
    """All the parts that somebody of this process looks at."""

    def __init__(self) -> None:
        self._parts: dict[tuple[object, ...], Part] = {}
        self._closed = asyncio.Event()

    def part(self, key: tuple[object, ...], make: Make, every: float) -> Part:
        """The part of that key, made by ``make``, at most once in ``every`` seconds."""
        found = self._parts.get(key)
        if found is None:
            if len(self._parts) >= MOST:
                self._parts = {known: part for known, part in self._parts.items() if not part.idle}
            found = self._parts[key] = Part(make, every)
        return found

    async def close(self) -> None:
        """End every stream, for the process is to end; browsers ask again, whoever answers then."""
        self._closed.set()
        for part in self._parts.values():
            await part.close()

    async def stream(self, part: Part, tag: str, good: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        """The part as server-sent events (WHATWG HTML, 9.2), whenever it is not the one of ``tag``.

        ``good`` is asked now and then whether the reader still may look.
        """
        part.viewers += 1
        if part.ticker is None:
            part.ticker = asyncio.create_task(part.tick())
        end = time.monotonic() + STREAM_S
        try:
            yield b"retry: 1000\n\n"
            while not self._closed.is_set() and time.monotonic() < end and await good():
                try:
                    text, now = await part.wait(tag, BEAT_S), part.tag
                except ArautoError as error:
                    log.warning("a part of a page cannot be made: %s", error.problem)
                    return
                if self._closed.is_set():
                    return
                if now != tag and part.viewers > 1:
                    # All at once would keep a decision waiting until the last of them has it.
                    await asyncio.sleep(random.uniform(0.0, min(SPREAD_S, part.viewers * SEND_S)))  # noqa: S311
                yield BEAT if now == tag else event(now, text)
                tag = now
        finally:
            part.viewers -= 1
            if part.viewers == 0 and part.ticker is not None:
                part.ticker.cancel()
                part.ticker = None


def event(tag: str, text: str) -> bytes:
    """One server-sent event of several lines."""
    lines = "".join(f"data: {line}\n" for line in text.splitlines())
    return f"id: {tag}\n{lines}\n".encode()


def tag_of(text: str) -> str:
    """What tells this text from another."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]
