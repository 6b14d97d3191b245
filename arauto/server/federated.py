"""A coordinator over HTTP, a process of its own: frames in, frames out (docs/federated-protocol.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from arauto.core.errors import ArautoError, InputError, TooLargeError
from arauto.federated import MODULE, Coordinator, Rounds, module
from arauto.store import Store

MOST = (4 << 24) + 70_000
"""Bytes of the largest message: 2²⁴ words and a header."""
PAUSE_S = 0.2
_ORDER = ("join", "shares", "masked", "unmask", "done")
_SINCE = {"offer": "join", "roster": "shares", "inbox": "masked", "ask": "unmask", "receipt": "done"}
_BINARY = "application/octet-stream"

Handler = Callable[[Request], Awaitable[Response]]


def application(store: Store, rounds: Rounds) -> Starlette:
    """The routes of a coordinator. Anyone may speak: a message proves itself by its signature."""

    async def offers(_: Request) -> Response:
        rows = await store.federated.rounds(open_only=True)
        return _json([{"round": row.id, "task": row.task, "phase": row.phase} for row in rows])

    async def state(request: Request) -> Response:
        row = await store.federated.round(request.path_params["id"])
        return _json({"round": row.id, "phase": row.phase, "deadline_ms": row.deadline_ms, "reason": row.reason})

    async def frame(request: Request) -> Response:
        found = _frame(await rounds.coordinator(request.path_params["id"]), request)
        if found is None:
            return Response(status_code=204, headers={"Retry-After": "1"})
        return Response(found, media_type=_BINARY)

    async def message(request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MOST:
                raise TooLargeError("is larger than any message", field="body", mend=f"at most {MOST} bytes")
        return _json({"sender": await rounds.take(request.path_params["id"], bytes(body))})

    async def model(request: Request) -> Response:
        found = await store.federated.model(request.path_params["task"])
        return Response(found.weights, media_type=_BINARY, headers={"ETag": f'"{found.sha256}"'})

    async def script(_: Request) -> Response:
        return Response(module(), media_type="text/javascript; charset=utf-8")

    base = "/v1/federated"
    return Starlette(
        routes=[
            Route(f"/{MODULE}", script),
            Route(f"{base}/rounds", offers),
            Route(f"{base}/rounds/{{id}}", state),
            Route(f"{base}/rounds/{{id}}/messages", message, methods=["POST"]),
            Route(f"{base}/rounds/{{id}}/{{what}}", frame),
            Route(f"{base}/rounds/{{id}}/{{what}}/{{position:int}}", frame),
            Route(f"{base}/models/{{task}}", model),
        ],
        exception_handlers={ArautoError: _problem},
    )


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
    if what == "receipt" and coordinator.outcome is not None:
        return coordinator.outcome.receipt
    made = {"offer": lambda: coordinator.frame, "roster": coordinator.roster, "ask": coordinator.ask}
    return made[what]()


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


async def _problem(_: Request, error: Exception) -> Response:
    if not isinstance(error, ArautoError):
        raise error
    return Response(msgspec.json.encode(error.as_problem()), error.status, media_type="application/json")


async def keep_moving(rounds: Rounds, until: Callable[[], Awaitable[bool]]) -> None:
    """Move rounds on as they fill up or run out of time, until ``until()``."""
    while not await until():
        await rounds.tick()
        await asyncio.sleep(PAUSE_S)
