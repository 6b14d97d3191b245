"""The public and admin routes in memory: the real decider and the real door in front of a dictionary.

What replay and simulation need of a server, without a database: the same arms for the same seed and events.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from uuid import UUID

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from arauto.core.brief import Brief, Message
from arauto.core.campaign import Campaign, CampaignPlan, Copy, Origin, Site, Variant
from arauto.core.clock import FakeClock
from arauto.core.errors import ArautoError, AuthError, ConflictError
from arauto.core.events import DecideQuery, EventRow
from arauto.core.receipts import ReceiptBook
from arauto.loop.admit import admit, read_batch
from arauto.loop.answers import EventsAnswer
from arauto.loop.decide import Decider
from arauto.loop.policy import make_policy

TOKEN = "let-me-in"


class Totals(msgspec.Struct):
    variant_id: int
    impressions: int = 0
    clicks: int = 0
    purchases: int = 0
    ratings: int = 0
    rating_sum: int = 0


class Stub:
    """``app`` answers; ``rows`` are the different events that were kept."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.book = ReceiptBook(b"s" * 32)
        self.decider = Decider(self.book, self.clock)
        self.site = Site(id=1, name="shop", key="key-1")
        self.decider.know([self.site])
        self.campaigns: dict[int, Campaign] = {}
        self.variants: dict[int, list[Variant]] = defaultdict(list)
        self.rows: dict[UUID, EventRow] = {}
        self.told: set[tuple[UUID | None, str, str]] = set()
        self.totals: dict[int, Totals] = {}
        self.decisions = 0
        self.calls: Counter[str] = Counter()
        self.fail: list[Response] = []
        """Answers to give instead of an acknowledgement, after the events were kept."""
        self.app = Starlette(
            routes=[
                Route("/v1/decide", self.decide, methods=["POST"]),
                Route("/v1/events", self.events, methods=["POST"]),
                Route("/v1/sites", self.sites),
                Route("/v1/campaigns", self.create, methods=["POST"]),
                Route("/v1/campaigns/{id:int}/variants", self.add, methods=["POST"]),
                Route("/v1/campaigns/{id:int}/state", self.move, methods=["POST"]),
            ],
            exception_handlers={ArautoError: self.problem},
        )

    def transport(self) -> httpx.ASGITransport:
        return httpx.ASGITransport(self.app)

    async def problem(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, ArautoError)
        return Response(msgspec.json.encode(error.as_problem()), error.status, media_type="application/json")

    async def decide(self, request: Request) -> Response:
        self.decisions += 1
        query = msgspec.json.decode(await request.body(), type=DecideQuery)
        return Response(self.decider.decide(query, gpc="sec-gpc" in request.headers))

    async def events(self, request: Request) -> Response:
        batch = read_batch(await request.body())
        private = batch.consent != "granted" or "sec-gpc" in request.headers
        done = admit(batch, self.site, self.campaigns, self.book, self.clock.now_ms(), private=private)
        fresh = 0
        for row in done.rows:
            meaning = (row.decision_id or row.visitor_id, row.type, row.metric or row.ref)
            if row.event_id not in self.rows and meaning not in self.told:
                self.rows[row.event_id] = row
                self.told.add(meaning)
                self.count(row)
                fresh += 1
        for campaign_id in {row.campaign_id for row in done.rows if row.campaign_id}:
            self.renew(campaign_id)
        if self.fail:
            return self.fail.pop()
        answer = EventsAnswer(stored=fresh, duplicates=len(done.rows) - fresh, refused=done.problems)
        return Response(msgspec.json.encode(answer))

    def count(self, row: EventRow) -> None:
        if row.variant_id is not None:
            total = self.totals.setdefault(row.variant_id, Totals(row.variant_id))
            total.impressions += row.type == "impression"
            total.clicks += row.type == "click"

    def renew(self, campaign_id: int) -> None:
        campaign, variants = self.campaigns[campaign_id], self.variants[campaign_id]
        totals = [self.totals[variant.id] for variant in variants if variant.id in self.totals]
        policy = make_policy(campaign, variants, totals, self.decider.seed_of(campaign))
        self.decider.put(self.site, campaign, variants, policy)

    async def sites(self, request: Request) -> Response:
        return Response(msgspec.json.encode([Site(id=7, name="other", key="key-7"), self.site]))

    async def _admin(self, request: Request) -> dict:
        self.calls[request.url.path] += 1
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            raise AuthError("is not the token", field="Authorization", mend="send the admin token")
        return msgspec.json.decode(await request.body())

    async def create(self, request: Request) -> Response:
        body = await self._admin(request)
        if any(campaign.slug == body["slug"] for campaign in self.campaigns.values()):
            raise ConflictError("is taken", field="slug", mend="choose another")
        campaign = Campaign(
            id=len(self.campaigns) + 1,
            site_id=body["site"],
            slug=body["slug"],
            name=body["name"],
            brief=msgspec.convert(body["brief"], Brief, strict=False),
            message=Message(language="en", product="x", call_to_action="Learn more"),
            plan=msgspec.convert(body["plan"], CampaignPlan),
        )
        self.campaigns[campaign.id] = campaign
        detail = {**msgspec.to_builtins(campaign), "variants": self.put(campaign.id, body["copies"]), "job": None}
        return Response(msgspec.json.encode(detail), 201)

    async def add(self, request: Request) -> Response:
        body = await self._admin(request)
        return Response(msgspec.json.encode(self.put(request.path_params["id"], body["copies"])), 201)

    def put(self, campaign_id: int, copies: list[dict]) -> list[Variant]:
        known = self.variants[campaign_id]
        for copy in msgspec.convert(copies, list[Copy]):
            number = len(known) + 1
            known.append(
                Variant(
                    id=100 * campaign_id + number,
                    campaign_id=campaign_id,
                    name=f"v{number}",
                    copy=copy,
                    origin=Origin(engine="given"),
                )
            )
        return known

    async def move(self, request: Request) -> Response:
        body = await self._admin(request)
        campaign_id = request.path_params["id"]
        self.campaigns[campaign_id] = msgspec.structs.replace(self.campaigns[campaign_id], state=body["state"])
        self.renew(campaign_id)
        return Response(msgspec.json.encode(self.campaigns[campaign_id]))
