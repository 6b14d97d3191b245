"""A real server, in processes of its own, on a real port."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from http import HTTPStatus
from uuid import uuid4

import httpx
import msgspec
import psutil
import psycopg
import pytest

from arauto.core.errors import ConflictError, StoreError
from arauto.core.ids import uuid7
from arauto.core.ready import readiness
from arauto.core.settings import Secret, Settings, load_settings
from arauto.server import Started, claim_port, running, to_environ
from arauto.server.__main__ import announce
from arauto.server.main import Keeper, url_of

# A machine may be busy. Each request has a connection of its own, and reads no certificates.
START_S = 300
get, post = partial(httpx.get, timeout=60, verify=False), partial(httpx.post, timeout=60, verify=False)


@pytest.fixture
def own(settings):
    return msgspec.structs.replace(settings, port=0, rate_limit=0)


def launch(server, slug="watch"):
    """A live campaign; the body that asks for a decision of it."""
    admin = {"authorization": f"Bearer {server.token}"}
    with httpx.Client(base_url=server.url, headers=admin, timeout=60, verify=False) as client:
        copies = [{"title": f"t{n}", "description": "d", "image_suggestion": "i"} for n in range(2)]
        made = client.post("/v1/campaigns", json={"brief": {"product": "watch"}, "slug": slug, "copies": copies}).json()
        client.post(f"/v1/campaigns/{made['id']}/state", json={"state": "live"}).raise_for_status()
        key = next(site["key"] for site in client.get("/v1/sites").json() if site["id"] == made["site_id"])
    return made, {"key": key, "campaign": slug}


def send(server, query, receipt, **more):
    now = time.time_ns() // 1_000_000
    event = {"type": "impression", "id": str(uuid7(now)), "at": now, "receipt": receipt, **more}
    return post(f"{server.url}/v1/events", json={"key": query["key"], "consent": "granted", "events": [event]})


def until(check, seconds=60):
    """Wait for another process; the deadline only ends a test that fails."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


def living(processes):
    """Those that have not ended after a while."""
    _, alive = psutil.wait_procs(processes, timeout=60)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def answers(url):
    return readiness(url) == HTTPStatus.OK


def test_one_server_from_start_to_end(own):
    with running(own, timeout=START_S) as server:
        made, query = launch(server)
        visitor = str(uuid4())
        asked = {**query, "visitor": visitor, "consent": "granted"}
        decision = post(f"{server.url}/v1/decide", json=asked)
        assert (decision.status_code, decision.headers["content-type"]) == (200, "application/json")
        assert send(server, query, decision.json()["receipt"], visitor=visitor).json()["stored"] == 1
        kept = get(f"{server.url}/v1/visitors/{visitor}?key={query['key']}").json()
        assert [event["type"] for event in kept["events"]] == ["impression"]
        # A body that does not say how long it is, and a head that is too long.
        chunks = (b" " * 65_536 for _ in range(8))
        assert post(f"{server.url}/v1/events", content=chunks).status_code == 413
        assert get(f"{server.url}/openapi.json").json()["openapi"] == "3.1.0"
        assert get(server.url, follow_redirects=False).status_code == 303
        get(f"{server.url}/v1/visitors/{visitor}?key=wrong")
        told = server.told()
        processes = psutil.Process(server.pid).children(recursive=True)
        assert len(processes) >= 2
    assert visitor not in told
    assert "127.0.0.1:" not in told.replace(server.url.removeprefix("http://"), "")
    assert living(processes) == []
    assert made["state"] == "draft"


def test_two_workers_answer_alike_and_count_together(own):
    with running(msgspec.structs.replace(own, workers=2), timeout=START_S) as server:
        _, query = launch(server)
        admin = {"authorization": f"Bearer {server.token}"}
        # A connection stays with the process that took it; a new one each time reaches both.
        for _ in range(40):
            assert post(f"{server.url}/v1/decide", json=query).status_code == 200

        def counted():
            text = get(f"{server.url}/metrics", headers=admin).text
            return 'route="POST /v1/decide",status="200"} 40.0' in text and "arauto_workers 2.0" in text

        until(counted)


def children(server, cpu_of=None):
    """The processes of a server by what they are: granian's workers, and the one for jobs."""
    found = {"worker": [], "jobs": []}
    for child in psutil.Process(server.pid).children():
        connections = child.net_connections(kind="tcp") if child.is_running() else []
        listens = any(connection.status == psutil.CONN_LISTEN for connection in connections)
        if "spawn_main" in " ".join(child.cmdline()):
            found["worker" if listens else "jobs"].append(child.pid)
    return found


def test_processes_that_die_are_started_again(own):
    with running(own, timeout=START_S) as server:
        _, query = launch(server)
        before = children(server)
        os.kill(before["jobs"][0], signal.SIGKILL)
        os.kill(before["worker"][0], signal.SIGKILL)
        until(lambda: answers(server.url))
        after = until(lambda: (now := children(server)) and all(now.values()) and now)
        assert not {*before["worker"], *before["jobs"]} & {*after["worker"], *after["jobs"]}
        assert post(f"{server.url}/v1/decide", json=query).status_code == 200
        assert "starting it again" in server.told()


def test_a_killed_server_leaves_no_orphans_and_starts_again(own):
    own = msgspec.structs.replace(own, port=claim_port("127.0.0.1", 0))
    with running(own, timeout=START_S) as server:
        _, query = launch(server)
        receipt = post(f"{server.url}/v1/decide", json=query).json()["receipt"]
        assert send(server, query, receipt).json()["stored"] == 1
        orphans = psutil.Process(server.pid).children(recursive=True)
        os.kill(server.pid, signal.SIGKILL)
        with running(own, timeout=START_S) as again:
            # What was acknowledged is there, and told again it counts once.
            assert send(again, query, receipt).json() == {"stored": 0, "duplicates": 1, "refused": []}
        assert living(orphans) == []


def test_a_taken_port_is_told(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("arauto.server.main.PORT_S", 0.2)
        with pytest.raises(ConflictError) as caught:
            claim_port("127.0.0.1", port)
    assert caught.value.field == "port"
    assert claim_port("127.0.0.1", port) == port


def test_what_cannot_start_says_why(tmp_path):
    nowhere = Secret("host=/nonexistent dbname=none connect_timeout=1")
    with (
        pytest.raises(StoreError) as caught,
        running(Settings(home=tmp_path, port=0, database_url=nowhere), timeout=5),
    ):
        pass
    assert "did not start" in caught.value.problem


def test_the_token_is_shown_at_the_first_start_and_never_again(settings, capsys):
    for first in (True, False):
        with Keeper(settings) as keeper:
            announce(Started(url="http://x", token=keeper.token))
        told = capsys.readouterr().out
        assert told.startswith("Arauto listens at http://x\n")
        assert ("shown only this once: " in told) == first
    with Keeper(msgspec.structs.replace(settings, admin_token=Secret("mine"))) as keeper:
        assert keeper.token is None


def test_a_database_that_cannot_be_used_is_told_by_the_thread_that_keeps_it(tmp_path, monkeypatch):
    async def broken(_):
        raise StoreError("away")

    monkeypatch.setattr("arauto.server.main.Store.open", broken)
    with pytest.raises(StoreError), Keeper(Settings(home=tmp_path)):
        pass


def test_settings_travel_through_the_environment(tmp_path):
    settings = Settings(
        home=tmp_path / "a b",
        database_url=Secret("postgresql://u:p@h/d?x=1"),
        host="::1",
        port=1,
        workers=3,
        admin_token=Secret("t"),
        rate_limit=0,
        trusted_proxies=("10.0.0.0/8", "::1"),
        data_dir=tmp_path,
    )
    assert load_settings(tmp_path, to_environ(settings)) == settings
    assert load_settings(tmp_path, to_environ(Settings())) == Settings()


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:1"), ("::1", "http://[::1]:1"), ("0.0.0.0", "http://localhost:1")],
)
def test_an_address_is_written_as_a_browser_takes_it(host, url):
    assert url_of(host, 1) == url


async def test_a_stream_does_not_keep_the_server_from_ending(own):
    with running(own, timeout=START_S) as server:
        reader, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
        # A request that never ends.
        writer.write(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
    # It has ended, although nobody hung up.
    assert not psutil.pid_exists(server.pid)
    writer.close()
    assert await reader.read() == b""


@pytest.mark.parametrize("of_server", [False, True])
def test_background_jobs_end_when_told(own, of_server):
    process = subprocess.Popen(
        [sys.executable, "-c", f"from arauto.server import do_jobs; do_jobs(of_server={of_server})"],
        env={**os.environ, **to_environ(own)},
        stderr=subprocess.PIPE,
    )
    url = own.database_url.reveal()

    def works():
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT count(*) FROM procrastinate_workers").fetchone()[0]

    until(works)
    if of_server:
        # The terminal's Ctrl-C is the server's to answer.
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
    else:
        process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.stderr.close()
