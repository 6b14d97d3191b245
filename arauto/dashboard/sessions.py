"""The dashboard's session: a signed cookie that says whose it is, of which version, and until when."""

from __future__ import annotations

import hashlib
import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode

from arauto.core.clock import Clock
from arauto.core.people import Person
from arauto.store import Store, User

SESSION_COOKIE = "arauto_session"
SESSION_MS = 12 * 3_600_000
STALE_MS = 1_000
"""How long a list of users is believed: so late is somebody shut out by another process."""
_HEAD = struct.Struct(">BQII")
_VERSION = 2
_LENGTH = 68  # base64 of 17 + 32 bytes

ADMIN = Person(0, "admin", "admin")


class Sessions:
    """Makes and checks session cookies with a key drawn from the installation's secret, so every process knows them.

    A cookie is the end of its time, a user (0: the administrator), that user's version, and a keyed BLAKE2b of these.
    Raising the version in the database revokes every cookie made before. The role is not in the cookie: it is looked
    up, so that it cannot be older than :data:`STALE_MS`.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._key = b""
        self._known: dict[int, User | int] = {}
        self._read_ms: int | None = None

    async def make(self, user: User | None = None) -> str:
        """A cookie good for :data:`SESSION_MS` from now, of a user or (None) of the administrator.

        Raises:
            StoreError: the database is away.
        """
        self._known = await self._store.users.versions()
        known = self._known[0] if user is None else user.version
        version = known if isinstance(known, int) else known.version
        head = _HEAD.pack(_VERSION, self._clock.now_ms() + SESSION_MS, user.id if user else 0, version)
        return urlsafe_b64encode(head + await self._mac(head)).decode("ascii")

    async def check(self, cookie: str | None) -> Person | None:
        """Who holds this cookie, if we made it, its time is not over and nobody revoked it.

        Raises:
            StoreError: the database is away.
        """
        if not cookie or len(cookie) != _LENGTH or not cookie.isascii():
            return None
        try:
            raw = urlsafe_b64decode(cookie)
        except ValueError:
            return None
        head, mac = raw[: _HEAD.size], raw[_HEAD.size :]
        if not hmac.compare_digest(await self._mac(head), mac):
            return None
        layout, until_ms, user_id, version = _HEAD.unpack(head)
        if layout != _VERSION or self._clock.now_ms() >= until_ms:
            return None
        return await self._person(user_id, version)

    async def _person(self, user_id: int, version: int) -> Person | None:
        now = self._clock.now_ms()
        if self._read_ms is None or not 0 <= now - self._read_ms < STALE_MS:
            self._known, self._read_ms = await self._store.users.versions(), now
        known = self._known.get(user_id)
        if isinstance(known, int):
            return ADMIN if known == version else None
        return Person(known.id, known.name, known.role) if known is not None and known.version == version else None

    def forget(self) -> None:
        """Read the users again at the next question: one of them has just changed."""
        self._read_ms = None

    async def _mac(self, head: bytes) -> bytes:
        if not self._key:
            secret = await self._store.receipt_secret()
            self._key = hashlib.blake2b(secret, digest_size=32, person=b"arauto-session").digest()
        return hashlib.blake2b(head, digest_size=32, key=self._key).digest()
