"""The wire that is used: kept connections of asyncio, answers read by httptools (llhttp, the parser of Node.js).

An engine with hundreds of requests in flight spends its CPU here, and one POST with a JSON body needs little of a
client: no cookies, no redirects, no compression, HTTP/1.1. Figures in docs/lab-log.md.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from functools import lru_cache
from typing import NamedTuple, cast
from urllib.parse import quote, urlsplit

import httptools

from arauto.creative.engines.wire import Answer, WireFault, read_pause

_CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 15.0
"""Servers close a connection that rests for long, and would do so while the next request is on its way."""
_HEAD = 64 * 1024
"""Bytes that status and headers may have."""


class PooledWire:
    """Connections to any endpoint, opened when none rests; at most ``connections`` rest at one."""

    def __init__(self, connections: int) -> None:
        self._most = connections
        self._resting: dict[_Target, list[_Line]] = {}

    async def post(self, url: str, headers: dict[str, str], content: bytes, *, seconds: float, most: int) -> Answer:
        target, path = _read_url(url)
        request = _request(target, path, headers, content)
        line: _Line | None = None
        try:
            async with asyncio.timeout(seconds):
                line = self._take(target) or await _open(target)
                answer = await line.ask(request, most)
        except TimeoutError:
            raise WireFault(f"the endpoint did not answer within {seconds:g} s", sent=line is not None) from None
        except OSError as failure:
            # The class alone: an error's text may quote the request.
            raise WireFault(f"the endpoint cannot be reached ({type(failure).__name__})", sent=False) from None
        finally:
            if line is not None:
                self._put(target, line)
        return answer

    async def close(self) -> None:
        for lines in self._resting.values():
            for line in lines:
                line.close()
        self._resting.clear()

    def _take(self, target: _Target) -> _Line | None:
        lines = self._resting.get(target, [])
        while lines:
            # The last one back is the likeliest to be alive.
            line = lines.pop()
            if line.free and time.monotonic() - line.since < _IDLE_SECONDS:
                return line
            line.close()
        return None

    def _put(self, target: _Target, line: _Line) -> None:
        lines = self._resting.setdefault(target, [])
        if line.free and len(lines) < self._most:
            line.since = time.monotonic()
            lines.append(line)
        else:
            line.close()


class _Target(NamedTuple):
    host: str
    port: int
    secure: bool

    @property
    def name(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


class _Line(asyncio.Protocol):
    """One connection, one request at a time. The methods ``on_…`` are called by the parser."""

    def __init__(self) -> None:
        self.since = 0.0
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Answer] | None = None
        self._clear(0)

    @property
    def free(self) -> bool:
        """Whether the next request may go over it."""
        return self._waiter is None and self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes, most: int) -> Answer:
        """The answer to ``request``, of at most ``most`` bytes.

        Raises:
            WireFault: it was cut, is no HTTP or too large.
        """
        self._clear(most)
        self._waiter = asyncio.get_running_loop().create_future()
        cast("asyncio.Transport", self._transport).write(request)
        return await self._waiter

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._room -= len(data)
        if self._waiter is None or self._room < 0:
            self._fail("the endpoint's answer is too large")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail("the endpoint's answer is no HTTP")

    def connection_lost(self, failure: Exception | None) -> None:
        if self._open_ended and failure is None:
            self._end(keep=False)
        self._fail("the endpoint cannot be reached (it hung up)")

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower == b"retry-after":
            self._pause = value.decode("latin-1")
        elif lower in (b"content-length", b"transfer-encoding"):
            self._framed = True

    def on_headers_complete(self) -> None:
        self._open_ended = not self._framed

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._most:
            self._fail("the endpoint's answer is too large")
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:  # a word before the answer
            self._clear(self._most)
        else:
            self._end(keep=self._parser.should_keep_alive())

    def _clear(self, most: int) -> None:
        self._most, self._room = most, 2 * most + _HEAD  # chunks have their own frames
        self._body: list[bytes] = []
        self._size, self._pause = 0, ""
        self._framed = self._open_ended = False

    def _end(self, *, keep: bool) -> None:
        waiter, self._waiter = self._waiter, None
        self._open_ended = False
        if waiter is not None and not waiter.done():
            status = self._parser.get_status_code()
            waiter.set_result(Answer(status, b"".join(self._body), read_pause(self._pause)))
        if not keep:
            self.close()

    def _fail(self, problem: str) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(WireFault(problem, sent=True))
        self.close()


async def _open(target: _Target) -> _Line:
    loop = asyncio.get_running_loop()
    secure = _context() if target.secure else None
    async with asyncio.timeout(_CONNECT_SECONDS):
        _, line = await loop.create_connection(_Line, target.host, target.port, ssl=secure)
    return line


def _request(target: _Target, path: str, headers: dict[str, str], content: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Host: {target.name}", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1:
        raise ValueError("a header holds a line break")
    return f"{head}\r\n\r\n".encode("latin-1") + content


@lru_cache(maxsize=64)
def _read_url(url: str) -> tuple[_Target, str]:
    """Read once: an engine posts to one address."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    try:
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port or (443 if secure else 80)
    except ValueError:
        raise WireFault("the endpoint's address cannot be read", sent=False) from None
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else ""
    return _Target(host, port, secure), path + query


@lru_cache(maxsize=1)
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()
