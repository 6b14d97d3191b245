"""The routes that anyone may call, but the two hot ones: a visitor's own data, health, the snippet, the document."""

from __future__ import annotations

import asyncio
from functools import cache
from hashlib import sha256
from importlib import metadata, resources
from typing import Any

from starlette.responses import Response

from arauto.core.errors import BusyError, NotFoundError, StoreError
from arauto.edge import served
from arauto.loop.decide import foreign_origin, unknown_key
from arauto.server.meters import FORMAT, exposition
from arauto.server.wire import Call, Desk, Erased, Health, KeyQuery

PING_S = 2.0
VERSION = metadata.version("arauto")


async def export_visitor(desk: Desk, call: Call) -> dict[str, Any]:
    """Everything kept of a visitor."""
    _check_key(desk, call)
    return await desk.runtime.export(call.params["id"])


async def erase_visitor(desk: Desk, call: Call) -> Erased:
    """Erase a visitor."""
    _check_key(desk, call)
    return Erased(erased=await desk.runtime.erase(call.params["id"], call.actor or "visitor"))


async def healthz(_desk: Desk, _call: Call) -> Health:
    """Alive."""
    return Health(status="ok", version=VERSION)


async def readyz(desk: Desk, _call: Call) -> Health:
    """Alive, the database answers, and the server is not about to end."""
    if desk.drain.on:
        raise BusyError("the server is about to end", mend="ask another one")
    if not await database_up(desk):
        raise StoreError("the database does not answer", mend="look whether it runs")
    return Health(status="ready", version=VERSION)


async def database_up(desk: Desk) -> bool:
    """Whether the database answers within :data:`PING_S`."""
    try:
        async with asyncio.timeout(PING_S):
            await desk.store.ping()
    except (StoreError, TimeoutError):
        return False
    return True


async def metrics(desk: Desk, _call: Call) -> Response:
    """Counters for Prometheus."""
    body = exposition(
        desk.board.add_up(desk.snapshot()), database_up=await database_up(desk), workers=desk.settings.workers
    )
    return Response(body, headers={"content-type": FORMAT})


async def openapi(desk: Desk, _call: Call) -> Response:
    """The OpenAPI document."""
    return Response(desk.document, media_type="application/json")


async def snippet(_desk: Desk, call: Call) -> Response:
    """The browser snippet."""
    body, tag = _file("arauto.js")
    headers = {
        "etag": tag,
        "cache-control": "public, max-age=300",
        # A module script of another origin is fetched with CORS.
        "access-control-allow-origin": "*",
        "cross-origin-resource-policy": "cross-origin",
    }
    if call.request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, headers={**headers, "content-type": "text/javascript; charset=utf-8"})


async def edge_file(_desk: Desk, call: Call) -> Response:
    """One of the edge room's files: a module, or the shipped model under its hash."""
    name = call.params["name"]
    asset = served().get(name)
    if asset is None:
        raise NotFoundError(
            "is not a file of the edge room", field="name", mend="see `arauto edge export` for the names"
        )
    headers = {
        "etag": asset.tag,
        "cache-control": "public, max-age=31536000, immutable" if asset.immutable else "public, max-age=300",
        "access-control-allow-origin": "*",
        "cross-origin-resource-policy": "cross-origin",
        "vary": "accept-encoding",
    }
    if call.request.headers.get("if-none-match") == asset.tag:
        return Response(status_code=304, headers=headers)
    headers["content-type"] = asset.kind
    if "gzip" in call.request.headers.get("accept-encoding", ""):
        return Response(asset.squeezed, headers={**headers, "content-encoding": "gzip"})
    return Response(asset.body, headers=headers)


def _check_key(desk: Desk, call: Call) -> None:
    """A page must show its site's key, and be one of the site's; an administrator need not."""
    query: KeyQuery = call.query
    if call.actor:
        return
    site = desk.runtime.site_of(query.key)
    if site is None:
        raise unknown_key()
    origin = call.request.headers.get("origin")
    if origin is not None and origin not in site.origins and origin.partition("://")[2] != call.request.headers["host"]:
        raise foreign_origin()


@cache
def _file(name: str) -> tuple[bytes, str]:
    body = resources.files("arauto.server").joinpath("static", name).read_bytes()
    return body, f'"{sha256(body).hexdigest()[:16]}"'
