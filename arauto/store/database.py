"""The way to the server: one pool, connections that come back by themselves, errors in our own words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from arauto.core.errors import ArautoError, InputError, NotFoundError, StoreError
from arauto.store.embedded import EmbeddedPostgres

Connection: TypeAlias = psycopg.AsyncConnection[DictRow]
Query: TypeAlias = LiteralString | bytes
Params: TypeAlias = Sequence[Any] | dict[str, Any] | None

POOL_SIZE = 6
CHANNEL = "arauto"
RETRY_SECONDS = 0.05
LINK: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A server that vanishes without a word (its network is cut) is noticed in ten seconds, where TCP alone would wait for
a quarter of an hour. An address that says otherwise is obeyed."""


class Database:
    """A server and a pool of connections to it.

    ``patience`` is how many seconds a call waits for a server that is down; an embedded one is started meanwhile.
    """

    def __init__(self, dsn: str, embedded: EmbeddedPostgres | None, patience: float) -> None:
        try:
            told = conninfo_to_dict(embedded.dsn if embedded else dsn)
            self._dsn = make_conninfo("", **{**LINK, **told, "application_name": "arauto"})
        except psycopg.ProgrammingError:
            raise StoreError(
                "is not an address of a PostgreSQL", field="database_url", mend="write postgresql://user@host/database"
            ) from None
        self._embedded = embedded
        self._healing = asyncio.Lock()
        self._closed = False
        self.patience = patience
        self.pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self._healed_dsn,
            kwargs={"row_factory": dict_row},  # autocommit is set after: the job queue's listener sets its own
            configure=_configure,
            check=AsyncConnectionPool.check_connection,
            min_size=1,
            max_size=POOL_SIZE,
            timeout=patience,
            reconnect_timeout=patience,
            open=False,
            name="arauto",
        )

    async def open(self) -> None:
        await self._heal(make=True)
        await self.pool.open()

    async def close(self) -> None:
        self._closed = True
        await self.pool.close()
        if self._embedded is not None:
            await asyncio.to_thread(self._embedded.release)

    async def connect(self) -> Connection:
        """A connection of one's own, outside the pool, in autocommit. Waits up to ``patience`` for the server."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(await self._healed_dsn(), row_factory=dict_row)
                try:
                    await _configure(connection)
                except BaseException:
                    await connection.close()
                    raise
            except psycopg.OperationalError as failure:
                if not is_outage(failure) or _is_final(failure) or time.monotonic() > deadline:
                    raise translated(failure) from failure
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return connection

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A live connection of the pool, in autocommit. Errors of the driver become ours."""
        try:
            async with self.pool.connection() as connection:
                yield connection
        except psycopg.Error as failure:
            raise translated(failure) from failure

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction: committed when the block ends, undone when it raises."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def fetch(self, query: Query, params: Params = None) -> list[DictRow]:
        """The rows of a reading statement, asked again if the server goes away meanwhile."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                async with self.pool.connection() as connection:
                    return await (await connection.execute(query, params)).fetchall()
            except psycopg.Error as failure:
                if not is_outage(failure) or time.monotonic() > deadline:
                    raise translated(failure) from failure
                await asyncio.sleep(RETRY_SECONDS)

    async def fetch_one(self, query: Query, params: Params = None) -> DictRow | None:
        """The first row of a reading statement."""
        rows = await self.fetch(query, params)
        return rows[0] if rows else None

    async def ping(self) -> None:
        """Raises :class:`StoreError` unless the server answers within five seconds."""
        try:
            async with asyncio.timeout(5), self.pool.connection(timeout=5) as connection:
                await connection.execute("SELECT 1")
        except (psycopg.Error, TimeoutError) as failure:
            raise StoreError("the database does not answer", mend="look whether it runs, then try again") from failure

    async def _healed_dsn(self) -> str:
        """The address, once the embedded server is up: asked before every new connection, so it heals the server."""
        if self._closed:
            raise PoolClosed("the store is closed")
        try:
            await self._heal(make=False)
        except StoreError as failure:
            raise psycopg.OperationalError(str(failure)) from failure
        return self._dsn

    async def _heal(self, *, make: bool) -> None:
        if self._embedded is not None:
            async with self._healing:
                await asyncio.to_thread(self._embedded.ensure_running, make=make)


def is_outage(failure: psycopg.Error) -> bool:
    """Whether the server was away, or told us to try again: the same statement may succeed later."""
    if isinstance(failure, PoolClosed | PoolTimeout):
        return False
    return isinstance(failure, psycopg.OperationalError | psycopg.InterfaceError)


def _is_final(failure: psycopg.OperationalError) -> bool:
    """Whether a server answered, and its answer will not change by waiting: a wrong name or password."""
    told = str(failure)
    return "FATAL:" in told and not any(
        word in told for word in ("starting up", "shutting down", "recovery", "not yet accepting", "too many", "slots")
    )


def translated(failure: psycopg.Error) -> ArautoError:
    """The driver's error in our words. Details, which may quote a row, are left out."""
    told = failure.diag.message_primary or str(failure)
    if isinstance(failure, psycopg.DataError):
        return InputError(f"cannot be kept: {told}", mend="send text without NUL characters, and numbers in range")
    if isinstance(failure, psycopg.errors.ForeignKeyViolation):
        what = (failure.diag.constraint_name or "").removesuffix("_fkey")
        return NotFoundError(f"names what does not exist ({what})", mend="check the ids")
    if isinstance(failure, psycopg.OperationalError | psycopg.InterfaceError):
        return StoreError(f"the database cannot be reached: {told}", mend="look whether it runs, then try again")
    return StoreError(f"the database refused a statement: {told}", mend="report this with the version of Arauto")


async def _configure(connection: Connection) -> None:
    """An acknowledgement is a promise: a database set to commit lazily does not do so for us. And the server looks
    after us in turn: the locks of a process whose machine vanished are free within half a minute."""
    await connection.set_autocommit(True)
    await connection.execute(
        "SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),"
        " set_config('tcp_keepalives_count', '3', false), set_config('synchronous_commit',"
        " CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
        " ELSE current_setting('synchronous_commit') END, false)"
    )
