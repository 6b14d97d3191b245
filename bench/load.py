"""A load client on raw sockets: plain HTTP/1.1 over kept-alive connections, in processes of its own.

Closed loop (``rate`` 0): each connection asks again as soon as it is answered; that finds the saturation. Open loop:
requests fall due at a fixed rate whatever the answers do, and a latency counts from when its request was due, not from
when a free connection could send it (no coordinated omission). The client's own CPU time is reported, because a client
that is at its limit measures itself.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import time
from collections import deque
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import cast

import msgspec
import psutil
import uvloop

END = b"\r\n\r\n"
LENGTH = b"content-length: "
TICK_S = 0.001
"""How often an open loop looks for what is due: up to so much of each latency is the client's. Less would spin."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What one client process does. ``rate`` is in requests a second, 0 for as many as go.

    ``bodies`` are sent in turn, again and again; those of ``file`` (MessagePack, a list of bytes) once each.
    """

    host: str
    port: int
    path: str
    connections: int
    bodies: list[bytes] = []
    file: str = ""
    seconds: float
    warm_up: float = 1.0
    rate: float = 0.0
    headers: str = "Content-Type: application/json\r\n"


class Load(msgspec.Struct, kw_only=True):
    """What came of it. ``latencies`` are in seconds, sorted; ``busy`` is the CPU share of the busiest client."""

    answers: int = 0
    errors: int = 0
    acknowledged: int = 0
    """Good answers of the whole run, warm-up and end included."""
    seconds: float = 0.0
    busy: float = 0.0
    dry: bool = False
    """Whether the bodies ran out before the time: then the rate is worth nothing."""
    latencies: list[float] = []

    @property
    def rate(self) -> float:
        return self.answers / self.seconds

    def quantile(self, q: float) -> float:
        """A latency in milliseconds."""
        return self.latencies[min(len(self.latencies) - 1, int(q * len(self.latencies)))] * 1000


class _Connection(asyncio.Protocol):
    """One kept-alive connection: sends a request, reads its whole answer, tells its owner."""

    def __init__(self, owner: _Client) -> None:
        self._owner = owner
        self._buffer = b""
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._owner.free(self)

    def send(self, request: bytes, due: float) -> None:
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        head = data.find(END)
        if head < 0:
            self._buffer = data
            return
        start = data.find(LENGTH, 0, head) + len(LENGTH)
        size = int(data[start : data.find(b"\r", start)])
        if len(data) < head + 4 + size:
            self._buffer = data
            return
        self._buffer = b""
        self._owner.answered(self, self._due, data.startswith(b"HTTP/1.1 2"))

    def connection_lost(self, _error: Exception | None) -> None:
        self._owner.lost()


class _Client:
    """The connections of one process, and what they saw."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        head = f"POST {plan.path} HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\n{plan.headers}"
        bodies = plan.bodies or msgspec.msgpack.decode(Path(plan.file).read_bytes(), type=list[bytes])
        requests = [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
        self._requests = cycle(requests) if plan.bodies else iter(requests)
        self._idle: deque[_Connection] = deque()
        self._due: deque[float] = deque()
        self._ending = False
        self.measuring = False
        self.load = Load()

    async def run(self) -> Load:
        loop, plan = asyncio.get_running_loop(), self._plan
        for _ in range(plan.connections):
            await loop.create_connection(lambda: _Connection(self), plan.host, plan.port)
        ticker = asyncio.create_task(self._tick()) if plan.rate else None
        await asyncio.sleep(plan.warm_up)
        began, cpu = time.perf_counter(), time.process_time()
        self.measuring = True
        await asyncio.sleep(plan.seconds)
        self.measuring = False
        self._ending = True
        self.load.seconds = time.perf_counter() - began
        self.load.busy = (time.process_time() - cpu) / self.load.seconds
        if ticker is not None:
            ticker.cancel()
        return self.load

    async def _tick(self) -> None:
        """Let requests fall due at the planned rate, a few at a time."""
        next_due = time.perf_counter()
        while True:
            now = time.perf_counter()
            while next_due <= now:
                self._due.append(next_due)
                next_due += 1 / self._plan.rate
            while self._due and self._idle:
                self.free(self._idle.popleft())
            await asyncio.sleep(TICK_S)

    def free(self, connection: _Connection) -> None:
        if self._ending:
            return
        if self._plan.rate and not self._due:
            self._idle.append(connection)
            return
        request = next(self._requests, None)
        if request is None:
            self.load.dry = True
        else:
            connection.send(request, self._due.popleft() if self._plan.rate else time.perf_counter())

    def answered(self, connection: _Connection, due: float, good: bool) -> None:
        self.load.acknowledged += good
        if self.measuring:
            self.load.latencies.append(time.perf_counter() - due)
            self.load.answers += good
            self.load.errors += not good
        self.free(connection)

    def lost(self) -> None:
        if not self._ending:
            self.load.errors += 1


def _process(plan: Plan) -> bytes:
    # A client that stops to collect would count its own pause as the server's.
    gc.disable()
    load = uvloop.run(_Client(plan).run())
    return msgspec.msgpack.encode(load)


def run(plans: Sequence[Plan]) -> Load:
    """Run every plan in a process of its own, all at once."""
    with multiprocessing.get_context("spawn").Pool(len(plans)) as pool:
        parts = [msgspec.msgpack.decode(part, type=Load) for part in pool.map(_process, plans)]
    whole = Load(latencies=sorted(latency for part in parts for latency in part.latencies))
    whole.answers = sum(part.answers for part in parts)
    whole.errors = sum(part.errors for part in parts)
    whole.acknowledged = sum(part.acknowledged for part in parts)
    whole.seconds = max(part.seconds for part in parts)
    whole.busy = max(part.busy for part in parts)
    whole.dry = any(part.dry for part in parts)
    return whole


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process and its descendants have used so far, user and system."""
    process = psutil.Process(pid)
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total
