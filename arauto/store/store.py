"""The store: what a process opens to reach the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from arauto.core.clock import Clock, SystemClock
from arauto.core.settings import Settings
from arauto.store.access import Access
from arauto.store.archive import Archive
from arauto.store.catalogue import Catalogue
from arauto.store.database import Database
from arauto.store.embedded import EmbeddedPostgres
from arauto.store.events import EventLog
from arauto.store.federated import FederatedRounds
from arauto.store.forms import Forms
from arauto.store.health import Health, health
from arauto.store.jobs import Jobs
from arauto.store.migrate import migrate
from arauto.store.notices import listen, notify
from arauto.store.partitions import ensure_partitions
from arauto.store.privacy import Privacy
from arauto.store.records import Notice, NoticeKind
from arauto.store.rollouts import Rollouts
from arauto.store.rollups import Rollups
from arauto.store.states import States
from arauto.store.tallies import Tallies
from arauto.store.users import Users

PATIENCE = 60.0
"""Seconds that a call waits for a database that is down, before it raises :class:`StoreError`."""


class Store:
    """Everything that is kept. Made by :meth:`open`; usable as ``async with await Store.open(settings) as store``.

    A store heals itself: after a crash of the database its calls wait until it is back (an embedded one is restarted)
    and only then fail, with :class:`StoreError`.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._access = Access(database, clock)
        self.events = EventLog(database)
        self.rollups = Rollups(database)
        self.rollouts = Rollouts(database, clock)
        self.catalogue = Catalogue(database, clock)
        self.federated = FederatedRounds(database, clock)
        self.forms = Forms(database, clock)
        self.jobs = Jobs(database, clock)
        self.privacy = Privacy(database, clock)
        self.states = States(database)
        self.tallies = Tallies(database)
        self.archive = Archive(database, clock)
        self.users = Users(database, clock)

    @classmethod
    async def open(cls, settings: Settings, *, clock: Clock | None = None, patience: float = PATIENCE) -> Store:
        """Reach the database of ``settings`` (starting the embedded one when it names none) and migrate it.

        Raises:
            StoreError: it cannot be reached in ``patience`` seconds, is too old, lacks pgvector or was made by a newer
                Arauto.
        """
        clock = clock or SystemClock()
        url = settings.database_url.reveal()
        embedded = None if url else EmbeddedPostgres(settings.home / "postgres")
        database = Database(url or "", embedded, patience)
        try:
            await database.open()
            store = cls(database, clock)
            connection = await database.connect()
            async with connection:
                await migrate(connection, clock.now_ms())
            await store.maintain()
        except BaseException:
            await database.close()
            raise
        return store

    async def close(self) -> None:
        """Let go of the database. The embedded one stops with its last user."""
        await self.events.close()
        await self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def maintain(self) -> None:
        """Make the coming months' partitions, thin old histories. Done at open; a long-lived process does it daily."""
        async with self._database.connection() as connection:
            await ensure_partitions(connection, self._clock.now_ms())
        await self.rollups.thin_weights(self._clock.now_ms())

    async def ping(self) -> None:
        """Raises :class:`StoreError` unless the database answers now."""
        await self._database.ping()

    async def health(self) -> Health:
        """What the database says of itself. Raises :class:`StoreError`."""
        return await health(self._database)

    def listen(self) -> AsyncIterator[Notice]:
        """News from every process, for as long as one iterates. After a gap (the connection was lost) every campaign
        that is not a draft is told of once, since anything may have been missed."""
        return listen(self._database)

    async def notify(self, kind: NoticeKind, id: int) -> None:  # noqa: A002
        """Tell every process."""
        await notify(self._database, kind, id)

    async def receipt_secret(self) -> bytes:
        """The 32 random bytes that sign receipts: made once, shared by every process of the installation."""
        return await self._access.receipt_secret()

    async def admin_token(self) -> str | None:
        """The admin token, the first time anyone asks; None ever after, for only its hash is kept."""
        return await self._access.admin_token()

    async def check_admin_token(self, token: str) -> bool:
        return await self._access.check_admin_token(token)

    async def new_login_code(self) -> str:
        """A code that opens the dashboard once, within ten minutes."""
        return await self._access.new_login_code()

    async def use_login_code(self, code: str) -> bool:
        return await self._access.use_login_code(code)
