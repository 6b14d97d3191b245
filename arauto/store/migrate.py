"""Forward-only migrations: our numbered SQL files, then those of the job queue's library, each applied once."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import psycopg
from procrastinate.schema import SchemaManager

from arauto.core.errors import StoreError
from arauto.store.database import Connection, translated

LOCK = 0x4172_6175_746F  # "Arauto": the advisory lock under which one process migrates
MIN_VERSION = 180_000
VECTOR = "vector"
_QUEUE = "procrastinate/"


class Migration(NamedTuple):
    """A step: its name, and its SQL with the SHA-256 of it."""

    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def ours() -> list[Migration]:
    """Our steps, in order."""
    folder = resources.files("arauto.store").joinpath("migrations")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [Migration(file.name.removesuffix(".sql"), file.read_text("utf-8")) for file in files]


def queues() -> list[Migration]:
    """The steps of the job queue's library, in order."""
    files = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    return [Migration(_QUEUE + file.stem, file.read_text("utf-8")) for file in files]


async def migrate(connection: Connection, now_ms: int) -> None:
    """Bring the database to this version. Safe to call from many processes at once.

    Raises:
        StoreError: the server is too old or lacks pgvector; the database was made by a newer Arauto; a step that was
            applied is not the one we have, or one failed.
    """
    await _check_server(connection)
    try:
        await _advance(connection, now_ms)
    except psycopg.Error as failure:
        raise translated(failure) from failure


async def _advance(connection: Connection, now_ms: int) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (name text PRIMARY KEY, sha256 text NOT NULL, applied_ms bigint NOT NULL)"
        )
        rows = await (await connection.execute("SELECT name, sha256 FROM schema_migrations")).fetchall()
        applied = {row["name"]: row["sha256"] for row in rows}
        _check_known({name: sha256 for name, sha256 in applied.items() if not name.startswith(_QUEUE)})
        for step in ours():
            if step.name not in applied:
                await _apply(connection, step, now_ms)
        if not any(name.startswith(_QUEUE) for name in applied):
            # A new database takes the library's whole schema; its steps until now are in it.
            await connection.execute(SchemaManager.get_schema().encode())
            for step in queues():
                await _record(connection, step, now_ms)
            return
        for step in queues():
            if step.name not in applied:
                await _apply(connection, step, now_ms)


def _check_known(applied: dict[str, str]) -> None:
    known = {step.name: step.sha256 for step in ours()}
    if newer := sorted(applied.keys() - known.keys()):
        raise StoreError(
            f"the database has the step {newer[-1]}, which this version does not know",
            mend="install the version of Arauto that made it, or a newer one",
        )
    for name, sha256 in applied.items():
        if known[name] != sha256:
            raise StoreError(
                f"the step {name} was applied in another form", mend="install an unaltered release of Arauto"
            )


async def _apply(connection: Connection, step: Migration, now_ms: int) -> None:
    await connection.execute(step.sql.encode())
    await _record(connection, step, now_ms)


async def _record(connection: Connection, step: Migration, now_ms: int) -> None:
    await connection.execute(
        "INSERT INTO schema_migrations (name, sha256, applied_ms) VALUES (%s, %s, %s)", [step.name, step.sha256, now_ms]
    )


async def _check_server(connection: Connection) -> None:
    if connection.info.server_version < MIN_VERSION:
        raise StoreError(
            f"the server is PostgreSQL {connection.info.server_version // 10_000}, and 18 is needed",
            field="database_url",
            mend="point ARAUTO_DATABASE_URL at a PostgreSQL 18 or newer, or leave it empty for the embedded one",
        )
    found = await connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = %s", [VECTOR])
    if await found.fetchone() is None:
        raise StoreError(
            "the server lacks the extension pgvector",
            field="database_url",
            mend="install pgvector on that server, or leave ARAUTO_DATABASE_URL empty for the embedded one",
        )
