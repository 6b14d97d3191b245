"""The real wire, against a server that answers well, oddly or not at all."""

import asyncio
import ssl

import pytest

from arauto.core.errors import SettingError
from arauto.core.settings import Secret
from arauto.creative.engines import Endpoint
from arauto.creative.engines.pool import PooledWire, _read_url
from arauto.creative.engines.wire import Answer, WireFault, read_pause
from arauto.creative.kit.provenance import _make_key

ANSWERS = {
    "ok": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nRetry-After: 3\r\n\r\nbody",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
    "early": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    "away": b"HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n",
    "closing": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody",
    "endless": b"HTTP/1.1 200 OK\r\n\r\nbody",
    "large": b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n" + bytes(65536),
    "drip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 40_000,
    "heads": b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"y" * 200_000 + b"\r\n\r\n",
    "noise": b"SSH-2.0-OpenSSH_9.9\r\n",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbod",
    "mute": b"",
}
HANGS_UP = ("closing", "endless", "cut", "mute")


class Server:
    """What it was sent is in ``heads`` and ``bodies``; ``met`` counts connections."""

    def __init__(self):
        self.heads, self.bodies, self.met = [], [], 0

    async def serve(self, reader, writer):
        self.met += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head.decode())
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                self.bodies.append(await reader.readexactly(length))
                kind = head.split()[1].decode().strip("/").partition("?")[0]
                if kind == "hang":
                    await asyncio.sleep(5)
                writer.write(ANSWERS[kind])
                await writer.drain()
                if kind in HANGS_UP:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


@pytest.fixture
async def server():
    spoken = Server()
    async with await asyncio.start_server(spoken.serve, "127.0.0.1", 0) as listening:
        spoken.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield spoken


@pytest.fixture
async def wire():
    pooled = PooledWire(2)
    yield pooled
    await pooled.close()


def post(wire, url, seconds=60.0, most=1000, headers=None):
    return wire.post(url, headers or {"A": "b"}, b"asked", seconds=seconds, most=most)


@pytest.mark.parametrize("kind", ["ok", "chunked", "early", "closing", "endless"])
async def test_a_whole_answer_is_read(server, wire, kind):
    for _ in range(2):
        assert await post(wire, f"{server.url}/{kind}?x=1") == Answer(200, b"body", 3.0 if kind == "ok" else None)
    assert server.bodies == [b"asked"] * 2
    assert server.heads[0].startswith(f"POST /{kind}?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "\r\nA: b\r\n" in server.heads[0]
    # A connection is kept where both sides keep it.
    assert server.met == (2 if kind in HANGS_UP else 1)


async def test_nobody_is_led_away(server, wire):
    assert (await post(wire, f"{server.url}/away")).status == 302
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("cut", "hung up"),
        ("mute", "hung up"),
        ("noise", "no HTTP"),
        ("large", "too large"),
        ("drip", "too large"),
        ("heads", "too large"),
    ],
)
async def test_what_is_no_answer_is_a_fault_and_the_next_one_is_read(server, wire, kind, match):
    with pytest.raises(WireFault, match=match) as caught:
        await post(wire, f"{server.url}/{kind}")
    assert caught.value.sent
    assert (await post(wire, f"{server.url}/ok")).content == b"body"


async def test_a_late_answer_never_reaches_the_next_question(server, wire):
    with pytest.raises(WireFault, match="did not answer within") as caught:
        await post(wire, f"{server.url}/hang", seconds=0.05)
    assert caught.value.sent
    assert (await post(wire, f"{server.url}/ok")).content == b"body"
    assert server.met == 2


async def test_connections_that_rest_are_few_and_not_old(server, wire, monkeypatch):
    await asyncio.gather(*(post(wire, f"{server.url}/ok") for _ in range(6)))
    (resting,) = wire._resting.values()
    assert len(resting) == 2
    for line in resting:
        line.since -= 60
    met = server.met
    await post(wire, f"{server.url}/ok")
    assert server.met == met + 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "http://127.0.0.1:99999/v1", "http://a..b/v1"])
async def test_nobody_there(wire, url):
    with pytest.raises(WireFault) as caught:
        await post(wire, url)
    assert not caught.value.sent


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path, wire):
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    _make_key(chain, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    async with await asyncio.start_server(Server().serve, "127.0.0.1", 0, ssl=context) as listening:
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(WireFault, match="SSL") as caught:
            await post(wire, f"https://localhost:{port}/ok")
    assert not caught.value.sent


async def test_a_header_cannot_bring_another(server, wire):
    with pytest.raises(ValueError, match="line break"):
        await post(wire, f"{server.url}/ok", headers={"A": "b\r\nC: d"})
    with pytest.raises(SettingError) as caught:
        Endpoint("https://host.example/v1", Secret("k\r\nHost: other.example"))
    assert caught.value.field == "openai_key"
    assert "other.example" not in str(caught.value)


def test_an_address_is_read_once_and_safely():
    target, path = _read_url("https://bücher.example/v1/ä b?q=1")
    assert (target.host, target.port, target.name) == ("xn--bcher-kva.example", 443, "xn--bcher-kva.example")
    assert path == "/v1/%C3%A4%20b?q=1"
    assert _read_url("http://[::1]:8080/v1")[0].name == "[::1]:8080"
    assert read_pause("Wed, 21 Oct 2026 07:28:00 GMT") is None
