"""The dashboard as a Starlette application: its routes come from the table of :mod:`arauto.dashboard.access`."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from arauto.core.errors import ArautoError, ForbiddenError, NotFoundError, StoreError
from arauto.core.i18n import LANGUAGES
from arauto.core.people import Person
from arauto.dashboard import pages
from arauto.dashboard.access import Entry, Table, table
from arauto.dashboard.door import Door
from arauto.dashboard.live import Live, Part, tag_of
from arauto.dashboard.reader import (
    LANGUAGE_COOKIE,
    THEME_COOKIE,
    THEMES,
    fields,
    language_of,
    peer_of,
    same_origin,
    theme_of,
)
from arauto.dashboard.screen import OWN, Deed, File, Screen, View
from arauto.dashboard.screens import house_of, tabs_of
from arauto.dashboard.sessions import SESSION_COOKIE, Sessions
from arauto.loop import Runtime

YEAR_S = 365 * 86_400
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
QUERY_MOST = 200
"""The longest text that a screen reads of its address."""

HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    # Not "no-referrer": a form would then come from the origin "null".
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

log = logging.getLogger(__name__)
Page = Callable[[Request], Awaitable[Response]]


def create_dashboard(
    runtime: Runtime,
    sessions: Sessions | None = None,
    live: Live | None = None,
    whose: Callable[[Request], str] = peer_of,
) -> Starlette:
    """The application over a runtime; whoever ends the process closes ``live`` first.

    ``whose`` tells the address that a request comes from: by default the peer's, which may be a proxy's.

    Its paths are absolute: its routes can also stand among a server's own.
    """
    desk = _Desk(runtime, sessions or Sessions(runtime.store, runtime.clock), live or Live(), whose)
    known: Table = table()
    by_path: dict[str, dict[str, Page]] = {}
    for (path, method), entry in known.items():
        by_path.setdefault(path, {})[method] = desk.guard(entry)
    return Starlette(routes=[Route(path, _by_method(pages_), methods=[*pages_]) for path, pages_ in by_path.items()])


def _by_method(endpoints: Mapping[str, Page]) -> Page:
    async def answer(request: Request) -> Response:
        # Starlette lets HEAD in where GET is.
        return await endpoints["GET" if request.method == "HEAD" else request.method](request)

    return answer


class _Desk:
    """Answers the requests of every entry of the table."""

    def __init__(self, runtime: Runtime, sessions: Sessions, live: Live, whose: Callable[[Request], str]) -> None:
        self._runtime = runtime
        self._sessions = sessions
        self._live = live
        door = Door(runtime, sessions, whose)
        self._own: dict[str, Page] = {
            "login": door.login,
            "logout": door.logout,
            "invitation": door.invitation,
            "demo": door.demo,
            "static": door.file,
        }

    def guard(self, entry: Entry) -> Page:
        """The one place where it is decided whether a request may pass; and an answer to every failure."""

        async def answer(request: Request) -> Response:
            person: Person | None = None
            try:
                person = await self._sessions.check(request.cookies.get(SESSION_COOKIE))
                if request.method == "POST" and not same_origin(request):
                    response = self._notice(request, person, "forbidden", 403)
                elif entry.role is None:
                    response = await self._own[entry.name](request)
                elif person is None:
                    response = _sign_in(entry)
                elif not person.may(entry.role):
                    response = self._notice(request, person, "not_allowed", 403)
                else:
                    response = await self._serve(entry, request, person)
            except ForbiddenError:
                response = self._notice(request, person, "forbidden", 403)
            except NotFoundError:
                response = self._notice(request, person, "not_found", 404)
            except StoreError as error:
                log.warning("the dashboard cannot read: %s", error.problem)
                response = self._notice(request, person, "away", 503)
            _finish(request, response)
            return response

        return answer

    async def _serve(self, entry: Entry, request: Request, person: Person) -> Response:
        screen = entry.screen
        assert screen is not None  # noqa: S101 -- the table says so
        if entry.kind == "page":
            return await self._page(screen, request, person)
        if entry.kind == "live":
            return await self._renewed(screen, request, person)
        if entry.kind == "file":
            return _download(request, await screen.files[entry.name](_view(self._runtime, screen, request, person)))
        return await self._act(screen, entry.name, request, person)

    async def _page(
        self,
        screen: Screen,
        request: Request,
        person: Person,
        *,
        status: int = 200,
        problem: ArautoError | None = None,
        shown: Mapping[str, Any] | None = None,
        sent: Mapping[str, str] | None = None,
    ) -> Response:
        view, asked = _view(self._runtime, screen, request, person), time.monotonic()
        values = await screen.values(view)
        part = pages.render_part(screen, view, {**values, **(shown or {}), "sent": sent or {}})
        live = screen.live and not shown and problem is None
        if live:
            await self._part(screen, view).put(part, asked)
        told = request.query_params.get("done", "")
        page = pages.render_page(
            screen,
            view,
            part=part,
            heading=values.get("heading"),
            person=person,
            theme=theme_of(request),
            path=screen.at(request.path_params),
            kept=request.query_params,
            live=live,
            tag=tag_of(part),
            told=told if told.isidentifier() and len(told) < 40 else "",
            problem=problem,
            house=house_of(person),
            tabs=tabs_of(screen, person),
        )
        return Response(page, status, media_type="text/html")

    async def _renewed(self, screen: Screen, request: Request, person: Person) -> Response:
        """The part of the page that changes: once, or (``Accept: text/event-stream``) whenever it does."""
        part = self._part(screen, _view(self._runtime, screen, request, person))
        if "text/event-stream" not in request.headers.get("accept", ""):
            return _tagged(request, await part.read(), part.tag)
        await part.read()
        cookie = request.cookies.get(SESSION_COOKIE)

        async def good() -> bool:
            return await self._sessions.check(cookie) == person

        # A browser that comes back says what it saw last; a new one has what stood in its page.
        tag = request.headers.get("last-event-id") or request.query_params.get("tag", "")
        return StreamingResponse(
            self._live.stream(part, tag, good),
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},
        )

    def _part(self, screen: Screen, view: View) -> Part:
        key = (screen.name, *sorted(view.params.items()), *sorted(view.query.items()), view.language, view.role)

        async def make() -> str:
            return pages.render_part(screen, view, await screen.values(view))

        return self._live.part(key, make, screen.every)

    async def _act(self, screen: Screen, name: str, request: Request, person: Person) -> Response:
        deed = Deed(
            runtime=self._runtime,
            language=language_of(request),
            person=person,
            params=request.path_params,
            form=await fields(request),
        )
        try:
            done = await screen.actions[name].do(deed)
        except StoreError:
            raise
        except ArautoError as error:
            return await self._page(screen, request, person, status=error.status, problem=error, sent=deed.form)
        finally:
            self._sessions.forget()
        if done.file is not None:
            return _download(request, done.file)
        if done.shown:
            return await self._page(screen, request, person, shown=done.shown)
        to = done.to or screen.at(request.path_params)
        return RedirectResponse(f"{to}?done={done.told}" if done.told else to, status_code=303)

    def _notice(self, request: Request, person: Person | None, heading: str, status: int) -> Response:
        page = pages.render(
            "notice.html",
            language_of(request),
            person=person,
            theme=theme_of(request),
            path=request.url.path,
            kept={},
            house=house_of(person),
            heading=heading,
            retry=status == 503,
        )
        return Response(page, status, media_type="text/html")


def _view(runtime: Runtime, screen: Screen, request: Request, person: Person) -> View:
    query = {name: request.query_params.get(name, "")[:QUERY_MOST] for name in screen.query}
    return View(
        runtime=runtime,
        language=language_of(request),
        role=person.role,
        params=request.path_params,
        query={name: value for name, value in query.items() if value},
    )


def _sign_in(entry: Entry) -> Response:
    if entry.kind == "live":
        return Response(status_code=401)
    return RedirectResponse("/login", status_code=303)


def _finish(request: Request, response: Response) -> None:
    """The headers of every answer; and what the reader chose is kept."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if not request.url.path.startswith((OWN, "/login", "/invitation")):
        return
    for name, cookie, known in (("lang", LANGUAGE_COOKIE, LANGUAGES), ("theme", THEME_COOKIE, THEMES)):
        asked = request.query_params.get(name)
        if asked is not None and asked in known:
            response.set_cookie(cookie, asked, max_age=YEAR_S, httponly=True, samesite="lax")


def _tagged(request: Request, text: str, tag: str) -> Response:
    """A part of a page, or 304 when the browser has that one."""
    quoted = f'"{tag}"'
    if request.headers.get("if-none-match") == quoted:
        return Response(status_code=304, headers={"etag": quoted})
    return Response(text, headers={"etag": quoted}, media_type="text/html")


def _download(request: Request, file: File) -> Response:
    """The file, or the range of it that a player asks for (RFC 9110, section 14)."""
    way = "inline" if file.inline else "attachment"
    headers = {"content-type": file.kind, "content-disposition": f'{way}; filename="{file.name}"'}
    if not file.inline:
        return Response(file.body, headers=headers)
    headers |= {"accept-ranges": "bytes", "cache-control": "private, max-age=60"}
    whole = len(file.body)
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or not (asked[1] or asked[2]):
        return Response(file.body, headers=headers)
    first = int(asked[1]) if asked[1] else max(0, whole - int(asked[2]))
    last = min(int(asked[2]), whole - 1) if asked[1] and asked[2] else whole - 1
    if not first <= last:
        return Response(status_code=416, headers={"content-range": f"bytes */{whole}"})
    headers["content-range"] = f"bytes {first}-{last}/{whole}"
    return Response(file.body[first : last + 1], 206, headers=headers)
