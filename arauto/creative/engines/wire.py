"""The seam to HTTP: one POST, its whole answer. What is above it knows no library.

The usual occupant is :class:`~arauto.creative.engines.pool.PooledWire`; a program that brings a transport of httpx (a
mock, a proxy) has :class:`HttpxWire`.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

import httpx


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
