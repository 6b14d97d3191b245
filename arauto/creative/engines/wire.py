"""The seam to HTTP: one POST, its whole answer. What is above it knows no library.

aiohttp is the occupant: engines with hundreds of requests in flight spend their time here, and httpx took 3.2 ms of CPU
a request as the load client of replay (docs/lab-log.md, 2026-11-22). The two were not timed over this seam.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import NamedTuple, Protocol

import aiohttp
import httpx
from yarl import URL


class Answer(NamedTuple):
    """``retry_after`` is the pause asked for, in seconds."""

    status: int
    content: bytes
    retry_after: float | None


class WireFault(Exception):  # noqa: N818  (the world's fault, worth another try)
    """No whole answer came. ``sent`` is whether the other side may have got, and charged for, the request."""

    def __init__(self, problem: str, *, sent: bool) -> None:
        super().__init__(problem)
        self.sent = sent


class Wire(Protocol):
    """Posts ``content`` and reads the whole answer, of at most ``most`` bytes, within ``seconds``.

    Raises :class:`WireFault`, whose text holds nothing of the request.
    """

    async def post(self, url: str, headers: dict[str, str], content: bytes, *, seconds: float, most: int) -> Answer: ...
    async def close(self) -> None: ...


class AiohttpWire:
    """One pool of connections, made at the first request. At most ``connections`` requests are in flight."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, headers: dict[str, str], content: bytes, *, seconds: float, most: int) -> Answer:
        session = self._session or self._open()
        try:
            async with (
                asyncio.timeout(seconds),
                session.post(_parsed(url), data=content, headers=headers, allow_redirects=False) as answer,
            ):
                # An answer that is too large is given up before it fills the memory.
                length = answer.content_length
                body = await answer.read() if length is not None and length <= most else await _gather(answer, most)
                return Answer(answer.status, body, read_pause(answer.headers.get("Retry-After", "")))
        except TimeoutError:
            raise WireFault(f"the endpoint did not answer within {seconds:g} s", sent=True) from None
        except aiohttp.ClientConnectorError as failure:
            raise WireFault(f"the endpoint cannot be reached ({type(failure).__name__})", sent=False) from None
        except aiohttp.ClientError as failure:
            # The class alone: an error's text may quote the request.
            raise WireFault(f"the endpoint cannot be reached ({type(failure).__name__})", sent=True) from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=self._connections, ttl_dns_cache=300)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )
        return self._session


@lru_cache(maxsize=64)
def _parsed(url: str) -> URL:
    """Read once: an engine posts to one address."""
    return URL(url, encoded=True)


async def _gather(answer: aiohttp.ClientResponse, most: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > most:
            raise WireFault("the endpoint's answer is too large", sent=True)
    return bytes(body)


class HttpxWire:
    """The same over any transport of httpx: for a program that brings its own, such as a mock or a proxy."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._client = httpx.AsyncClient(transport=transport, timeout=None)  # noqa: S113  (the whole is limited below)

    async def post(self, url: str, headers: dict[str, str], content: bytes, *, seconds: float, most: int) -> Answer:
        body = bytearray()
        try:
            async with (
                asyncio.timeout(seconds),
                self._client.stream("POST", url, content=content, headers=headers) as answer,
            ):
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > most:
                        raise WireFault("the endpoint's answer is too large", sent=True)
        except TimeoutError:
            raise WireFault(f"the endpoint did not answer within {seconds:g} s", sent=True) from None
        except httpx.HTTPError as failure:
            sent = not isinstance(failure, httpx.ConnectError | httpx.ConnectTimeout)
            raise WireFault(f"the endpoint cannot be reached ({type(failure).__name__})", sent=sent) from None
        return Answer(answer.status_code, bytes(body), read_pause(answer.headers.get("Retry-After", "")))

    async def close(self) -> None:
        await self._client.aclose()


def read_pause(text: str) -> float | None:
    """Seconds of a ``Retry-After`` header; None when it gives none (or a date, which nobody sends here)."""
    try:
        return max(0.0, float(text))
    except ValueError:
        return None
