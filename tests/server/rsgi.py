"""granian's side of RSGI, played by the test: one request in, one answer out, no socket between."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from urllib.parse import unquote

import msgspec


class Headers:
    def __init__(self, pairs):
        self._pairs = {name.lower(): value for name, value in pairs.items() if value.isascii()}

    def get(self, name, default=None):
        return self._pairs.get(name.lower(), default)

    def items(self):
        return list(self._pairs.items())


@dataclass
class Answer:
    status: int = 0
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    streamed: bool = False

    def json(self, kind=object):
        return msgspec.json.decode(self.body, type=kind)


class Protocol:
    """``chunks`` is the body as it arrives; ``gone`` is set when the client leaves."""

    def __init__(self, chunks):
        self._chunks = chunks
        self.read = 0
        self.gone = asyncio.Event()
        self.answer = None

    async def __call__(self):
        self.read = sum(map(len, self._chunks))
        return b"".join(self._chunks)

    async def __aiter__(self):
        for chunk in self._chunks:
            self.read += len(chunk)
            yield chunk

    async def client_disconnect(self):
        await self.gone.wait()

    def _answered(self, status, headers, body=b""):
        assert self.answer is None, "answered twice"
        names = [name for name, _ in headers]
        assert len(names) == len(set(names)), f"a header twice: {names}"
        self.answer = Answer(status, dict(headers), body)

    def response_empty(self, status, headers):
        self._answered(status, headers)

    def response_bytes(self, status, headers, body):
        assert isinstance(body, bytes)
        self._answered(status, headers, body)

    def response_stream(self, status, headers):
        self._answered(status, headers)
        self.answer.streamed = True
        return self

    async def send_bytes(self, data):
        if self.gone.is_set():
            raise RuntimeError("RSGIProtocolClosed")
        self.answer.body += data


async def call(front, method, url, body=b"", headers=None, *, client="203.0.113.9:4711", chunked=False, protocol=None):
    """Send one request to ``front``. A body that is no bytes is sent as JSON; ``chunked`` leaves out its length."""
    path, _, query = url.partition("?")
    if not isinstance(body, bytes | list):
        body = msgspec.json.encode(body)
    chunks = body if isinstance(body, list) else [body] if body else []
    told = {} if chunked else {"content-length": str(sum(map(len, chunks)))}
    scope = SimpleNamespace(
        proto="http",
        http_version="1.1",
        client=client,
        server="127.0.0.1:8800",
        scheme="http",
        method=method,
        path=unquote(path),
        query_string=query,
        headers=Headers({"host": "arauto.example", **told, **(headers or {})}),
    )
    protocol = protocol or Protocol(chunks)
    await front(scope, protocol)
    assert protocol.answer is not None
    return protocol.answer
