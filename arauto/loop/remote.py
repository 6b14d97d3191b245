"""A running server, as replay and simulation see it: over HTTP and nothing else, the way a site's pages would.

Every problem that the server answers comes back as the error of :mod:`arauto.core.errors` that it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from types import TracebackType
from typing import Any, Literal, NamedTuple, Protocol, Self, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import msgspec

from arauto.core.brief import Brief
from arauto.core.campaign import Campaign, CampaignPlan, CampaignState, Copy, Site, Variant
from arauto.core.errors import ArautoError, InputError, NotFoundError, Problem, RateLimitError, StoreError
from arauto.core.events import DecideQuery, Device, Event, EventBatch
from arauto.loop.answers import CampaignDetail, DecideAnswer, EventsAnswer
from arauto.loop.report import Report
from arauto.store import JobStatus

T = TypeVar("T")
Consent = Literal["granted", "denied"]

RETRIES = 4
"""How often a batch of events is sent again, after 0.1, 0.2, 0.4 … seconds. Event ids make the repeats harmless."""
TIMEOUT_S = 30.0
THREADS = 64
"""Requests under way at once, at most."""
_JSON = {"Content-Type": "application/json"}
_GPC = {**_JSON, "Sec-GPC": "1"}


class Remote:
    """One site of one server. ``key`` is the site's public key; ``token`` the admin's, needed to create campaigns."""

    def __init__(
        self, base_url: str, *, key: str, token: str = "", transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.key = key
        self._url = base_url.rstrip("/")
        self._admin = {**_JSON, "Authorization": f"Bearer {token}"}
        self._wire: _Wire = _Given(self._url, transport) if transport else _Pool(self._url)
        self._encode = msgspec.json.Encoder().encode
        self._decision = msgspec.json.Decoder(DecideAnswer).decode
        self._events = msgspec.json.Decoder(EventsAnswer).decode

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._wire.close()

    async def decide(
        self,
        campaign: str,
        *,
        visitor: UUID | None = None,
        consent: Consent = "denied",
        device: Device | None = None,
        gpc: bool = False,
    ) -> DecideAnswer:
        """Ask what to show. Not repeated on failure: a lost decision costs nothing but its place in the draw."""
        query = DecideQuery(key=self.key, campaign=campaign, visitor=visitor, consent=consent, device=device)
        return self._decision(await self._post("/v1/decide", self._encode(query), _GPC if gpc else _JSON))

    async def send(self, events: Sequence[Event], *, consent: Consent = "denied", gpc: bool = False) -> EventsAnswer:
        """Send events, again and again while the server cannot be reached or cannot store them."""
        body = self._encode(EventBatch(key=self.key, events=list(events), consent=consent))
        for attempt in range(RETRIES):
            try:
                return self._events(await self._post("/v1/events", body, _GPC if gpc else _JSON))
            except (StoreError, NoAnswerError):
                await _pause(0.1 * 2**attempt)
        return self._events(await self._post("/v1/events", body, _GPC if gpc else _JSON))

    async def site(self) -> Site:
        """The site that the key belongs to."""
        for site in await self.sites():
            if site.key == self.key:
                return site
        raise NotFoundError("is not the key of a site of this server", field="key", mend="copy the site's key again")

    async def create(
        self, slug: str, name: str, brief: Brief, plan: CampaignPlan, copies: Sequence[Copy] = ()
    ) -> CampaignDetail:
        """A new campaign of the site with these texts and no others, a draft still."""
        site = await self.site()
        new = {"site": site.id, "slug": slug, "name": name, "brief": brief, "plan": plan, "copies": list(copies)}
        return await self.draft(new)

    async def draft(self, new: dict[str, Any]) -> CampaignDetail:
        """A new campaign from the body of ``POST /v1/campaigns``, a draft still."""
        return await self._admin_post("/v1/campaigns", new, CampaignDetail)

    async def sites(self) -> list[Site]:
        """All the sites of the server."""
        return msgspec.json.decode(await self._get("/v1/sites"), type=list[Site])

    async def report(self, campaign_id: int) -> Report:
        """Where a campaign stands."""
        return msgspec.json.decode(await self._get(f"/v1/campaigns/{campaign_id}/report"), type=Report)

    async def job(self, job_id: int) -> JobStatus:
        """How far a background job is."""
        return msgspec.json.decode(await self._get(f"/v1/jobs/{job_id}"), type=JobStatus)

    async def add(self, campaign_id: int, copies: Sequence[Copy]) -> list[Variant]:
        """Add variants with given texts, in their order."""
        return await self._admin_post(f"/v1/campaigns/{campaign_id}/variants", {"copies": list(copies)}, list[Variant])

    async def move(self, campaign_id: int, state: CampaignState) -> Campaign:
        """Launch, pause or end a campaign."""
        return await self._admin_post(f"/v1/campaigns/{campaign_id}/state", {"state": state}, Campaign)

    async def _admin_post(self, path: str, body: dict[str, Any], kind: type[T]) -> T:
        return msgspec.json.decode(await self._post(path, self._encode(body), self._admin), type=kind)

    async def _get(self, path: str) -> bytes:
        return await self._ask("GET", path, None, self._admin)

    async def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        return await self._ask("POST", path, body, headers)

    async def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        try:
            answer = await self._wire.ask(method, path, body, headers)
        except (httpx.TransportError, HTTPException, OSError) as failure:
            raise NoAnswerError(
                f"{self._url} does not answer: {str(failure) or type(failure).__name__}",
                field="url",
                mend="start the server with `arauto up`, or correct the address",
            ) from failure
        if 200 <= answer.status < 300:
            return answer.content
        raise _as_error(answer)


class _Answer(NamedTuple):
    status: int
    content: bytes
    retry_after: str


class _Wire(Protocol):
    """How a request gets to the server."""

    async def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> _Answer: ...
    async def close(self) -> None: ...


class _Given:
    """Through a transport of httpx: an application in this process, or a scripted one."""

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport) -> None:
        self._client = httpx.AsyncClient(base_url=url, transport=transport)

    async def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> _Answer:
        response = await self._client.request(method, path, content=body, headers=headers)
        return _Answer(response.status_code, response.content, response.headers.get("Retry-After", ""))

    async def close(self) -> None:
        await self._client.aclose()


class _Pool:
    """Over the network, with the standard library's client in threads.

    A replay is ten thousand small requests, one after the other, on the machine that also serves them; for one of them
    this client needs a tenth of the CPU time of httpx.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            self._host, self._port, self._prefix = parts.hostname or "", parts.port, parts.path
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                f"{url!r} is not the address of a server", field="url", mend="give one such as http://127.0.0.1:8800"
            )
        self._kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._idle: list[HTTPConnection] = []
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="remote")

    async def ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> _Answer:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._exchange, method, path, body, headers)

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        while self._idle:
            self._idle.pop().close()

    def _exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> _Answer:
        try:
            return self._speak(self._idle.pop(), method, path, body, headers)
        except IndexError:
            pass
        except (HTTPException, ConnectionError):
            # The server let go of a connection that was idle; once more, on a new one.
            pass
        return self._speak(self._kind(self._host, self._port, timeout=TIMEOUT_S), method, path, body, headers)

    def _speak(
        self, connection: HTTPConnection, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> _Answer:
        try:
            connection.request(method, self._prefix + path, body, headers)
            response = connection.getresponse()
            answer = _Answer(response.status, response.read(), response.getheader("Retry-After", ""))
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return answer


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


class NoAnswerError(NotFoundError):
    """The server cannot be reached."""

    code = "no_answer"


def _as_error(answer: _Answer) -> ArautoError:
    """The server's problem, as the error it was."""
    try:
        problem = msgspec.json.decode(answer.content, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = Problem(code="", field="", problem=f"the server answered {answer.status}", mend="")
    if answer.status == RateLimitError.status:
        return RateLimitError(
            problem.problem,
            field=problem.field,
            mend="set ARAUTO_RATE_LIMIT=0 where the server runs, while traffic comes from one address",
            retry_after=int(answer.retry_after) if answer.retry_after.isdecimal() else 1,
        )
    kind = _kinds(ArautoError).get(problem.code, StoreError if answer.status >= 502 else ArautoError)
    return kind(problem.problem, field=problem.field, mend=problem.mend)


def _kinds(root: type[ArautoError]) -> dict[str, type[ArautoError]]:
    known = {root.code: root}
    for kind in root.__subclasses__():
        known.update(_kinds(kind))
    return known
