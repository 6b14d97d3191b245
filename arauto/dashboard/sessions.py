"""The dashboard's session: a signed cookie that says until when, and nothing of who."""

from __future__ import annotations

import hashlib
import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode

from arauto.core.clock import Clock
from arauto.store import Store

SESSION_COOKIE = "arauto_session"
SESSION_MS = 12 * 3_600_000
_HEAD = struct.Struct(">BQ")
_VERSION = 1
_LENGTH = 56  # base64 of 9 + 32 bytes


class Sessions:
    """Makes and checks session cookies with a key drawn from the installation's secret, so every process knows them.

    A cookie is the hour of its end and a keyed BLAKE2b of it. There is nothing to look up and so nothing to revoke:
    it ends by itself, or when the browser is told to drop it.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._key = b""

    async def make(self) -> str:
        """A cookie good for :data:`SESSION_MS` from now."""
        head = _HEAD.pack(_VERSION, self._clock.now_ms() + SESSION_MS)
        return urlsafe_b64encode(head + await self._mac(head)).decode("ascii")

    async def check(self, cookie: str | None) -> bool:
        """Whether we made this cookie and its time is not over.

        Raises:
            StoreError: the secret is not read yet and the database is away.
        """
        if not cookie or len(cookie) != _LENGTH or not cookie.isascii():
            return False
        try:
            raw = urlsafe_b64decode(cookie)
        except ValueError:
            return False
        head, mac = raw[: _HEAD.size], raw[_HEAD.size :]
        if not hmac.compare_digest(await self._mac(head), mac):
            return False
        version, until_ms = _HEAD.unpack(head)
        return bool(version == _VERSION and self._clock.now_ms() < until_ms)

    async def _mac(self, head: bytes) -> bytes:
        if not self._key:
            secret = await self._store.receipt_secret()
            self._key = hashlib.blake2b(secret, digest_size=32, person=b"arauto-session").digest()
        return hashlib.blake2b(head, digest_size=32, key=self._key).digest()
