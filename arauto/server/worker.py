"""A process of the server: what granian loads, and the one that does background jobs."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from arauto.core.errors import ArautoError
from arauto.core.settings import Settings, load_settings
from arauto.core.tasks import end
from arauto.dashboard import Sessions, create_dashboard
from arauto.loop import Runtime, register_jobs, where
from arauto.server.bridge import Bridge, RsgiProtocol, RsgiScope
from arauto.server.front import Front
from arauto.server.gate import Gate
from arauto.server.limits import Addresses, Limiter
from arauto.server.logs import start_logging
from arauto.server.main import BOARD, DRAIN
from arauto.server.meters import Board, Meters
from arauto.server.pressure import Drain, Overload
from arauto.server.sockets import guard_listeners
from arauto.server.traces import open_traces
from arauto.server.web import build
from arauto.server.wire import Desk
from arauto.store import Store

SIGN_S = 0.25
"""How often a process looks whether the sign of the end was given."""
BOARD_S = 2.0
PARENT_S = 0.5
SWITCH_S = 0.0005
"""How long the thread that decides may keep Python's lock from the ones that read sockets: the usual 5 ms would be all
that a decision may take."""

log = logging.getLogger(__name__)


def make_front(
    settings: Settings,
    runtime: Runtime,
    board: Board | None = None,
    overload: Overload | None = None,
    drain: Drain | None = None,
) -> tuple[Front, Desk]:
    """The whole server of one process, on an open runtime."""
    limiter, addresses, meters = Limiter(settings.rate_limit), Addresses(settings.trusted_proxies), Meters()
    overload, drain = overload or Overload(), drain or Drain(None)
    desk = Desk(settings, runtime, meters, board or Board(None), overload, drain)
    sessions = Sessions(runtime.store, runtime.clock)
    pages = list(create_dashboard(runtime, sessions, desk.live, addresses.of_request).routes)
    web = build(desk, limiter, addresses, Gate(runtime, sessions), pages)
    return Front(runtime, Bridge(web), limiter, addresses, meters, overload, drain), desk


class Worker:
    """The RSGI application of one process: opens its runtime when the process starts, and closes it when it ends."""

    def __init__(self) -> None:
        self._settings = load_settings()
        folder = os.environ.get(BOARD)
        self._board = Board(Path(folder) if folder else None)
        sign = os.environ.get(DRAIN)
        self._drain = Drain(Path(sign) if sign else None)
        self._overload = Overload()
        self._tasks: list[asyncio.Task[Any]] = []

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        start_logging(self._settings.log_format)
        sys.setswitchinterval(SWITCH_S)
        try:
            loop.run_until_complete(self._open())
        except ArautoError as error:
            log.critical("the server cannot start: %s", error)
            raise SystemExit(error.exit_code) from None

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.run_until_complete(self._close())

    def __rsgi__(self, scope: RsgiScope, protocol: RsgiProtocol) -> Coroutine[Any, Any, None]:
        return self._front(scope, protocol)

    async def _open(self) -> None:
        self._runtime = await Runtime.open(self._settings)
        self._front, self._desk = make_front(self._settings, self._runtime, self._board, self._overload, self._drain)
        self._traces = open_traces(self._settings, await self._runtime.store.receipt_secret())
        if self._traces is not None:
            self._front.traces, self._runtime.watch = self._traces, self._traces.told
        beside: tuple[Coroutine[Any, Any, Any], ...] = (
            end_with_parent(),
            self._leave_counts(),
            self._front.watch(),
            self._overload.watch(),
            self._settle(),
            guard_listeners(),
            self._end_streams(),
        )
        self._tasks = [asyncio.create_task(one) for one in beside]
        _freeze()

    async def _close(self) -> None:
        await end(*self._tasks)
        await self._runtime.close()
        if self._traces is not None:
            await asyncio.to_thread(self._traces.close)

    async def _settle(self) -> None:
        """The audience is made after the start: its visitors, and the libraries that find segments, stay as well."""
        await self._runtime.audience.ready.wait()
        _freeze()

    async def _end_streams(self) -> None:
        """A process waits for the answers that it is giving, and a stream to a dashboard would never be given."""
        while not self._drain.on:  # noqa: ASYNC110  (a file is the sign: other processes give it)
            await asyncio.sleep(SIGN_S)
        await self._desk.live.close()

    async def _leave_counts(self) -> None:
        while True:
            await asyncio.sleep(BOARD_S)
            try:
                self._board.leave(self._desk.snapshot())
            except OSError as error:
                log.warning("the counters could not be left: %s", where(error))


def _freeze() -> None:
    """What is there now stays: a full collection would look at all of it again, for tens of milliseconds."""
    gc.collect()
    gc.freeze()


async def end_with_parent() -> None:
    """End this process when its parent is gone, however that ended: an orphan would hold on to the port."""
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110  (nothing tells of it but asking)
        await asyncio.sleep(PARENT_S)
    os.kill(os.getpid(), signal.SIGTERM)


def do_jobs(*, of_server: bool = False) -> None:
    """Do background jobs until SIGTERM or SIGINT. A process of its own: a crash of native model code costs only it.

    ``of_server``: it is a server's, which alone ends it, and must not outlive it.
    """
    settings = load_settings()
    start_logging(settings.log_format)
    asyncio.run(_do_jobs(settings, of_server))


async def _do_jobs(settings: Settings, of_server: bool) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if of_server:
        # Ctrl-C reaches every process of a terminal.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        watch = asyncio.create_task(end_with_parent())
    else:
        loop.add_signal_handler(signal.SIGINT, stop.set)
        watch = None
    async with await Store.open(settings) as store:
        register_jobs(store, settings)
        await store.jobs.run_worker(stop)
    if watch is not None:
        await end(watch)
