"""Backup and restore: the whole database in one file, by PostgreSQL's own ``pg_dump`` and ``pg_restore``.

The file holds everything: events, catalogue, jobs, and the secret that signs receipts, so that pages opened before a
restore can still report. It is as private as the database, and is made readable by its owner only.

After PostgreSQL's archive comes a seal, its SHA-256: ``pg_restore`` was seen to restore a file that was cut short
without a word, and ignores what follows an archive.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from arauto.core.errors import ConflictError, InputError, StoreError
from arauto.core.settings import Settings
from arauto.store.embedded import EmbeddedPostgres, programs

_MAGIC = b"PGDMP"
_SEAL = b"\narauto-backup-1 sha256:"
_SEAL_SIZE = len(_SEAL) + 64
_ERROR_LINES = 3


def backup(settings: Settings, file: Path) -> int:
    """Write a consistent copy of the database to ``file``: all that was committed when it began. Returns its bytes.

    Work goes on meanwhile. A backup that fails half-way leaves no file.

    Raises:
        InputError: there is such a file already, or it cannot be written.
        StoreError: the database cannot be reached, or is newer than our ``pg_dump``.
    """
    if file.exists():
        raise InputError(f"{file} exists", field="file", mend="choose another name, or move it away")
    try:
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    except OSError as failure:
        raise InputError(
            f"cannot write there: {failure.strerror}", field="file", mend="choose another folder"
        ) from None
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as output, _database(settings) as dsn:
            _run("pg_dump", dsn, "--format=custom", "--no-owner", "--no-privileges", output=output.fileno())
            output.seek(0, os.SEEK_END)
            output.write(_SEAL + _sha256(fresh, output.tell()).encode())
            output.flush()
            os.fsync(output.fileno())
        size = fresh.stat().st_size
        try:
            file.hardlink_to(fresh)  # unlike a rename, never over another's file
        except FileExistsError:
            raise InputError(f"{file} exists", field="file", mend="choose another name, or move it away") from None
    finally:
        fresh.unlink(missing_ok=True)
    return size


def restore(settings: Settings, file: Path) -> None:
    """Fill an empty database from ``file``, in one transaction: all of it, or nothing.

    Whoever opens it next brings it to this version.

    Raises:
        InputError: it is no backup, or is cut short.
        ConflictError: the database holds something already.
        StoreError: the database cannot be reached.
    """
    _check_sealed(file)
    with _database(settings) as dsn:
        _check_empty(dsn)
        try:
            _run(
                *("pg_restore", dsn, "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"),
                str(file.resolve()),
            )
        except StoreError as failure:
            raise InputError(
                f"could not be restored, and nothing was: {failure.problem}", field="file", mend="take another backup"
            ) from None


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    """The address of the settings' database; the embedded server is up meanwhile."""
    if url := settings.database_url.reveal():
        yield url
        return
    embedded = EmbeddedPostgres(settings.home / "postgres")
    embedded.ensure_running()
    try:
        yield embedded.dsn
    finally:
        embedded.release()


def _sha256(file: Path, size: int) -> str:
    """Of the first ``size`` bytes."""
    whole = hashlib.sha256()
    with file.open("rb") as opened:
        while size > 0 and (part := opened.read(min(size, 2**20))):
            whole.update(part)
            size -= len(part)
    return whole.hexdigest()


def _check_sealed(file: Path) -> None:
    try:
        with file.open("rb") as opened:
            known = opened.read(len(_MAGIC)) == _MAGIC
            size = opened.seek(0, os.SEEK_END) - _SEAL_SIZE
            opened.seek(max(size, 0))
            seal = opened.read()
        sealed = size > 0 and seal == _SEAL + _sha256(file, size).encode()
    except OSError as failure:
        raise InputError(
            f"cannot be read: {failure.strerror}", field="file", mend="give a file that is there"
        ) from None
    if not known:
        raise InputError(f"{file} is no backup of Arauto", field="file", mend="give a file of `arauto backup`")
    if not sealed:
        raise InputError(f"{file} is cut short or altered", field="file", mend="take another backup")


def _check_empty(dsn: str) -> None:
    try:
        with psycopg.connect(dsn, connect_timeout=10) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
            ).fetchone()
    except psycopg.Error as failure:
        raise StoreError(f"cannot be reached: {failure}".strip(), mend="look whether it runs") from None
    if row is not None and row[0]:
        raise ConflictError(
            f"the database holds {row[0]} tables already",
            field="database",
            mend="restore into an empty one: another ARAUTO_HOME, or another database in ARAUTO_DATABASE_URL",
        )


def _run(program: str, dsn: str, *arguments: str, output: int | None = None) -> None:
    """Run one of PostgreSQL's programs. The password goes through the environment, where other users cannot see it."""
    parts = conninfo_to_dict(dsn)
    password = parts.pop("password", None)
    secret = {} if password is None else {"PGPASSWORD": str(password)}
    done = subprocess.run(  # noqa: S603
        [_find(program), f"--dbname={make_conninfo('', **parts)}", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output if output is not None else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **secret, "LC_ALL": "C"},
        check=False,
    )
    if done.returncode:
        lines = done.stderr.decode("utf-8", errors="replace").strip().splitlines()
        raise StoreError(f"{program}: {' | '.join(lines[:_ERROR_LINES])}", mend="look whether the database runs")


def _find(program: str) -> str:
    try:
        return str(programs() / program)
    except StoreError:
        if (found := shutil.which(program)) is not None:
            return found
        raise
