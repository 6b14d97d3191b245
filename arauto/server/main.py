"""Running the server: granian with its worker processes, and beside it one process for background jobs."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import MPServer as Granian

from arauto.core.errors import ConflictError, StoreError
from arauto.core.ready import readiness
from arauto.core.settings import PREFIX, Secret, Settings
from arauto.server.logs import GRANIAN, start_logging
from arauto.server.pressure import Drain
from arauto.server.sockets import HEAD_S, room_for_connections
from arauto.store import Store

KILL_S = 12
"""How long a process may take to end before it is killed."""
PORT_S = 5.0
"""How long to wait for the port: the processes of a server that was killed let go of it within a second."""
JOBS_PAUSE_S = 1.0

BOARD = "_ARAUTO_BOARD"
"""Environment variable: the folder in which the processes of one server leave their counters."""
DRAIN = "_ARAUTO_DRAIN"
"""Environment variable: the file that is there when the server is about to end."""

log = logging.getLogger(__name__)


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """A server that is starting. ``token`` is the admin's, only at the very first start of an installation."""

    url: str
    token: str | None = None


class Running:
    """A server that answers, in a process of its own."""

    def __init__(self, url: str, token: str, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
        self.url = url
        self.token = token
        self.pid = process.pid
        self._output = output

    def told(self) -> str:
        """What it has written so far, to either stream."""
        # Read where it stands: the server shares the file's position.
        descriptor = self._output.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode("utf-8", "replace")


def serve(settings: Settings, announce: Callable[[Started], None]) -> None:
    """Serve until SIGTERM or SIGINT. Takes over the process: its signals, its environment, its way to start others.

    SIGTERM drains first (setting ``drain_s``); then, as after SIGINT, what is in flight ends and nothing new is taken.

    Raises:
        ConflictError: the port is taken.
        StoreError: the database cannot be used.
    """
    # Forking would copy the locks and connections of this process into its children.
    multiprocessing.set_start_method("spawn", force=True)
    start_logging(settings.log_format)
    port = claim_port(settings.host, settings.port)
    settings = msgspec.structs.replace(settings, port=port)
    with ExitStack() as stack:
        os.environ.update(to_environ(settings))
        folder = tempfile.mkdtemp(prefix="arauto-")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if settings.workers > 1:
            os.environ[BOARD] = folder
        sign = Path(folder) / "ending"
        os.environ[DRAIN] = str(sign)
        keeper = stack.enter_context(Keeper(settings))
        stack.enter_context(_JobsProcess())
        announce(Started(url=url_of(settings.host, port), token=keeper.token))
        connections = room_for_connections()
        _Draining(
            "arauto.server.worker:Worker",
            factory=True,
            address=settings.host,
            port=port,
            interface=Interfaces.RSGI,
            loop=Loops.uvloop,
            http=HTTPModes.http1,
            websockets=False,
            workers=settings.workers,
            workers_kill_timeout=KILL_S,
            respawn_failed_workers=True,
            respawn_interval=0.2,
            log_level=LogLevels.error,
            log_dictconfig=GRANIAN,
            backlog=connections,
            backpressure=connections,
            http1_settings=HTTP1Settings(header_read_timeout=HEAD_S * 1000),
        ).drain_for(settings.drain_s, Drain(sign)).serve()


class _Draining(Granian):
    """granian, with a time between being told to end and ending."""

    def drain_for(self, seconds: float, drain: Drain) -> Self:
        self._drain_s, self._drain = seconds, drain
        return self

    def signal_handler_interrupt(self, *args: Any, **_: Any) -> None:
        """SIGTERM gives the sign and waits; a second one, or SIGINT, does not wait."""
        end: Callable[[], None] = super().signal_handler_interrupt
        begun = self._drain.on
        # Always: open dashboards are let go at the sign.
        self._drain.begin()
        if args[:1] != (signal.SIGTERM,) or not self._drain_s or begun:
            end()
            return
        wait = threading.Timer(self._drain_s, end)
        wait.daemon = True
        wait.start()


@contextmanager
def running(settings: Settings, *, timeout: float = 90.0) -> Iterator[Running]:
    """A server in a process of its own, for as long as the block lasts. Port 0 takes a free one.

    Without a token in ``settings`` one is made up for this run.

    Raises:
        StoreError: it does not answer within ``timeout`` seconds; what it wrote is in the message.
    """
    token = settings.admin_token.reveal() or secrets.token_urlsafe(24)
    port = claim_port(settings.host, settings.port)
    settings = msgspec.structs.replace(settings, port=port, admin_token=Secret(token))
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "arauto.server"],
            env={**os.environ, **to_environ(settings)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            server = Running(url_of(settings.host, port), token, process, output)
            _wait_until_ready(process, server, timeout)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(settings.drain_s + KILL_S + 10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], server: Running, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while process.poll() is None and time.monotonic() < deadline:
        if readiness(server.url) == HTTPStatus.OK:
            return
        time.sleep(0.05)
    told = server.told().strip()[-2000:] or "it wrote nothing"
    raise StoreError(f"the server did not start: {told}", mend="mend that, and start it again")


class Keeper:
    """Holds the store open for as long as the server runs, in a thread of its own, so that the embedded database stays
    up while processes come and go. Makes the admin token at the first start ever."""

    def __init__(self, settings: Settings) -> None:
        self.token: str | None = None
        self._settings = settings
        self._ready: Future[str | None] = Future()
        self._loop = asyncio.new_event_loop()
        self._done = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="keeper")

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.token = self._ready.result()
        except BaseException:
            self._thread.join()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()

    def _run(self) -> None:
        with closing(self._loop):
            self._loop.run_until_complete(self._keep())

    async def _keep(self) -> None:
        try:
            store = await Store.open(self._settings)
        except BaseException as error:
            self._ready.set_exception(error)
            return
        async with store:
            self._ready.set_result(None if self._settings.admin_token else await store.admin_token())
            await self._done.wait()


def do_jobs(*, of_server: bool = False) -> None:
    """:func:`arauto.server.worker.do_jobs`. What jobs take is imported in their process: that of :func:`serve`, which
    only watches, starts sooner and stays smaller."""
    from arauto.server import worker

    worker.do_jobs(of_server=of_server)


def _jobs_process() -> multiprocessing.Process:
    return multiprocessing.Process(target=do_jobs, kwargs={"of_server": True}, name="arauto-jobs")


class _JobsProcess:
    """The process that does background jobs, started again whenever it dies."""

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._process = _jobs_process()
        self._thread = threading.Thread(target=self._watch, name="jobs-watch")

    def __enter__(self) -> Self:
        self._process.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._process.terminate()
        self._thread.join(KILL_S)
        if self._thread.is_alive():
            self._process.kill()
            self._thread.join()

    def _watch(self) -> None:
        while True:
            self._process.join()
            if self._ending.wait(JOBS_PAUSE_S):
                return
            log.warning("the process for background jobs ended with %s; starting it again", self._process.exitcode)
            self._process = _jobs_process()
            self._process.start()


def to_environ(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, from which :func:`~arauto.core.settings.load_settings` makes the same."""
    variables = {}
    for name, value in msgspec.structs.asdict(settings).items():
        if isinstance(value, Secret):
            text = value.reveal()
        elif isinstance(value, tuple):
            text = ",".join(value)
        else:
            text = "" if value is None else str(value)
        variables[PREFIX + name.upper()] = text
    return variables


def url_of(host: str, port: int) -> str:
    """The address of the server as a browser on this machine writes it."""
    if host in ("0.0.0.0", "::"):  # noqa: S104  (compared, not bound)
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def claim_port(host: str, port: int) -> int:
    """``port``, or a free one for 0, after making sure that nobody listens there.

    The worker processes share the port, and so could a second server: this is where that is noticed.

    Raises:
        ConflictError: the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + PORT_S
    while True:
        with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as failure:
                if time.monotonic() > deadline:
                    raise ConflictError(
                        f"{host}:{port} cannot be used: {failure.strerror}",
                        field="port",
                        mend="stop what uses it, or set ARAUTO_PORT to another",
                    ) from None
            else:
                free: int = probe.getsockname()[1]
                return free
        time.sleep(0.1)
