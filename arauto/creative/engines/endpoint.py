"""An OpenAI-compatible endpoint: hundreds of requests in flight, tried again while it is busy or broken, capped, kept.

The key goes into one header and nowhere else: no log, no ``repr``, no error holds it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
import msgspec

from arauto.core.brief import check_link
from arauto.core.errors import BriefError, EngineError, SettingError
from arauto.core.settings import Secret
from arauto.creative.engines.budget import Budget, Cost
from arauto.creative.engines.cache import Cache
from arauto.creative.engines.pool import PooledWire
from arauto.creative.engines.wire import Answer, HttpxWire, Wire, WireFault

ATTEMPTS = 5
ANSWER_SECONDS = 90.0
IN_FLIGHT = 512
_LONGEST_WAIT = 30.0

Read = TypeVar("Read")
Reader = Callable[[bytes], tuple[Read, Cost | None]]
"""Reads an answer: what it says, and what it cost (None: not told). ``ValueError``: it is not what it should be."""


class Refused(Exception):  # noqa: N818  (an answer, not a fault)
    """The endpoint answered 400 or 422: it will not take this request as it is."""

    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.status = status


class _Again(Exception):  # noqa: N818
    """Worth another try. ``wait`` is what the endpoint asked for, in seconds."""

    def __init__(self, problem: str, wait: float | None = None) -> None:
        super().__init__(problem)
        self.wait = wait


class Endpoint:
    """``url`` is the base, such as ``https://host/v1``. ``wire``, ``transport`` (of httpx) and ``sleep`` are seams.

    One endpoint may serve text, voice and pictures: they then share its connections, its ``budget`` and its ``cache``.
    """

    def __init__(
        self,
        url: str,
        key: Secret,
        *,
        budget: Budget | None = None,
        cache: Cache | None = None,
        answer_seconds: float = ANSWER_SECONDS,
        in_flight: int = IN_FLIGHT,
        wire: Wire | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not url:
            raise SettingError("is empty", field="openai_url", mend="set ARAUTO_OPENAI_URL, such as https://host/v1")
        try:
            check_link(url, "openai_url")
        except BriefError as failure:
            raise SettingError(failure.problem, field="openai_url", mend=failure.mend) from None
        if not all("!" <= sign <= "~" for sign in key.reveal()):
            raise SettingError("holds signs that no key has", field="openai_key", mend="set it again, without blanks")
        self.url = url.rstrip("/")
        self.budget = budget or Budget()
        self._key, self._cache, self._seconds, self._sleep = key, cache, answer_seconds, sleep
        self._wire = wire or (HttpxWire(transport) if transport else PooledWire(in_flight))
        self._places = asyncio.Semaphore(in_flight)

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r})"

    async def ask(self, path: str, body: dict[str, Any], most: Cost, read: Reader[Read], *, limit: int) -> Read:
        """What ``read`` makes of the answer to ``body`` at ``path``, an answer of at most ``limit`` bytes.

        Every attempt is paid for from the budget: ``most`` is what one may cost. A request that is pausing holds no
        place among those in flight.

        Raises:
            EngineError: the endpoint cannot be used, stayed broken over all attempts, or the budget does not allow it.
            Refused: it answered 400 or 422.
        """
        content = msgspec.json.encode(body)
        key = Cache.key(self.url.encode(), path.encode(), content) if self._cache else ""
        if self._cache is not None and (kept := self._cache.get(key)) is not None:
            try:
                return read(kept)[0]
            except ValueError:
                pass
        problem = ""
        for attempt in range(ATTEMPTS):
            try:
                answer, said = await self._once(path, content, most, read, limit)
            except _Again as again:
                problem = str(again)
                if attempt + 1 < ATTEMPTS:
                    # Full jitter: many that failed together do not come back together.
                    pause = random.uniform(0.25, 1.0) * 2**attempt  # noqa: S311
                    await self._sleep(min(max(pause, again.wait or 0.0), _LONGEST_WAIT))
                continue
            if self._cache is not None:
                self._cache.put(key, answer)
            return said
        raise EngineError(
            f"{problem}, {ATTEMPTS} times",
            field="openai_url",
            mend="see that the endpoint works, or set the engine to local",
        )

    async def close(self) -> None:
        """Give the connections back."""
        await self._wire.close()

    async def _once(self, path: str, content: bytes, most: Cost, read: Reader[Read], limit: int) -> tuple[bytes, Read]:
        async with self._places:
            self.budget.reserve(most)
            spent = most
            try:
                answer = await self._post(path, content, limit)
                spent = Cost()
                _check_status(answer)
                spent = most
                said, told = _read(read, answer.content)
                spent = _bounded(told, most)
            except WireFault as fault:
                spent = most if fault.sent else Cost()
                raise _Again(str(fault)) from None
            finally:
                self.budget.settle(most, spent)
            return answer.content, said

    async def _post(self, path: str, content: bytes, limit: int) -> Answer:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key.reveal()}"
        return await self._wire.post(f"{self.url}/{path}", headers, content, seconds=self._seconds, most=limit)


def _read(read: Reader[Read], content: bytes) -> tuple[Read, Cost | None]:
    try:
        return read(content)
    except ValueError as failure:
        raise _Again(f"the endpoint's answer is not {failure}") from None


def _bounded(told: Cost | None, most: Cost) -> Cost:
    """What the endpoint says it used; its silence, and nonsense above the bound, count as the bound."""
    return most if told is None or told.tokens > most.tokens else told


def _check_status(answer: Answer) -> None:
    status = answer.status
    if status == 429 or status >= 500 or status == 408:
        raise _Again(f"the endpoint answered {status}", answer.retry_after)
    if status in (400, 422):
        raise Refused(status)
    if status in (401, 403):
        raise EngineError(
            f"the endpoint answered {status}", field="openai_key", mend="set ARAUTO_OPENAI_KEY to a valid key"
        )
    if status == 404:
        raise EngineError(
            "the endpoint answered 404",
            field="openai_model",
            mend="check ARAUTO_OPENAI_URL (it ends in /v1) and the model's name",
        )
    if status != 200:
        raise unusable(status)


def unusable(status: int) -> EngineError:
    """An answer that no attempt will change."""
    return EngineError(
        f"the endpoint answered {status}", field="openai_url", mend="see that it is an OpenAI-compatible endpoint"
    )
