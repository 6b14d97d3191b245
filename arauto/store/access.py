"""Secrets of the installation: the receipt secret, the admin token, the dashboard's login codes."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from arauto.core.clock import Clock
from arauto.store.database import Database

CODE_MS = 600_000


class Access:
    """Makes each secret once, whoever asks first, and keeps only hashes of what is checked."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def receipt_secret(self) -> bytes:
        async with self._database.transaction() as connection:
            await connection.execute(
                "INSERT INTO secrets (name, value) VALUES ('receipts', %s) ON CONFLICT DO NOTHING",
                [secrets.token_bytes(32)],
            )
            found = await connection.execute("SELECT value FROM secrets WHERE name = 'receipts'")
            rows = await found.fetchall()
        return bytes(rows[0]["value"])

    async def admin_token(self) -> str | None:
        token = secrets.token_urlsafe(32)
        async with self._database.connection() as connection:
            made = await connection.execute(
                "INSERT INTO secrets (name, value) VALUES ('admin_token', %s) ON CONFLICT DO NOTHING RETURNING name",
                [_hash(token)],
            )
            return token if await made.fetchone() is not None else None

    async def check_admin_token(self, token: str) -> bool:
        row = await self._database.fetch_one("SELECT value FROM secrets WHERE name = 'admin_token'")
        return row is not None and hmac.compare_digest(bytes(row["value"]), _hash(token))

    async def new_login_code(self) -> str:
        code = secrets.token_urlsafe(24)
        async with self._database.transaction() as connection:
            now = self._clock.now_ms()
            await connection.execute("DELETE FROM login_codes WHERE expires_ms <= %s", [now])
            await connection.execute("INSERT INTO login_codes VALUES (%s, %s)", [_hash(code), now + CODE_MS])
        return code

    async def use_login_code(self, code: str) -> bool:
        async with self._database.connection() as connection:
            used = await connection.execute(
                "DELETE FROM login_codes WHERE sha256 = %s AND expires_ms > %s RETURNING sha256",
                [_hash(code), self._clock.now_ms()],
            )
            return await used.fetchone() is not None


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
