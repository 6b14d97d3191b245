"""An ASGI 3 application behind granian's RSGI interface.

The two hot routes speak RSGI; everything else is an ordinary Starlette application, reached through here: HTTP only, no
lifespan, no web socket. A body that comes whole leaves in one call; one that comes in parts (server-sent events) is
streamed, and a client that goes away ends it.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Scope

from arauto.loop import where

Headers = list[tuple[str, str]]

log = logging.getLogger(__name__)


class RsgiHeaders(Protocol):
    """Headers of a request. Names are in lower case; a value that is not ASCII is absent."""

    def get(self, key: str, default: Any = None) -> Any: ...
    def items(self) -> list[tuple[str, str]]: ...


class RsgiScope(Protocol):
    """A request's head. ``path`` comes with its percent signs resolved; ``client`` is ``host:port``."""

    client: str
    server: str
    scheme: str
    method: str
    path: str
    query_string: str
    http_version: str

    @property
    def headers(self) -> RsgiHeaders: ...


class RsgiStream(Protocol):
    """A response body being sent in parts."""

    async def send_bytes(self, data: bytes) -> None: ...


class RsgiProtocol(Protocol):
    """The way to a request's body, and for its response."""

    async def __call__(self) -> bytes: ...
    def __aiter__(self) -> Any: ...
    async def client_disconnect(self) -> None: ...
    def response_empty(self, status: int, headers: Headers) -> None: ...
    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None: ...
    def response_stream(self, status: int, headers: Headers) -> RsgiStream: ...


class Bridge:
    """Calls ``app`` for each RSGI request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: RsgiScope, protocol: RsgiProtocol) -> None:
        exchange = _Exchange(protocol)
        try:
            await self._app(_scope(scope), exchange.receive, exchange.send)
        except Exception as error:
            if not exchange.gone:
                log.critical("a page failed: %s", where(error))
        exchange.finish()


class _Exchange:
    """One request and its response."""

    def __init__(self, protocol: RsgiProtocol) -> None:
        self._protocol = protocol
        self._chunks: Any = None
        self._read_all = False
        self._status = 0
        self._headers: Headers = []
        self._stream: RsgiStream | None = None
        self._answered = False
        self.gone = False
        """Whether the client went away before it had its answer."""

    async def receive(self) -> Message:
        if self._read_all:
            await self._protocol.client_disconnect()
            self.gone = True
            return {"type": "http.disconnect"}
        if self._chunks is None:
            self._chunks = self._protocol.__aiter__()
        try:
            chunk = await self._chunks.__anext__()
        except StopAsyncIteration:
            self._read_all = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.request", "body": bytes(chunk), "more_body": True}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._stream is None and not more:
            self._answered = True
            self._protocol.response_bytes(self._status, self._headers, body)
            return
        if self._stream is None:
            self._answered = True
            self._stream = self._protocol.response_stream(self._status, self._headers)
        if body:
            try:
                await self._stream.send_bytes(body)
            except RuntimeError:
                # granian's way of saying that the client is gone; ASGI says it with an OSError.
                self.gone = True
                raise OSError("the client is gone") from None

    def finish(self) -> None:
        """An application that answered nothing has gone wrong."""
        if not self._answered:
            self._protocol.response_empty(500, [])


def _scope(scope: RsgiScope) -> Scope:
    path = scope.path
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": scope.http_version,
        "method": scope.method,
        "scheme": scope.scheme,
        "path": path,
        "raw_path": quote(path).encode("ascii"),
        "root_path": "",
        "query_string": scope.query_string.encode("latin-1", "replace"),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in scope.headers.items()],
        "client": _address(scope.client),
        "server": _address(scope.server),
    }


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port) if port.isdigit() else 0
