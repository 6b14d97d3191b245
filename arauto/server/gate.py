"""Who may pass: the admin's token, or the session that the dashboard gave to somebody's browser."""

from __future__ import annotations

import hmac
from typing import NamedTuple

from starlette.requests import Request

from arauto.core.errors import AuthError
from arauto.core.people import Role
from arauto.dashboard import SESSION_COOKIE, Sessions
from arauto.loop import Runtime

SAFE = ("GET", "HEAD", "OPTIONS")
SHOW_TOKEN = "send `Authorization: Bearer TOKEN`"  # noqa: S105  (how to, not one)


class Asker(NamedTuple):
    """Who asks, as the audit log names them, and as what."""

    actor: str
    role: Role


class Gate:
    """Tells those who are known, and what they may, from the others."""

    def __init__(self, runtime: Runtime, sessions: Sessions | None = None) -> None:
        self._token = runtime.settings.admin_token.reveal()
        self._store = runtime.store
        self._sessions = sessions or Sessions(runtime.store, runtime.clock)

    async def asker(self, request: Request) -> Asker | None:
        """Who asks: ``admin`` by a good token; by a good session ``dashboard``, or a named user; else nobody.

        A session counts only from a page of ours, or where nothing is changed (no forging of requests across sites).

        Raises:
            AuthError: it shows a token that is wrong.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme:
            if scheme.lower() == "bearer" and await self._good(token.strip()):
                return Asker("admin", "admin")
            raise AuthError("is not the admin token", field="Authorization", mend=SHOW_TOKEN)
        session = request.cookies.get(SESSION_COOKIE)
        if not session or (request.method not in SAFE and not same_origin(request)):
            return None
        person = await self._sessions.check(session)
        return None if person is None else Asker(person.actor, person.role)

    async def _good(self, token: str) -> bool:
        if not token or len(token) > 200:
            return False
        if self._token:
            return hmac.compare_digest(token.encode(), self._token.encode())
        return await self._store.check_admin_token(token)


def same_origin(request: Request) -> bool:
    """Whether a page of this server asks. A browser says where anything but a plain reading request is from."""
    return request.headers.get("origin", "").partition("://")[2] == request.headers.get("host")
