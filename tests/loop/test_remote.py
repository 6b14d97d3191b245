"""The client of replay and simulation: problems come back as the errors they were, acknowledgements are waited for."""

import asyncio
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import httpx
import msgspec
import pytest
from starlette.responses import Response

from arauto.core.brief import Brief
from arauto.core.campaign import CampaignPlan, Copy
from arauto.core.errors import (
    ArautoError,
    AuthError,
    ConflictError,
    InputError,
    NotFoundError,
    Problem,
    RateLimitError,
    StoreError,
)
from arauto.core.events import Custom, Impression
from arauto.core.ids import uuid7
from arauto.loop import remote as remote_module
from arauto.loop.answers import EventsAnswer
from arauto.loop.remote import NoAnswerError, Remote
from tests.loop.stub import TOKEN, Stub

COPY = Copy(title="Ring", description="A ring", image_suggestion="a ring")


@pytest.fixture
def stub():
    return Stub()


@pytest.fixture
async def remote(stub):
    async with Remote("http://stub/", key="key-1", token=TOKEN, transport=stub.transport()) as remote:
        yield remote


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    async def at_once(_seconds):
        pass

    monkeypatch.setattr(remote_module, "_pause", at_once)


def answering(*answers):
    """A transport that gives these answers, the last for ever."""
    queue = list(answers)

    def handle(request):
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Remote("http://there", key="k", transport=httpx.MockTransport(handle))


async def live(remote, **plan):
    campaign = await remote.create("ring", "Ring", Brief(product="Ring"), CampaignPlan(seed=1, **plan))
    assert campaign.variants == []
    assert [variant.copy for variant in await remote.add(campaign.id, [COPY])] == [COPY]
    return await remote.move(campaign.id, "live")


async def test_a_campaign_from_draft_to_event(remote, stub):
    campaign = await live(remote)
    assert (campaign.state, campaign.site_id, campaign.plan.seed) == ("live", 1, 1)
    answer = await remote.decide("ring", device="mobile")
    assert answer.copy == COPY
    assert stub.book.read(answer.receipt).segment == 2
    now = stub.clock.now_ms()
    event = Impression(id=uuid7(now), at=now, receipt=answer.receipt)
    assert (await remote.send([event])).stored == 1
    assert (await remote.send([event])).duplicates == 1


async def test_consent_and_privacy_signal_travel(remote, stub):
    await live(remote)
    visitor, now = uuid7(), stub.clock.now_ms()
    answers = [await remote.decide("ring", visitor=visitor, consent="granted", gpc=gpc) for gpc in (False, True)]
    tags = [stub.book.read(answer.receipt).visitor_tag for answer in answers]
    assert tags == [stub.book.visitor_tag(visitor), bytes(8)]
    events = [Impression(id=uuid7(now), at=now, receipt=answer.receipt, visitor=visitor) for answer in answers]
    for event, gpc in zip(events, (False, True), strict=True):
        await remote.send([event], consent="granted", gpc=gpc)
    assert [stub.rows[event.id].visitor_id for event in events] == [visitor, None]


async def test_problems_come_back_as_the_errors_they_were(remote, stub):
    with pytest.raises(NotFoundError) as error:
        await remote.decide("ring")
    assert error.value.field == "campaign"
    assert error.value.mend
    await live(remote)
    with pytest.raises(ConflictError, match="slug"):
        await live(remote)
    async with Remote("http://stub", key="key-1", token="wrong", transport=stub.transport()) as stranger:
        with pytest.raises(AuthError, match="token"):
            await stranger.move(1, "paused")
    async with Remote("http://stub", key="nobody", token=TOKEN, transport=stub.transport()) as stranger:
        with pytest.raises(NotFoundError, match="key"):
            await stranger.site()


async def test_being_turned_away_for_haste_says_what_to_set():
    problem = msgspec.json.encode(Problem(code="rate_limited", field="", problem="too many", mend="later"))
    async with answering(httpx.Response(429, content=problem, headers={"Retry-After": "17"})) as remote:
        with pytest.raises(RateLimitError, match="ARAUTO_RATE_LIMIT=0") as error:
            await remote.decide("ring")
    assert error.value.retry_after == 17


async def test_answers_that_are_no_problem_documents():
    async with answering(httpx.Response(502, text="<html>bad gateway")) as remote:
        with pytest.raises(StoreError, match="502"):
            await remote.decide("ring")
    async with answering(httpx.Response(418, text="teapot")) as remote:
        with pytest.raises(ArautoError, match="418"):
            await remote.decide("ring")


async def test_a_server_that_is_not_there_is_said():
    async with answering(httpx.ConnectError("refused")) as remote:
        with pytest.raises(NoAnswerError, match="http://there does not answer: refused"):
            await remote.decide("ring")
    async with answering(httpx.ReadTimeout("")) as remote:
        with pytest.raises(NoAnswerError, match="ReadTimeout"):
            await remote.send([Impression(id=uuid7(), at=0)])


async def test_events_are_sent_again_until_acknowledged(remote, stub):
    """The server stored them, but its answer was lost twice: they are counted once."""
    await live(remote)
    answer = await remote.decide("ring")
    now = stub.clock.now_ms()
    stub.fail = [Response(status_code=503), Response(status_code=503)]
    told = await remote.send([Impression(id=uuid7(now), at=now, receipt=answer.receipt)])
    assert (told.stored, told.duplicates) == (0, 1)
    assert len(stub.rows) == 1


async def test_refusals_are_not_sent_again():
    body = msgspec.json.encode(Problem(code="bad_receipt", field="receipt", problem="forged", mend="do not"))
    async with answering(httpx.Response(422, content=body), httpx.ConnectError("asked again")) as remote:
        with pytest.raises(ArautoError, match="forged"):
            await remote.send([Impression(id=uuid7(), at=0)])


class Page(BaseHTTPRequestHandler):
    """A server over the network: answers with what it was asked, and closes when told to."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, int]]] = []

    def do_GET(self):
        self.answer(b"[]")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json"
        if b"hurry" in body:
            self.answer(msgspec.json.encode(Problem(code="rate_limited", field="", problem="x", mend="")), 429)
        else:
            self.answer(msgspec.json.encode(EventsAnswer(stored=len(self.seen), duplicates=0, refused=[])))
            self.close_connection = b"leave" in body

    def answer(self, body, status=200):
        self.seen.append((self.path, self.client_address[1]))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "soon")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def page():
    Page.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/base/"
        server.shutdown()
        thread.join()


def rated(name="x"):
    return [Custom(id=uuid7(), at=0, name=name)]


async def test_over_the_network_one_connection_is_kept(page):
    async with Remote(page, key="k") as remote:
        assert [(await remote.send(rated())).stored for _ in range(3)] == [0, 1, 2]
        assert await remote.sites() == []
    assert [path for path, _ in Page.seen] == ["/base/v1/events"] * 3 + ["/base/v1/sites"]
    assert len({port for _, port in Page.seen}) == 1


async def test_over_the_network_many_at_once(page):
    async with Remote(page, key="k") as remote:
        answers = await asyncio.gather(*(remote.send(rated()) for _ in range(40)))
    assert len(answers) == len(Page.seen) == 40


async def test_a_connection_that_the_server_closed_is_made_anew(page):
    async with Remote(page, key="k") as remote:
        await remote.send(rated("leave"))
        await remote.send(rated())
    assert len(Page.seen) == 2
    assert len({port for _, port in Page.seen}) == 2


async def test_problems_over_the_network(page):
    async with Remote(page, key="k") as remote:
        with pytest.raises(RateLimitError) as error:
            await remote.send(rated("hurry"))
    assert error.value.retry_after == 1
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with Remote(f"http://127.0.0.1:{unused.getsockname()[1]}", key="k") as remote:
            with pytest.raises(NoAnswerError, match="arauto up"):
                await remote.decide("x")


@pytest.mark.parametrize("url", ["localhost:8800", "", "ftp://x", "http://", "http://x:port", "http://[x"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(InputError) as error:
        Remote(url, key="k")
    assert error.value.field == "url"
