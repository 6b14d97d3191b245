"""The embedded server: made, shared, killed, started again."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from arauto.core.errors import StoreError
from arauto.store import embedded
from arauto.store.embedded import EmbeddedPostgres

START = """
import sys
from pathlib import Path
from arauto.store.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.ensure_running()
print("up", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that the module's tests share, for making one takes a second; each starts and stops its server."""
    with tempfile.TemporaryDirectory(prefix="arauto-") as home:
        yield Path(home) / "postgres"


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(folder)
    yield server
    server.release()
    assert not (folder / "postmaster.pid").exists()


def postmaster(folder: Path) -> int:
    return int((folder / "postmaster.pid").read_text().split()[0])


def kill(pid: int) -> None:
    """Kill it, and wait until it is dead: on a busy machine its socket answers a moment longer."""
    process = psutil.Process(pid)
    process.kill()
    process.wait(60)


def ask(server: EmbeddedPostgres, query: str = "SELECT 1") -> object:
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def start_other(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def await_up(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"


def other_process(folder: Path) -> subprocess.Popen[str]:
    process = start_other(folder)
    await_up(process)
    return process


def leave(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=60)
    assert process.returncode == 0


def test_it_is_made_started_and_stopped(server: EmbeddedPostgres) -> None:
    server.ensure_running()
    server.ensure_running()
    assert ask(server, "SHOW synchronous_commit") == "on"
    assert ask(server, "SHOW full_page_writes") == "on"
    assert ask(server, "SHOW log_min_error_statement") == "panic"
    assert str(ask(server, "SHOW server_version")).startswith("18")
    server.release()
    with pytest.raises(psycopg.OperationalError):
        ask(server)
    server.ensure_running()
    assert ask(server) == 1


def test_only_this_user_may_come_in(server: EmbeddedPostgres, folder: Path) -> None:
    server.ensure_running()
    assert ask(server, "SHOW listen_addresses") == ""
    with psycopg.connect(server.dsn) as connection:
        rules = connection.execute("SELECT type, database, auth_method FROM pg_hba_file_rules").fetchall()
    assert rules == [("local", ["all"], "peer")]
    assert folder.stat().st_mode & 0o077 == 0


def test_the_last_user_stops_it(server: EmbeddedPostgres, folder: Path) -> None:
    server.ensure_running()
    other = other_process(folder)
    second = EmbeddedPostgres(folder)
    second.ensure_running()
    second.release()
    leave(other)
    assert ask(server) == 1


def test_a_killed_user_is_not_waited_for(server: EmbeddedPostgres, folder: Path) -> None:
    other = other_process(folder)
    other.kill()
    other.communicate()
    server.ensure_running()
    assert ask(server) == 1  # and the fixture sees it stop


def test_a_forked_child_leaves_it_alone(server: EmbeddedPostgres) -> None:
    server.ensure_running()
    if (child := os.fork()) == 0:
        server.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert ask(server) == 1


def test_after_kill_9_whoever_comes_starts_it_again(server: EmbeddedPostgres, folder: Path) -> None:
    server.ensure_running()
    busy = psycopg.connect(server.dsn, autocommit=True)
    busy.execute("CREATE TABLE kept AS SELECT 7 AS n")
    busy.pgconn.send_query(b"SELECT pg_sleep(1)")  # this child holds the dead server's shared memory for a moment
    kill(postmaster(folder))
    others = [start_other(folder) for _ in range(3)]
    server.ensure_running()
    busy.close()
    assert ask(server, "SELECT n FROM kept") == 7
    for other in others:
        await_up(other)
        leave(other)


@pytest.mark.parametrize("content", ["", "not a number\n", f"{os.getpid()}\n"], ids=["empty", "words", "ours"])
def test_a_pid_file_that_lies_is_seen_through(server: EmbeddedPostgres, folder: Path, content: str) -> None:
    """As after a restart of the machine, when the number belongs to another process: here this one."""
    server.ensure_running()
    server.release()
    (folder / "postmaster.pid").write_text(content)
    server.ensure_running()
    assert ask(server) == 1


def test_a_dead_child_of_ours_is_not_taken_for_a_server(server: EmbeddedPostgres, folder: Path) -> None:
    server.ensure_running()
    server.release()
    zombie = subprocess.Popen(["postgres-zombie"], executable="/bin/true")
    (folder / "postmaster.pid").write_text(f"{zombie.pid}\n{folder}\n")
    server.ensure_running()
    assert ask(server) == 1
    zombie.wait()


def test_what_a_killed_initdb_left_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(tmp_path / "postgres")
    server.ensure_running()
    assert ask(server) == 1
    server.release()


def test_a_long_path_puts_the_socket_elsewhere(folder: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    server = EmbeddedPostgres(deep / "postgres")
    server.ensure_running()
    assert ask(server) == 1
    server.release()


def test_it_says_why_it_does_not_start(server: EmbeddedPostgres, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.ensure_running()
    server.release()
    monkeypatch.setattr(embedded, "START_SECONDS", 0.2)
    broken = folder / "postgresql.auto.conf"
    good = broken.read_text()
    broken.write_text("shared_buffers = nonsense\n")
    with pytest.raises(StoreError, match="shared_buffers"):
        server.ensure_running()
    broken.write_text(good)
    server.ensure_running()
    assert ask(server) == 1


def test_it_refuses_the_data_of_another_version(server: EmbeddedPostgres, folder: Path) -> None:
    server.ensure_running()
    server.release()
    version = folder / "PG_VERSION"
    good = version.read_text()
    version.write_text("16\n")
    with pytest.raises(StoreError, match="made by PostgreSQL 16"):
        server.ensure_running()
    version.write_text(good)


def test_without_the_wheel_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    with pytest.raises(StoreError, match="not installed"):
        EmbeddedPostgres(tmp_path / "postgres").ensure_running()


def test_it_does_not_overwrite_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="something else"):
        EmbeddedPostgres(tmp_path / "postgres").ensure_running()
    assert (tmp_path / "postgres" / "thesis.txt").exists()


def test_what_a_program_says_is_passed_on() -> None:
    with pytest.raises(StoreError, match=r"initdb failed: .*no-such-option"):
        embedded._run("initdb", "--no-such-option")
