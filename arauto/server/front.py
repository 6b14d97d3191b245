"""The door of the server: the two hot routes on bare RSGI, everything else through the bridge.

What comes in is not trusted: a body is read to its limit and no further, an address may ask only so often, and a page
of a foreign origin is refused. No address, no visitor and no message of an unexpected error ever reaches a log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from time import perf_counter, time_ns
from typing import Any, NamedTuple, cast

import msgspec

from arauto.core.door import from_json
from arauto.core.errors import (
    ArautoError,
    AuthError,
    ForbiddenError,
    InputError,
    NotFoundError,
    Problem,
    RateLimitError,
    StoreError,
    TooLargeError,
)
from arauto.core.events import CandidatesQuery, DecideQuery
from arauto.loop import AllRefused, EventsAnswer, Runtime, where, with_key
from arauto.server.bridge import Bridge, Headers, RsgiProtocol, RsgiScope
from arauto.server.limits import Addresses, Limiter
from arauto.server.meters import Meters
from arauto.server.pressure import Drain, Overload
from arauto.server.traces import Traces

DECIDE_LIMIT = 8_192
EVENTS_LIMIT = 262_144
BODY_S = 10
"""How long a body may take to come: a request that never ends would hold its place for good."""
RETRY_S = 2
"""When to come back after the database was away."""

JSON: Headers = [
    ("content-type", "application/json"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
]
Reply = tuple[int, Headers, bytes]
Act = Callable[[bytes, bool, str | None], Reply | Awaitable[Reply]]

log = logging.getLogger(__name__)
_query = msgspec.json.Decoder(DecideQuery)


class _Hot(NamedTuple):
    """A hot route: what it does with a body, whether privacy is asked for, and the origin if it is a foreign page's."""

    act: Act
    limit: int
    label: str


class Front:
    """One process's server: call it as an RSGI application."""

    def __init__(
        self,
        runtime: Runtime,
        rest: Bridge,
        limiter: Limiter,
        addresses: Addresses,
        meters: Meters,
        overload: Overload,
        drain: Drain,
    ) -> None:
        self._runtime = runtime
        self._rest = rest
        self._limiter = limiter
        self._addresses = addresses
        self._meters = meters
        self._overload = overload
        self._drain = drain
        self._ending = False
        self.traces: Traces | None = None
        self._reading: dict[asyncio.Task[None], float] = {}
        self._hot = {
            "/v1/decide": _Hot(self._decide, DECIDE_LIMIT, "POST /v1/decide"),
            "/v1/candidates": _Hot(self._candidates, DECIDE_LIMIT, "POST /v1/candidates"),
            "/v1/events": _Hot(self._events, EVENTS_LIMIT, "POST /v1/events"),
        }

    def __call__(self, scope: RsgiScope, protocol: RsgiProtocol) -> Coroutine[Any, Any, None]:
        hot = self._hot.get(scope.path)
        return self._rest(scope, protocol) if hot is None else self._run(scope, protocol, hot)

    async def _run(self, scope: RsgiScope, protocol: RsgiProtocol, hot: _Hot) -> None:
        """Answer a hot route. In one piece, for every call between costs a tenth of what a decision does."""
        began = perf_counter()
        header = scope.headers.get
        origin = header("origin")
        try:
            self._overload.check(began)
            if self._limiter.on:
                self._limiter.take(self._addresses.of(scope.client, header("x-forwarded-for")))
            foreign = origin
            if origin is not None and origin.partition("://")[2] == header("host"):
                foreign = None
            if scope.method != "POST":
                status, head, answer = self._other_method(scope.method, origin, foreign)
            else:
                self._reading[cast("asyncio.Task[None]", asyncio.current_task())] = began
                try:
                    body = await read_body(protocol, header("content-length"), hot.limit)
                except asyncio.CancelledError:
                    raise too_slow() from None
                finally:
                    del self._reading[cast("asyncio.Task[None]", asyncio.current_task())]
                # Whoever waited behind others' bodies is not made to wait for their own.
                self._overload.check(perf_counter())
                if scope.query_string:
                    body = with_key(body, scope.query_string)
                reply = hot.act(body, header("sec-gpc") == "1", foreign)
                status, head, answer = reply if isinstance(reply, tuple) else await reply
        except ArautoError as error:
            status, head, answer = problem_reply(error)
        except Exception as error:
            log.critical("%s failed: %s", hot.label, where(error))
            status, head, answer = 500, JSON, msgspec.json.encode(UNEXPECTED)
        if origin is not None or self._ending:
            head = self._finish(origin, status, head)
        protocol.response_bytes(status, head, answer)
        self._meters.record(hot.label, status, perf_counter() - began)

    async def watch(self) -> None:
        """Cut short the requests whose bodies do not come (a timer for each would cost half as much as a decision), and
        look whether the server is about to end."""
        while True:
            await asyncio.sleep(BODY_S / 10)
            self._ending = self._drain.on
            late = perf_counter() - BODY_S
            for task, began in list(self._reading.items()):
                if began < late:
                    task.cancel()

    def _decide(self, body: bytes, gpc: bool, foreign: str | None) -> Reply | Awaitable[Reply]:
        try:
            query = _query.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # The same once more, for the words of the refusal.
            query = from_json(body, DecideQuery)
        if self.traces is not None:
            return self._decide_traced(query, gpc, foreign, self.traces)
        try:
            return 200, JSON, self._runtime.decide(query, gpc=gpc, origin=foreign)
        except (AuthError, NotFoundError):
            return self._decide_again(query, gpc, foreign)

    def _candidates(self, body: bytes, gpc: bool, foreign: str | None) -> Reply | Awaitable[Reply]:
        query = from_json(body, CandidatesQuery)
        try:
            return 200, JSON, self._runtime.candidates(query, gpc=gpc, origin=foreign)
        except (AuthError, NotFoundError):
            return self._decide_again(query, gpc, foreign)

    async def _decide_traced(self, query: DecideQuery, gpc: bool, foreign: str | None, traces: Traces) -> Reply:
        began = time_ns()
        try:
            answer = self._runtime.decide(query, gpc=gpc, origin=foreign)
        except (AuthError, NotFoundError):
            answer = await self._runtime.decide_again(query, gpc=gpc, origin=foreign)
        traces.decided(answer, began)
        return 200, JSON, answer

    async def _decide_again(self, query: DecideQuery, gpc: bool, foreign: str | None) -> Reply:
        return 200, JSON, await self._runtime.decide_again(query, gpc=gpc, origin=foreign)

    async def _events(self, body: bytes, gpc: bool, foreign: str | None) -> Reply:
        answer = await self._runtime.ingest(body, gpc=gpc, origin=foreign)
        if answer.stored or answer.duplicates:
            return 200, JSON, msgspec.json.encode(answer)
        return 422, JSON, msgspec.json.encode(all_refused(answer))

    def _other_method(self, method: str, origin: str | None, foreign: str | None) -> Reply:
        if method != "OPTIONS":
            return 405, [*JSON, ("allow", "OPTIONS, POST")], msgspec.json.encode(WRONG_METHOD)
        if origin is None or not (foreign is None or self._runtime.knows_origin(origin)):
            raise ForbiddenError("is not an origin of a site", field="Origin", mend="add it to the site")
        return 204, preflight("POST"), b""

    def _finish(self, origin: str | None, status: int, head: Headers) -> Headers:
        """Let the page read the answer: what is good has been checked against its site, a problem is told to any. And
        before the end, let the connection go."""
        if self._ending:
            head = [*head, ("connection", "close")]
        if origin is not None and (status < 400 or self._runtime.knows_origin(origin)):
            return [*head, ("access-control-allow-origin", origin), ("vary", "Origin")]
        return head


async def read_body(protocol: RsgiProtocol, told: str | None, limit: int) -> bytes:
    """The body, if it has at most ``limit`` bytes; a longer one is not read to its end. ``told``: its content-length.

    Raises:
        TooLargeError: it is longer.
    """
    if told is not None and told.isdigit():
        if int(told) > limit:
            raise too_large(limit)
        return await protocol()
    parts, size = [], 0
    async for part in protocol:
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(bytes(part))
    return b"".join(parts)


def too_large(limit: int) -> TooLargeError:
    """The error for a body of more than ``limit`` bytes."""
    return TooLargeError(f"the body has more than {limit} bytes", field="$", mend="send less at a time")


def too_slow() -> InputError:
    """The error for a body that does not come."""
    return InputError(f"the body did not come in {BODY_S} s", field="$", mend="send it without a pause")


def problem_reply(error: ArautoError) -> Reply:
    """An error as an answer: its status, headers and body."""
    head = JSON
    if isinstance(error, RateLimitError):
        head = [*JSON, ("retry-after", str(error.retry_after))]
    elif isinstance(error, StoreError):
        head = [*JSON, ("retry-after", str(RETRY_S))]
    elif isinstance(error, AuthError):
        head = [*JSON, ("www-authenticate", 'Bearer realm="arauto"')]
    return error.status, head, msgspec.json.encode(error.as_problem())


def all_refused(answer: EventsAnswer) -> AllRefused:
    """The problem that stands for a batch of which nothing could be used."""
    first = answer.refused[0]
    return AllRefused(
        code=first.code,
        field=first.field,
        problem=first.problem,
        mend=first.mend,
        index=first.index,
        refused=tuple(answer.refused),
    )


def preflight(methods: str) -> Headers:
    """The headers that allow a page of another origin to send what it asked about."""
    return [
        ("access-control-allow-methods", methods),
        ("access-control-allow-headers", "Content-Type"),
        ("access-control-max-age", "600"),
    ]


UNEXPECTED = Problem(
    code=ArautoError.code, field="", problem="something went wrong in the server", mend="see the server's log"
)
WRONG_METHOD = InputError("is not a method of this path", field="method", mend="see /openapi.json").as_problem()
