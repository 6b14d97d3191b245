"""More than a server can do, and its end: said at once, with a time to come back."""

import asyncio
import os
import signal
import socket
import time
from contextlib import ExitStack

import httpx
import msgspec
import psutil
import pytest

from arauto.core.errors import BusyError
from arauto.core.ready import readiness
from arauto.server import running, sockets
from arauto.server.limits import Limiter
from arauto.server.pressure import CALM_S, LATE_S, Drain, Overload
from tests.server.test_main import launch, own, send, until  # noqa: F401  (own: a fixture)
from tests.server.world import ORIGIN


def test_one_late_look_is_no_overload_and_ease_ends_it():
    overload = Overload()
    for late, on in ((9.0, False), (0.0, False), (9.0, False), (9.0, True), (LATE_S, True), (CALM_S / 2, False)):
        overload.note(late)
        assert overload.on == on
    overload.note(9.0)
    assert not overload.on, "one look after the calm is one look"


async def test_a_loop_that_is_kept_busy_is_noticed():
    moments = iter([0.0, 5.0, 5.0, 10.0, 10.0, 10.1, 10.1, 10.2])
    seen = []

    class Looked(Overload):
        def note(self, late_s):
            super().note(late_s)
            seen.append(self.on)

    with pytest.raises((StopIteration, RuntimeError)):
        await Looked(now=moments.__next__).watch()
    assert seen == [False, True, False, False]


async def test_one_long_turn_of_the_loop_is_noticed_within_it(world):
    """Many heavy requests that came together are one turn: no timer runs before the last of them."""
    await world.launch()
    clock = [1000.0]
    overload = world.front._overload = Overload(now=lambda: clock[0])
    watch = asyncio.create_task(overload.watch())
    async with asyncio.timeout(60):
        while overload._due > 2000:
            overload.check(1e9)
            await asyncio.sleep(0.01)
    overload.check(1000.0 + LATE_S)
    with pytest.raises(BusyError) as caught:
        overload.check(1000.0 + 2 * LATE_S)
    assert caught.value.retry_after >= 1
    assert (overload.refused, overload.on) == (1, False)
    # perf_counter is far behind the thousandth second or far beyond: the front asks by its own clock, after the body.
    overload._due = -LATE_S
    query = {"key": world.key, "campaign": world.slug}
    assert (await world("POST", "/v1/decide", query)).status == 503
    watch.cancel()


async def test_overload_is_refused_with_a_time_to_come_back(world):
    await world.launch()
    decision = await world.decide()
    world.front._overload.on = True
    world.front._limiter = Limiter(1)
    query = {"key": world.key, "campaign": world.slug}
    for _ in range(3):
        refused = await world("POST", "/v1/decide", query, {"origin": ORIGIN})
        assert (refused.status, refused.json()["code"]) == (503, "busy")
        assert int(refused.headers["retry-after"]) >= 1
        # The page is let to read it; else its browser would tell of an error of the network.
        assert refused.headers["access-control-allow-origin"] == ORIGIN
    event = world.event(receipt=decision["receipt"])
    assert (await world.send(event)).status == 503
    # Whoever looks after the server still gets in.
    assert (await world("GET", "/healthz")).status == 200
    assert (await world("GET", "/metrics", headers=world.admin)).status == 200
    world.front._overload.on = False
    assert (await world.send(event)).status == 200
    assert await world.count() == 1


async def test_a_server_about_to_end_is_not_ready_but_answers(world, tmp_path, monkeypatch):
    await world.launch()
    world.front._drain._file = tmp_path / "ending"
    assert (await world("GET", "/readyz")).status == 200
    Drain(tmp_path / "ending").begin()
    refused = await world("GET", "/readyz")
    assert (refused.status, refused.json()["code"]) == (503, "busy")
    assert (await world("GET", "/healthz")).status == 200
    monkeypatch.setattr("arauto.server.front.BODY_S", 0.1)
    watch = asyncio.create_task(world.front.watch())
    query = {"key": world.key, "campaign": world.slug}
    async with asyncio.timeout(30):
        while "connection" not in (answer := await world("POST", "/v1/decide", query)).headers:
            assert answer.status == 200
            await asyncio.sleep(0.01)
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    watch.cancel()


def test_the_end_waits_for_the_balancer_and_for_what_is_in_flight(own):  # noqa: F811
    with running(msgspec.structs.replace(own, drain_s=600.0)) as server:
        _, query = launch(server)
        decision = httpx.post(f"{server.url}/v1/decide", json=query, verify=False).json()
        host, port = server.url.removeprefix("http://").split(":")
        os.kill(server.pid, signal.SIGTERM)
        until(lambda: readiness(server.url) == 503)
        # New work is still done, and counted.
        assert send(server, query, decision["receipt"]).json()["stored"] == 1
        body = msgspec.json.encode(query)
        with socket.create_connection((host, int(port)), timeout=60) as half:
            head = f"POST /v1/decide HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            half.sendall(head.encode() + body[:5])
            assert httpx.post(f"{server.url}/v1/decide", json=query, verify=False).status_code == 200
            # Who says it twice will not wait; what is in flight is answered all the same.
            os.kill(server.pid, signal.SIGTERM)
            until(lambda: not takes(host, int(port)))
            half.sendall(body[5:])
            assert half.recv(200).startswith(b"HTTP/1.1 200 ")
        until(lambda: not psutil.pid_exists(server.pid) or psutil.Process(server.pid).status() == "zombie")


def takes(host, port):
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def test_a_thousand_silent_connections_keep_nobody_out(own):  # noqa: F811
    with running(own) as server, ExitStack() as stack:
        host, port = server.url.removeprefix("http://").split(":")
        for _ in range(1_200):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
        assert httpx.get(f"{server.url}/healthz", timeout=5).status_code == 200


async def test_a_peer_that_does_not_read_is_let_go(monkeypatch):
    monkeypatch.setattr(sockets, "STALL_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert await sockets.guard_listeners() >= 1
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(listener.getsockname())
            served, _ = listener.accept()
            with served:
                served.setblocking(False)
                error, deadline = 0, time.monotonic() + 60
                while not error and time.monotonic() < deadline:
                    try:
                        served.send(b"x" * 65_536)
                    except BlockingIOError:
                        await asyncio.sleep(0.1)
                    except OSError as failure:
                        error = failure.errno
                assert error, "the kernel let go of it"


def test_more_files_are_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(sockets.resource, "getrlimit", lambda _: (256, 1024))
    monkeypatch.setattr(sockets.resource, "setrlimit", lambda _, limits: asked.append(limits))
    assert sockets.room_for_connections() == 512
    assert asked == [(1024, 1024)]
    monkeypatch.setattr(sockets.resource, "getrlimit", lambda _: (10**6, 10**6))
    assert sockets.room_for_connections() == sockets.CONNECTIONS
    assert len(asked) == 1
