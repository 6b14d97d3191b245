"""The dashboard's pages, as a Starlette application. They only read; what they show comes from the rollups."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from arauto.core.errors import NotFoundError, StoreError
from arauto.core.i18n import LANGUAGES
from arauto.dashboard import pages
from arauto.dashboard.demo import show_demo
from arauto.dashboard.reader import LANGUAGE_COOKIE, language_of
from arauto.dashboard.sessions import SESSION_COOKIE, SESSION_MS, Sessions
from arauto.dashboard.view import shares_csv, variants_csv
from arauto.loop import Report, Runtime, build_report

OWN = "/dashboard"
YEAR_S = 365 * 86_400
WRONG_A_MINUTE = 10
"""So many wrong tokens or codes a minute are looked at; then everyone waits."""
FORM_LIMIT = 2_048

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    # Not "no-referrer": a form would then come from the origin "null".
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}

log = logging.getLogger(__name__)
Page = Callable[[Request], Awaitable[Response]]


def create_dashboard(runtime: Runtime) -> Starlette:
    """The application over a runtime. Its paths are absolute: its routes can also stand among a server's own."""
    desk = _Desk(runtime)
    campaign = f"{OWN}/campaigns/{{id:int}}"
    return Starlette(
        routes=[
            Route("/login", desk.open(desk.login), methods=["GET", "POST"]),
            Route("/logout", desk.open(desk.logout), methods=["POST"]),
            Route(OWN, desk.closed(desk.campaigns)),
            Route(f"{OWN}/live", desk.closed(desk.campaigns_live)),
            Route(campaign, desk.closed(desk.campaign)),
            Route(f"{campaign}/live", desk.closed(desk.campaign_live)),
            Route(f"{campaign}/variants.csv", desk.closed(desk.variants_file)),
            Route(f"{campaign}/shares.csv", desk.closed(desk.shares_file)),
            Route(f"{campaign}/report.html", desk.closed(desk.report_file)),
            Route(f"{OWN}/static/{{name}}", desk.open(desk.file)),
            Route("/demo", desk.open(desk.demo)),
        ]
    )


class _Desk:
    """Answers the pages' requests."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._store = runtime.store
        self._sessions = Sessions(runtime.store, runtime.clock)
        self._wrong: deque[int] = deque(maxlen=WRONG_A_MINUTE)

    # Who may see what.

    def open(self, page: Page) -> Page:
        """``page`` for everyone, with the headers of all pages and an answer to every failure."""

        async def answer(request: Request) -> Response:
            try:
                response = await page(request)
            except NotFoundError:
                response = self._notice(request, "not_found", 404)
            except StoreError as error:
                log.warning("the dashboard cannot read: %s", error.problem)
                response = self._notice(request, "away", 503)
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
            asked = request.query_params.get("lang")
            if asked in LANGUAGES and request.url.path.startswith((OWN, "/login")):
                response.set_cookie(LANGUAGE_COOKIE, asked, max_age=YEAR_S, httponly=True, samesite="lax")
            return response

        return answer

    def closed(self, page: Page) -> Page:
        """``page`` for who has signed in; the others are sent to do so."""

        async def answer(request: Request) -> Response:
            if await self._signed_in(request):
                return await page(request)
            if request.url.path.endswith("/live"):
                return Response(status_code=401)
            return RedirectResponse("/login", status_code=303)

        return self.open(answer)

    async def _signed_in(self, request: Request) -> bool:
        return await self._sessions.check(request.cookies.get(SESSION_COOKIE))

    async def login(self, request: Request) -> Response:
        """By a single-use code in the link, or by the admin token in the form."""
        if request.method == "POST" and not _same_origin(request):
            return self._notice(request, "forbidden", 403)
        code = request.query_params.get("code") if request.method == "GET" else None
        if request.method == "GET" and code is None:
            return self._page(request, "login.html", entered=False, problem="")
        if self._too_many():
            return self._page(request, "login.html", 429, entered=False, problem="too_many")
        if code is not None:
            good = code.isascii() and len(code) <= 200 and await self._store.use_login_code(code)
        else:
            good = await self._good_token(await _field(request, "token"))
        if not good:
            self._wrong.append(self._runtime.clock.now_ms())
            problem = "bad_token" if code is None else "bad_code"
            return self._page(request, "login.html", 401, entered=False, problem=problem)
        # Not a redirect: a strict cookie would not be sent along one that began on another site.
        response = self._page(request, "login.html", entered=True, problem="")
        response.set_cookie(
            SESSION_COOKIE,
            await self._sessions.make(),
            max_age=SESSION_MS // 1000,
            httponly=True,
            samesite="strict",
            secure="https" in (request.url.scheme, request.headers.get("x-forwarded-proto")),
        )
        return response

    async def logout(self, request: Request) -> Response:
        if not _same_origin(request):
            return self._notice(request, "forbidden", 403)
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(SESSION_COOKIE)
        return response

    async def _good_token(self, token: str) -> bool:
        if not token or not token.isascii() or len(token) > 200:
            return False
        if own := self._runtime.settings.admin_token.reveal():
            return hmac.compare_digest(token, own)
        return await self._store.check_admin_token(token)

    def _too_many(self) -> bool:
        now = self._runtime.clock.now_ms()
        return len(self._wrong) == WRONG_A_MINUTE and now - self._wrong[0] < 60_000

    # What they see.

    async def campaigns(self, request: Request) -> Response:
        return self._page(request, "campaigns.html", signed_in=True, rows=await self._rows())

    async def campaigns_live(self, request: Request) -> Response:
        return self._part(request, pages.render("campaign_list.html", language_of(request), rows=await self._rows()))

    async def _rows(self) -> list[dict[str, object]]:
        campaigns = await self._store.catalogue.campaigns()
        rows = []
        for campaign in reversed(campaigns):
            totals = await self._store.rollups.totals(campaign.id)
            impressions, clicks = sum(row.impressions for row in totals), sum(row.clicks for row in totals)
            rows.append(
                {
                    "campaign": campaign,
                    "impressions": impressions,
                    "clicks": clicks,
                    "ctr": clicks / impressions if impressions else None,
                    "purchases": sum(row.purchases for row in totals),
                }
            )
        return rows

    async def campaign(self, request: Request) -> Response:
        values = await self._values(request)
        return self._page(request, "campaign.html", signed_in=True, **values)

    async def campaign_live(self, request: Request) -> Response:
        return self._part(request, pages.render("body.html", language_of(request), **await self._values(request)))

    async def variants_file(self, request: Request) -> Response:
        report = await self._report(request)
        return _download(variants_csv(report), f"{report.slug}-variants.csv", "text/csv; charset=utf-8")

    async def shares_file(self, request: Request) -> Response:
        report = await self._report(request)
        return _download(shares_csv(report), f"{report.slug}-shares.csv", "text/csv; charset=utf-8")

    async def report_file(self, request: Request) -> Response:
        report, language = await self._report(request), language_of(request)
        page = await asyncio.to_thread(pages.render_report_html, report, language)
        return _download(page.encode(), f"{report.slug}.html", "text/html; charset=utf-8")

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in pages.FILES:
            raise NotFoundError("there is no such file", field="name")
        headers = {"cache-control": "public, max-age=86400", "content-type": pages.FILES[name]}
        return Response(pages.file(name), headers=headers)

    async def demo(self, request: Request) -> Response:
        return await show_demo(self._store, request)

    async def _report(self, request: Request) -> Report:
        return await build_report(self._store, request.path_params["id"], clock=self._runtime.clock)

    async def _values(self, request: Request) -> dict[str, Any]:
        report = await self._report(request)
        return await asyncio.to_thread(pages.render_report, report, language_of(request), links=True)

    def _page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        own = {"path": request.url.path, "version": pages.version(), "signed_in": False, **values}
        return Response(pages.render(template, language_of(request), **own), status, media_type="text/html")

    def _notice(self, request: Request, heading: str, status: int) -> Response:
        return self._page(request, "notice.html", status, heading=heading, retry=status == 503)

    def _part(self, request: Request, part: str) -> Response:
        """A part of a page, or 304 when the browser has that one."""
        tag = f'"{hashlib.sha256(part.encode()).hexdigest()[:24]}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        return Response(part, headers={"etag": tag}, media_type="text/html")


def _same_origin(request: Request) -> bool:
    """Whether a form came from a page of ours: a browser always says where a POST is from."""
    return request.headers.get("origin", "").partition("://")[2] == request.headers.get("host")


async def _field(request: Request, name: str) -> str:
    """One text field of a small form; empty when it is not there or the form is too large."""
    told = request.headers.get("content-length", "")
    if not told.isdigit() or int(told) > FORM_LIMIT:
        return ""
    async with request.form(max_files=0, max_fields=4) as form:
        value = form.get(name)
    return value if isinstance(value, str) else ""


def _download(body: bytes, name: str, kind: str) -> Response:
    headers = {"content-type": kind, "content-disposition": f'attachment; filename="{name}"'}
    return Response(body, headers=headers)
