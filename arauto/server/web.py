"""Everything but the hot routes, as a Starlette application made from the route table."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from time import perf_counter
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute
from starlette.routing import Route as WebRoute

from arauto.core.door import explain, from_json
from arauto.core.errors import ArautoError, AuthError, ForbiddenError, InputError, NotFoundError
from arauto.core.people import may
from arauto.loop import where
from arauto.server.front import (
    BODY_S,
    JSON,
    UNEXPECTED,
    WRONG_METHOD,
    Reply,
    preflight,
    problem_reply,
    too_large,
    too_slow,
)
from arauto.server.gate import SHOW_TOKEN, Gate
from arauto.server.limits import Addresses, Limiter
from arauto.server.openapi import document
from arauto.server.public import VERSION
from arauto.server.routes import ROUTES
from arauto.server.wire import Answered, Call, Desk, Route

VISITOR_PATH = "/v1/visitors/{id}"

log = logging.getLogger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]


def build(desk: Desk, limiter: Limiter, addresses: Addresses, gate: Gate, pages: list[BaseRoute]) -> Starlette:
    """The application: the table's routes behind ``gate``, and ``pages`` (the dashboard's)."""
    desk.document = _document()
    clerk = _Clerk(desk, limiter, addresses, gate)
    by_path: dict[str, dict[str, Endpoint]] = {VISITOR_PATH: {"OPTIONS": clerk.visitors_preflight}, "/": {"GET": _home}}
    for route in ROUTES:
        if not route.hot:
            by_path.setdefault(route.path, {})[route.method] = clerk.endpoint(route)
    routes: list[BaseRoute] = [
        WebRoute(path, _by_method(methods), methods=[*methods]) for path, methods in by_path.items()
    ]
    return Starlette(routes=[*routes, *pages], exception_handlers={HTTPException: _not_here})


@cache
def _document() -> bytes:
    """The same for each application of a process."""
    return document(ROUTES, VERSION)


class _Clerk:
    """Does for every route what its line of the table says."""

    def __init__(self, desk: Desk, limiter: Limiter, addresses: Addresses, gate: Gate) -> None:
        self._desk = desk
        self._limiter = limiter
        self._addresses = addresses
        self._gate = gate

    def endpoint(self, route: Route) -> Endpoint:
        label = f"{route.method} {route.path}"
        handler = route.handler
        if handler is None:
            raise TypeError(f"{label} has no handler")

        async def run(request: Request) -> Response:
            began = perf_counter()
            try:
                call = await self._check(route, request)
                answer = await handler(self._desk, call)
                response = _response(answer, next(iter(route.answers)))
            except ArautoError as error:
                response = _from_reply(problem_reply(error))
            except ClientDisconnect:
                response = Response(status_code=400)
            except Exception as error:
                log.critical("%s failed: %s", label, where(error))
                response = _from_reply((500, JSON, msgspec.json.encode(UNEXPECTED)))
            if route.auth == "public":
                self._allow(request, response)
            self._desk.meters.record(label, response.status_code, perf_counter() - began)
            return response

        return run

    async def _check(self, route: Route, request: Request) -> Call:
        if route.auth == "public":
            self._count(request)
        actor = await self._actor(route, request)
        return Call(
            request=request,
            actor=actor,
            params={name: _param(name, request.path_params[name], kind) for name, kind in route.params.items()},
            query=None if route.query is None else _query(request, route.query),
            body=None if route.body is None else from_json(await _body(request, route.limit), route.body),
        )

    async def _actor(self, route: Route, request: Request) -> str:
        if route.auth == "open":
            return ""
        try:
            asker = await self._gate.asker(request)
        except AuthError:
            # Guessing costs as much as any public request.
            if route.auth == "admin":
                self._count(request)
            raise
        if route.auth == "admin" and asker is None:
            raise AuthError("is missing", field="Authorization", mend=SHOW_TOKEN)
        if asker is None or may(asker.role, route.role):
            return "" if asker is None else asker.actor
        if route.auth == "admin":
            raise ForbiddenError(
                f"needs the role {route.role}", field="session", mend="ask whoever administers this server"
            )
        return ""

    def _count(self, request: Request) -> None:
        self._limiter.take(self._addresses.of_request(request))

    def _allow(self, request: Request, response: Response) -> None:
        """Let a page of a known origin read the answer; the handler has checked that it is its own site's."""
        origin = request.headers.get("origin")
        if origin is not None and self._desk.runtime.knows_origin(origin):
            response.headers["access-control-allow-origin"] = origin
            response.headers["vary"] = "Origin"

    async def visitors_preflight(self, request: Request) -> Response:
        """Answer a browser that asks whether its page may export or erase."""
        origin = request.headers.get("origin", "")
        site = self._desk.runtime.site_of(request.query_params.get("key", ""))
        try:
            self._count(request)
            if site is None or origin not in site.origins:
                raise ForbiddenError("is not an origin of the site", field="Origin", mend="add it to the site")
        except ArautoError as error:
            return _from_reply(problem_reply(error))
        response = Response(status_code=204, headers=dict(preflight("GET, DELETE")))
        self._allow(request, response)
        return response


def _by_method(methods: Mapping[str, Endpoint]) -> Endpoint:
    """One path's endpoint: a web route of its own for each method would tell only its own in `Allow`."""

    async def run(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method](request)

    return run


async def _home(_request: Request) -> Response:
    return RedirectResponse("/dashboard", status_code=303)


async def _not_here(_request: Request, error: Exception) -> Response:
    """A path or method that is in no table, as a problem."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == NotFoundError.status:
        return _from_reply(
            problem_reply(NotFoundError("there is nothing here", field="path", mend="see /openapi.json"))
        )
    problem = WRONG_METHOD if status == 405 else UNEXPECTED
    response = _from_reply((status, JSON, msgspec.json.encode(problem)))
    if isinstance(error, HTTPException) and error.headers:
        response.headers.update(error.headers)
    return response


def _response(answer: Any, status: int) -> Response:
    if isinstance(answer, Response):
        response = answer
        response.headers.setdefault("x-content-type-options", "nosniff")
        return response
    if isinstance(answer, Answered):
        answer, status = answer.content, answer.status
    return _from_reply((status, JSON, msgspec.json.encode(answer)))


def _from_reply(reply: Reply) -> Response:
    status, headers, body = reply
    return Response(body, status, headers=dict(headers))


def _param(name: str, text: str, kind: Any) -> Any:
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as failure:
        error = explain(failure, kind)
        raise InputError(error.problem, field=name, mend=error.mend) from None


def _query(request: Request, kind: Any) -> Any:
    try:
        return msgspec.convert(dict(request.query_params), kind, strict=False)
    except msgspec.ValidationError as failure:
        raise explain(failure, kind) from None


async def _body(request: Request, limit: int) -> bytes:
    told = request.headers.get("content-length", "")
    if told.isdigit() and int(told) > limit:
        raise too_large(limit)
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise too_large(limit)
                parts.append(part)
    except TimeoutError:
        raise too_slow() from None
    return b"".join(parts)
