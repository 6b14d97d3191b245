"""Named users of the dashboard: their invitations, passwords and the version that their sessions must carry."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from typing import Any

import msgspec

from arauto.core.clock import Clock
from arauto.core.errors import ConflictError, InputError, NotFoundError
from arauto.core.people import USER_ROLES, UserName, UserRole
from arauto.store.database import Connection, Database

INVITATION_MS = 7 * 86_400_000
PASSWORD_LEAST, PASSWORD_MOST = 12, 200
# scrypt as RFC 7914 has it, at a cost that OWASP's password storage sheet names (N=2^15, r=8, p=3; 32 MiB).
_COST, _BLOCK, _LANES, _SALT = 2**15, 8, 3, 16
_NAME = msgspec.json.Decoder(UserName)


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A named user. ``joined``: the invitation was taken up. ``expires_ms``: until when an open one is good."""

    id: int
    name: str
    role: UserRole
    active: bool
    version: int
    joined: bool
    expires_ms: int | None
    created_ms: int


_USER = "SELECT id, name, role, active, version, password IS NOT NULL AS joined, expires_ms, created_ms FROM users"


class Users:
    """Who may sign in by name. Each change is written to the audit log in its own transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._slow = asyncio.Semaphore(1)
        """One password at a time is weighed: each costs a core and 32 MiB."""

    async def all(self) -> list[User]:
        """Everyone, by name."""
        return [User(**row) for row in await self._database.fetch(_USER + " ORDER BY name")]

    async def versions(self) -> dict[int, User | int]:
        """Each active user by id; 0: the version of the administrator's sessions."""
        row = await self._database.fetch_one("SELECT version FROM admin_sessions")
        known: dict[int, User | int] = {user.id: user for user in await self.all() if user.active and user.joined}
        return {0: int(row["version"]) if row else 0, **known}

    async def invite(self, name: str, role: str, actor: str) -> tuple[User, str]:
        """A new user, and the code of an invitation good for :data:`INVITATION_MS`; only its hash is kept.

        Raises:
            InputError: the name or the role cannot be used.
            ConflictError: the name is taken.
        """
        name = _name(name)
        code = secrets.token_urlsafe(24)
        async with self._database.transaction() as connection:
            made = await connection.execute(
                "INSERT INTO users (name, role, invitation, expires_ms, created_ms) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING RETURNING id",
                [name, _role(role), _hash(code), self._clock.now_ms() + INVITATION_MS, self._clock.now_ms()],
            )
            row = await made.fetchone()
            if row is None:
                raise ConflictError(f"{name} is taken", field="name", mend="choose another, or invite that one again")
            await self._audit(connection, actor, "user.invite", row["id"], {"name": name, "role": role})
            return await _user(connection, row["id"]), code

    async def invite_again(self, user_id: int, actor: str) -> str:
        """Another code: for a lost link or a forgotten password. Ends their sessions and their password."""
        code = secrets.token_urlsafe(24)
        async with self._database.transaction() as connection:
            await self._change(
                connection,
                user_id,
                "invitation = %s, expires_ms = %s, password = NULL, version = version + 1",
                [_hash(code), self._clock.now_ms() + INVITATION_MS],
            )
            await self._audit(connection, actor, "user.invite_again", user_id, {})
        return code

    async def invited(self, code: str) -> User | None:
        """Whose open invitation this is."""
        row = await self._database.fetch_one(
            _USER + " WHERE invitation = %s AND active AND expires_ms > %s", [_hash(code), self._clock.now_ms()]
        )
        return None if row is None else User(**row)

    async def join(self, code: str, password: str) -> User | None:
        """Take up an invitation with a password of one's own; it is then used up.

        Raises:
            InputError: the password is too short or too long.
        """
        sealed = await self._seal(password)
        async with self._database.transaction() as connection:
            used = await connection.execute(
                "UPDATE users SET password = %s, invitation = NULL, expires_ms = NULL, version = version + 1"
                " WHERE invitation = %s AND active AND expires_ms > %s RETURNING id, name",
                [sealed, _hash(code), self._clock.now_ms()],
            )
            row = await used.fetchone()
            if row is None:
                return None
            await self._audit(connection, f"user:{row['name']}", "user.join", row["id"], {})
            return await _user(connection, row["id"])

    async def check(self, name: str, password: str) -> User | None:
        """The user of that name and password. Takes as long for a name that nobody has."""
        row = await self._database.fetch_one(
            "SELECT id, password FROM users WHERE name = %s AND active AND password IS NOT NULL", [name.lower()]
        )
        sealed = _NOBODY if row is None else row["password"]
        async with self._slow:
            good = await asyncio.to_thread(_opens, sealed, password)
        if row is None or not good:
            return None
        found = await self._database.fetch_one(_USER + " WHERE id = %s", [row["id"]])
        return None if found is None else User(**found)

    async def set_password(self, user_id: int, password: str, actor: str) -> User:
        """Another password; every session made before ends. Raises as :meth:`join`."""
        sealed = await self._seal(password)
        async with self._database.transaction() as connection:
            await self._change(connection, user_id, "password = %s, version = version + 1", [sealed])
            await self._audit(connection, actor, "user.password", user_id, {})
            return await _user(connection, user_id)

    async def set_role(self, user_id: int, role: str, actor: str) -> None:
        """Another role; their sessions end, and they sign in anew."""
        async with self._database.transaction() as connection:
            await self._change(connection, user_id, "role = %s, version = version + 1", [_role(role)])
            await self._audit(connection, actor, "user.role", user_id, {"role": role})

    async def set_active(self, user_id: int, active: bool, actor: str) -> None:
        """Shut somebody out, or let them in again. Either way their sessions end."""
        async with self._database.transaction() as connection:
            await self._change(connection, user_id, "active = %s, version = version + 1", [active])
            await self._audit(connection, actor, "user.on" if active else "user.off", user_id, {})

    async def end_sessions(self, user_id: int, actor: str) -> None:
        """End every session of a user; 0: of the administrator."""
        async with self._database.transaction() as connection:
            if user_id == 0:
                await connection.execute("UPDATE admin_sessions SET version = version + 1")
            else:
                await self._change(connection, user_id, "version = version + 1", [])
            await self._audit(connection, actor, "user.sessions_end", user_id, {})

    async def _seal(self, password: str) -> str:
        if not PASSWORD_LEAST <= len(password) <= PASSWORD_MOST:
            raise InputError(
                f"has {len(password)} characters",
                field="password",
                mend=f"choose one of {PASSWORD_LEAST} to {PASSWORD_MOST} characters",
            )
        async with self._slow:
            return await asyncio.to_thread(_seal, password)

    async def _change(self, connection: Connection, user_id: int, what: Any, values: list[Any]) -> None:
        done = await connection.execute(f"UPDATE users SET {what} WHERE id = %s RETURNING id", [*values, user_id])  # noqa: S608
        if await done.fetchone() is None:
            raise NotFoundError(f"there is no user {user_id}", field="user", mend="list the users")

    async def _audit(
        self, connection: Connection, actor: str, action: str, user_id: int, detail: dict[str, Any]
    ) -> None:
        await connection.execute(
            "INSERT INTO audit_log (at_ms, actor, action, target, detail) VALUES (%s, %s, %s, %s, %s)",
            [self._clock.now_ms(), actor, action, f"user:{user_id}", msgspec.json.encode(detail).decode()],
        )


async def _user(connection: Connection, user_id: int) -> User:
    row = await (await connection.execute((_USER + " WHERE id = %s").encode(), [user_id])).fetchone()
    if row is None:
        raise NotFoundError(f"there is no user {user_id}", field="user", mend="list the users")
    return User(**row)


def _name(name: str) -> str:
    try:
        return _NAME.decode(msgspec.json.encode(name.strip().lower()))
    except msgspec.ValidationError:
        raise InputError(
            "is not a name to sign in with",
            field="name",
            mend="use a mail address, or up to 64 of the letters a to z, digits and . _ @ + -",
        ) from None


def _role(role: str) -> str:
    if role not in USER_ROLES:
        raise InputError(f"is not a role: {role}", field="role", mend=f"name one of {', '.join(USER_ROLES)}")
    return role


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()


def _scrypt(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    raw = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(raw, salt=salt, n=cost, r=block, p=lanes, maxmem=2**26, dklen=32)


def _seal(password: str) -> str:
    """``scrypt$N$r$p$salt$key``: all that is needed to check it, also when the cost is raised later."""
    salt = secrets.token_bytes(_SALT)
    key = _scrypt(password, salt, _COST, _BLOCK, _LANES)
    return f"scrypt${_COST}${_BLOCK}${_LANES}${b64encode(salt).decode()}${b64encode(key).decode()}"


def _opens(sealed: str, password: str) -> bool:
    _, cost, block, lanes, salt, key = sealed.split("$")
    if len(password) > PASSWORD_MOST:
        return False
    return hmac.compare_digest(_scrypt(password, b64decode(salt), int(cost), int(block), int(lanes)), b64decode(key))


_NOBODY = f"scrypt${_COST}${_BLOCK}${_LANES}${b64encode(bytes(_SALT)).decode()}${b64encode(bytes(32)).decode()}"
