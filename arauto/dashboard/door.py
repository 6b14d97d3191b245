"""What is open to everyone: signing in and out, taking up an invitation, the demonstration shop, our own files."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from arauto.core.errors import InputError, NotFoundError, TooLargeError
from arauto.dashboard import pages
from arauto.dashboard.demo import show_demo
from arauto.dashboard.patience import Patience
from arauto.dashboard.reader import fields, language_of, theme_of
from arauto.dashboard.sessions import SESSION_COOKIE, SESSION_MS, Sessions
from arauto.loop import Runtime
from arauto.store import User

TEXT_MOST = 200


class Door:
    """Lets people in. ``whose`` tells the address that a request comes from."""

    def __init__(self, runtime: Runtime, sessions: Sessions, whose: Callable[[Request], str]) -> None:
        self._runtime = runtime
        self._store = runtime.store
        self._sessions = sessions
        self._whose = whose
        self._patience = Patience(runtime.clock.now_ms)

    async def login(self, request: Request) -> Response:
        """By a single-use code in the link, by name and password, or by the admin token."""
        code = request.query_params.get("code") if request.method == "GET" else None
        if request.method == "GET" and code is None:
            return self._page(request, "login.html")
        form = await _short(request) if code is None else {}
        name, token = form.get("name", "").strip().lower()[:TEXT_MOST], form.get("token", "")
        if self._patience.over(self._whose(request), name):
            return self._page(request, "login.html", 429, problem="too_many", name=name)
        if code is not None:
            good = code.isascii() and len(code) <= TEXT_MOST and await self._store.use_login_code(code)
            return await self._enter(request, None) if good else self._refuse(request, "bad_code")
        if name:
            user = await self._store.users.check(name, form.get("password", ""))
            return self._refuse(request, "bad_password", name) if user is None else await self._enter(request, user)
        return await self._enter(request, None) if await self._good_token(token) else self._refuse(request, "bad_token")

    async def logout(self, _request: Request) -> Response:
        """Drops the cookie."""
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(SESSION_COOKIE)
        return response

    async def invitation(self, request: Request) -> Response:
        """A new user chooses a password."""
        form = await _short(request) if request.method == "POST" else {}
        code = form.get("code") or request.query_params.get("code", "")
        if self._patience.over(self._whose(request), ""):
            return self._page(request, "login.html", 429, problem="too_many")
        user = await self._store.users.invited(code) if code.isascii() and len(code) <= TEXT_MOST else None
        if user is None:
            return self._refuse(request, "bad_invitation")
        if request.method == "GET":
            return self._page(request, "invitation.html", user=user, code=code)
        password = form.get("password", "")
        if password != form.get("again", ""):
            return self._page(request, "invitation.html", 422, user=user, code=code, problem="passwords_differ")
        try:
            joined = await self._store.users.join(code, password)
        except InputError:
            return self._page(request, "invitation.html", 422, user=user, code=code, problem="password_length")
        return self._refuse(request, "bad_invitation") if joined is None else await self._enter(request, joined)

    async def file(self, request: Request) -> Response:
        """A file of ours."""
        name = request.path_params["name"]
        if name not in pages.FILES:
            raise NotFoundError("there is no such file", field="name")
        headers = {"cache-control": "public, max-age=86400", "content-type": pages.FILES[name]}
        return Response(pages.file(name), headers=headers)

    async def demo(self, request: Request) -> Response:
        """The demonstration shop."""
        return await show_demo(self._store, request)

    async def _enter(self, request: Request, user: User | None) -> Response:
        # Not a redirect: a strict cookie would not be sent along one that began on another site.
        response = self._page(request, "entered.html")
        response.set_cookie(
            SESSION_COOKIE,
            await self._sessions.make(user),
            max_age=SESSION_MS // 1000,
            httponly=True,
            samesite="strict",
            secure="https" in (request.url.scheme, request.headers.get("x-forwarded-proto")),
        )
        return response

    def _refuse(self, request: Request, problem: str, name: str = "") -> Response:
        self._patience.wrong(self._whose(request), name)
        return self._page(request, "login.html", 401, problem=problem, name=name)

    async def _good_token(self, token: str) -> bool:
        if not token or not token.isascii() or len(token) > TEXT_MOST:
            return False
        if own := self._runtime.settings.admin_token.reveal():
            return hmac.compare_digest(token, own)
        return await self._store.check_admin_token(token)

    def _page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        own: dict[str, Any] = {
            "person": None,
            "theme": theme_of(request),
            "path": request.url.path,
            "kept": {},
            "house": (),
        }
        page = pages.render(template, language_of(request), **{**own, "problem": "", "name": "", **values})
        return Response(page, status, media_type="text/html")


async def _short(request: Request) -> dict[str, str]:
    """A small form; empty when it is a large one."""
    try:
        return await fields(request)
    except TooLargeError:
        return {}
