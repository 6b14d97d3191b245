"""Machines in one: a PostgreSQL and servers in network namespaces of their own, joined by a switch in another.

Needs root and iproute2. Nothing of it can be reached from outside, nor reaches out: the addresses are those set aside
for measuring (RFC 2544, 198.18.0.0/15), and no namespace has a way to another network. What dies is started again at
once, as a supervisor would.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil
import psycopg

from arauto.core.settings import Secret, Settings
from arauto.server import to_environ
from arauto.store.embedded import EmbeddedPostgres, programs

TOKEN = "of-the-bench"
DATABASE = "198.18.0.1"
VISITORS = "198.18.0.20"
GHOSTS = "198.18.0.30"
PORT = 8800
_CLONE_NEWNET = 0x4000_0000
_SWITCH = "switch"
_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def server_address(number: int) -> str:
    """Of the server ``number``, from 1 on."""
    return f"198.18.0.{10 + number}"


def space(name: str) -> str:
    """The namespace of a machine; another run's has another name."""
    return f"arauto-{os.getpid()}-{name}"


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True)


def enter(name: str) -> None:
    """Move the calling thread into a namespace; processes that it starts begin there."""
    with (Path("/run/netns") / space(name)).open() as file:
        if _libc.setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def inside(name: str, run: Callable[[], T]) -> T:
    """``run()`` in a thread of that namespace."""
    found: list[T] = []

    def work() -> None:
        enter(name)
        found.append(run())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


@contextmanager
def network(names: dict[str, str]) -> Iterator[None]:
    """A namespace for each name, with its address, on one switch. The caller moves into ``visitors``."""
    everyone = [*names, _SWITCH]
    for name in everyone:
        _ip("netns", "del", space(name), check=False)
    try:
        for name in everyone:
            _ip("netns", "add", space(name))
            _ip("-n", space(name), "link", "set", "lo", "up")
        _ip("-n", space(_SWITCH), "link", "add", "name", "sw0", "type", "bridge")
        _ip("-n", space(_SWITCH), "link", "set", "dev", "sw0", "up")
        for place, (name, address) in enumerate(names.items()):
            switch, machine = space(_SWITCH), space(name)
            cable = ("type", "veth", "peer", "name", "eth0", "netns", machine)
            _ip("-n", switch, "link", "add", "name", f"p{place}", *cable)
            _ip("-n", switch, "link", "set", f"p{place}", "master", "sw0", "up")
            _ip("-n", machine, "addr", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", machine, "link", "set", "eth0", "up")
        yield
    finally:
        for name in everyone:
            _ip("netns", "del", space(name), check=False)


class Kept:
    """A process that is started again when it ends, in a namespace."""

    def __init__(
        self, name: str, command: list[str], environ: dict[str, str], log: Path, user: int | None = None
    ) -> None:
        self._start = (name, command, environ, log, user)
        self._ending = threading.Event()
        self.paused = threading.Event()
        """While set, what ended stays down."""
        self.starts = 0
        self.process = self._run()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _run(self) -> subprocess.Popen[bytes]:
        name, command, environ, log, user = self._start
        self.starts += 1

        def start() -> subprocess.Popen[bytes]:
            with log.open("ab") as output:
                return subprocess.Popen(
                    command, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    start_new_session=True, user=user, group=user, extra_groups=[] if user else None, cwd="/",
                )  # fmt: skip

        return inside(name, start)

    def _watch(self) -> None:
        while not self._ending.is_set():
            if self.process.poll() is not None and not self.paused.is_set():
                time.sleep(0.2)
                self.process = self._run()
            time.sleep(0.05)

    def kill(self) -> None:
        """``kill -9`` of it and all that it started."""
        for one in self.family():
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue

    def family(self) -> list[psutil.Process]:
        try:
            head = psutil.Process(self.process.pid)
            return [head, *head.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def stop(self, how: int = signal.SIGTERM) -> None:
        self._ending.set()
        self._thread.join()
        self.process.send_signal(how)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()


class House:
    """The database, the servers, and their settings."""

    def __init__(self, folder: Path, servers: int, **settings: Any) -> None:
        self.folder = folder
        self.data = folder / "database" / "data"
        self.url = f"postgresql://postgres@{DATABASE}/postgres"
        self.settings = Settings(
            home=folder / "home", port=PORT, database_url=Secret(self.url), admin_token=Secret(TOKEN), rate_limit=0
        )
        self.settings = msgspec.structs.replace(self.settings, **settings)
        self.servers: list[Kept] = []
        self._count = servers
        self.clock = folder / "clock"

    def open(self, *, jumps: Path | None = None) -> None:
        """Start everything. ``jumps``: the library through which the servers' clock goes (:mod:`bench.jump`)."""
        _make_database(self.data)
        user = pwd.getpwnam("pgserver").pw_uid
        command = [str(programs() / "postgres"), "-D", str(self.data), "-k", str(self.data), "-h", DATABASE]
        self.database = Kept("database", command, {**os.environ, "LC_ALL": "C"}, self.folder / "database.log", user)
        wait_for(lambda: psycopg.connect(self.url, connect_timeout=2).close())
        self.clock.write_bytes(struct.pack("<q", 0))
        for number in range(1, self._count + 1):
            own = msgspec.structs.replace(
                self.settings, host=server_address(number), home=self.folder / f"home{number}"
            )
            environ = {**os.environ, **to_environ(own), "OMP_NUM_THREADS": "1"}
            if jumps is not None:
                environ |= {"LD_PRELOAD": str(jumps), "JUMP_FILE": str(self.clock)}
            command = [sys.executable, "-m", "arauto.server"]
            environ["PYTHONPATH"] = str(Path(__file__).parents[1])
            self.servers.append(Kept(f"server{number}", command, environ, self.folder / f"server{number}.log"))

    def jump(self, seconds: int) -> None:
        """Set the servers' clock so far from the true one."""
        with self.clock.open("r+b") as file:
            file.write(struct.pack("<q", seconds))

    def cut(self, name: str, *, up: bool) -> None:
        """Pull a machine's cable, or put it back."""
        _ip("-n", space(name), "link", "set", "eth0", "up" if up else "down")

    def close(self) -> None:
        for server in self.servers:
            server.stop()
        self.database.stop(signal.SIGINT)


def names(servers: int) -> dict[str, str]:
    """The machines of a house with so many servers."""
    return {
        "database": DATABASE,
        "visitors": VISITORS,
        "ghosts": GHOSTS,
        **{f"server{number}": server_address(number) for number in range(1, servers + 1)},
    }


@contextmanager
def house(servers: int, *, disk_mb: int = 0, jumps: bool = False, **settings: Any) -> Iterator[House]:
    """A house in a temporary folder; the calling thread is among its visitors. ``disk_mb``: the database's own disk."""
    folder = Path(
        subprocess.run(
            ["mktemp", "-d", "-t", "arauto-house-XXXXXX"], check=True, capture_output=True, text=True
        ).stdout.strip()
    )
    folder.chmod(0o755)
    before = Path("/proc/thread-self/ns/net").open()  # noqa: SIM115  (the way back)
    try:
        with network(names(servers)):
            (folder / "database").mkdir(mode=0o755)
            if disk_mb:
                subprocess.run(
                    ["mount", "-t", "tmpfs", "-o", f"size={disk_mb}m", "tmpfs", str(folder / "database")], check=True
                )
            enter("visitors")
            made = House(folder, servers, **settings)
            try:
                made.open(jumps=_build(folder) if jumps else None)
                yield made
            finally:
                made.close()
                _libc.setns(before.fileno(), _CLONE_NEWNET)
                if disk_mb:
                    subprocess.run(["umount", "-l", str(folder / "database")], check=False)
    finally:
        before.close()
        shutil.rmtree(folder, ignore_errors=True)


def _build(folder: Path) -> Path:
    library = folder / "jump.so"
    source = Path(__file__).with_name("jump.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library


def _make_database(data: Path) -> None:
    """As the embedded one is set up, but it listens to the whole (closed) network, and logs less ahead."""
    embedded = EmbeddedPostgres(data)
    embedded.ensure_running()
    embedded.release()
    (data / "pg_hba.conf").write_text("local all all trust\nhost all all 198.18.0.0/15 trust\n")
    with (data / "postgresql.conf").open("a") as file:
        file.write("max_wal_size = 128MB\nmin_wal_size = 32MB\nunix_socket_permissions = 0777\n")


def wait_for(check: Callable[[], Any], seconds: float = 120.0) -> None:
    """Until ``check`` raises nothing."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            check()
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


async def until(check: Callable[[], bool], seconds: float = 120.0) -> float:
    """Until ``check`` is true; how long that took."""
    began = time.monotonic()
    while not check():
        if time.monotonic() - began > seconds:
            raise RuntimeError("it did not happen")
        await asyncio.sleep(0.05)
    return time.monotonic() - began
