"""The shared database: one embedded PostgreSQL a session, a fresh database of it for each test that asks."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from arauto.core.clock import FakeClock
from arauto.core.settings import Secret, Settings
from arauto.store import Store
from arauto.store.embedded import EmbeddedPostgres, _let_in

# No test asserts a wall time, and Hypothesis would: a machine may be busy.
hypothesis.settings.register_profile(
    "arauto", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("arauto")

NOW_MS = 1_790_000_000_000
"""The time of the tests' clocks."""
MEMORY = Path("/dev/shm")
SPARE = 2 << 30
"""Bytes that have to be free there: a database of a test is ten million, and a few stand beside each other."""

_numbers = itertools.count()
_OWN_ROOT = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """A temporary root of this run's own: another run of pytest shuts the common one to other users.

    As root, the embedded PostgreSQL runs as a user of its own and must be able to walk in.
    """
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = config.stash[_OWN_ROOT] = tempfile.mkdtemp(prefix="arauto-tests-")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first: begun last, one of them would keep the others' processes waiting."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_unconfigure(config: pytest.Config) -> None:
    if root := config.stash.get(_OWN_ROOT, ""):
        del os.environ["PYTEST_DEBUG_TEMPROOT"]
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
async def new_database(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Puts the data of an embedded database, migrated and not running, into a folder: making one costs seconds.

    Nothing of it differs from one made in that place: its commits are durable.
    """
    made = tmp_path_factory.mktemp("made")
    await (await Store.open(Settings(home=made))).close()
    # The months of the tests' clock as well: else each test that opens a store by it would make them.
    await (await Store.open(Settings(home=made), clock=FakeClock(NOW_MS))).close()

    def put(folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", made / "postgres", folder], check=True)
        _let_in(folder)

    return put


@pytest.fixture(scope="session")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is enough of it: each test copies and drops a thousand files."""
    if not (MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > SPARE):
        yield tmp_path_factory.mktemp("home")
        return
    with tempfile.TemporaryDirectory(prefix="arauto-tests-", dir=MEMORY, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres(new_database: Callable[[Path], None], forgetful: Path) -> Iterator[str]:
    """The address of a server that forgets when the machine does: tests of durability start their own."""
    server = EmbeddedPostgres(forgetful / "postgres")
    new_database(server.folder)
    server.ensure_running()
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")
        connection.execute("ALTER SYSTEM SET max_wal_size = '128MB'")
        connection.execute("SELECT pg_reload_conf()")
    yield server.dsn
    server.release()


@pytest.fixture(scope="session")
def template(postgres: str) -> str:
    """A migrated database to copy."""
    with psycopg.connect(make_conninfo(postgres, dbname="template1"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_arauto TEMPLATE postgres STRATEGY FILE_COPY")
    return "template_arauto"


@pytest.fixture
def settings(postgres: str, template: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings with a home of their own and an empty, migrated database."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield Settings(home=tmp_path / "home", database_url=Secret(make_conninfo(postgres, dbname=name)))
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    """An open store on the test's database."""
    async with await Store.open(settings) as opened:
        yield opened
