"""A coordinator over HTTP, a process of its own: frames in, frames out (docs/federated-protocol.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from arauto.core.errors import ArautoError, InputError, RateLimitError, TooLargeError
from arauto.federated import MODULE, Coordinator, Rounds, module
from arauto.server.limits import Addresses, Limiter
from arauto.store import Store

MOST = (4 << 24) + 70_000
"""Bytes of the largest message: 2²⁴ words and a header."""
PAUSE_S = 0.2
MOST_TOKENS = 1000
"""Tokens that one request gets."""
_ORDER = ("join", "shares", "masked", "unmask", "done")
_SINCE = {"offer": "join", "roster": "shares", "inbox": "masked", "ask": "unmask", "receipt": "done"}
_BINARY = "application/octet-stream"

Handler = Callable[[Request], Awaitable[Response]]


def application(
    store: Store, rounds: Rounds, *, limiter: Limiter | None = None, addresses: Addresses | None = None
) -> Starlette:
    """The routes of a coordinator. Joining takes a token unless the task is free; later messages prove themselves by
    their signatures. ``limiter`` bounds what one address may ask, ``addresses`` says whose request it is."""
    limits = Limiter(0) if limiter is None else limiter  # an empty one is false
    known, door = addresses or Addresses(()), _Door(store, rounds)

    def limited(handler: Handler) -> Handler:
        async def within(request: Request) -> Response:
            peer = f"{request.client.host}:0" if request.client else ""
            limits.take(known.of(peer, request.headers.get("x-forwarded-for")))
            return await handler(request)

        return within

    base = "/v1/federated"
    return Starlette(
        routes=[
            Route(path, limited(handler), methods=[method])
            for method, path, handler in (
                ("GET", f"/{MODULE}", door.script),
                ("GET", f"{base}/rounds", door.offers),
                ("GET", f"{base}/rounds/{{id}}", door.state),
                ("GET", f"{base}/rounds/{{id}}/tokens", door.tokens),
                ("POST", f"{base}/rounds/{{id}}/messages", door.message),
                ("GET", f"{base}/rounds/{{id}}/{{what}}", door.frame),
                ("GET", f"{base}/rounds/{{id}}/{{what}}/{{position:int}}", door.frame),
                ("GET", f"{base}/models/{{task}}", door.model),
            )
        ],
        exception_handlers={ArautoError: _problem},
    )


class _Door:
    """The answers."""

    def __init__(self, store: Store, rounds: Rounds) -> None:
        self._rows, self._rounds = store.federated, rounds

    async def offers(self, _: Request) -> Response:
        rows = await self._rows.rounds(open_only=True)
        return _json([{"round": row.id, "task": row.task, "phase": row.phase} for row in rows])

    async def state(self, request: Request) -> Response:
        row = await self._rows.round(request.path_params["id"])
        return _json({"round": row.id, "phase": row.phase, "deadline_ms": row.deadline_ms, "reason": row.reason})

    async def frame(self, request: Request) -> Response:
        id_, what = request.path_params["id"], request.path_params["what"]
        row = await self._rows.round(id_)
        # The receipt outlives the messages that the other frames are made of.
        kept = row.receipt if what == "receipt" else None
        found = kept or _frame(await self._rounds.coordinator(id_), request)
        if found is None:
            return Response(status_code=204, headers={"Retry-After": "1"})
        return Response(found, media_type=_BINARY)

    async def tokens(self, request: Request) -> Response:
        first, count = (_whole(request, name, default) for name, default in (("first", 0), ("count", 1)))
        key = _bearer(request) or ""
        made = await self._rounds.tokens(request.path_params["id"], key, first, min(count, MOST_TOKENS))
        return _json({"tokens": made})

    async def message(self, request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MOST:
                raise TooLargeError("is larger than any message", field="body", mend=f"at most {MOST} bytes")
        sender = await self._rounds.take(request.path_params["id"], bytes(body), _bearer(request))
        return _json({"sender": sender})

    async def model(self, request: Request) -> Response:
        found = await self._rows.model(request.path_params["task"])
        return Response(found.weights, media_type=_BINARY, headers={"ETag": f'"{found.sha256}"'})

    async def script(self, _: Request) -> Response:
        return Response(module(), media_type="text/javascript; charset=utf-8")


def _frame(coordinator: Coordinator, request: Request) -> bytes | None:
    """The frame that was asked for; None when it is not there yet."""
    what = request.path_params["what"]
    if what not in _SINCE or (what == "inbox") != ("position" in request.path_params):
        raise InputError(f"there is no {what!r}", field="frame", mend=f"one of {', '.join(_SINCE)}")
    if coordinator.phase == "failed":
        raise InputError(f"the round failed: {coordinator.reason}", field="round", mend="wait for another")
    if _ORDER.index(coordinator.phase) < _ORDER.index(_SINCE[what]):
        return None
    if what == "inbox":
        position = request.path_params["position"]
        if position >= coordinator.size:
            raise InputError("is not in the roster", field="position", mend="ask with your own place in it")
        return coordinator.inbox(position)
    if what == "receipt" and coordinator.outcome is not None:  # it ended between the two looks
        return coordinator.outcome.receipt
    made = {"offer": lambda: coordinator.frame, "roster": coordinator.roster, "ask": coordinator.ask}
    return made[what]()


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _whole(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name, str(default))
    if not (given.isdecimal() and len(given) <= 6):
        raise InputError(f"is {given!r}", field=name, mend="give a whole number")
    return int(given)


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


async def _problem(_: Request, error: Exception) -> Response:
    if not isinstance(error, ArautoError):
        raise error
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, RateLimitError) else None
    return Response(msgspec.json.encode(error.as_problem()), error.status, headers, media_type="application/json")


async def keep_moving(rounds: Rounds, until: Callable[[], Awaitable[bool]]) -> None:
    """Move rounds on as they fill up or run out of time, until ``until()``."""
    while not await until():
        await rounds.tick()
        await asyncio.sleep(PAUSE_S)
