"""A server of the test, and short ways to what tests do over and over."""

from uuid import UUID

from arauto.core.ids import uuid7

ORIGIN = "https://shop.example"


class World:
    def __init__(self, settings, runtime, clock, front, call, token):
        self.settings = settings
        self.runtime = runtime
        self.clock = clock
        self.front = front
        self.admin = {"authorization": f"Bearer {token}"}
        self._call = call
        self.key = ""
        self.campaign_id = 0
        self.slug = ""

    async def __call__(self, method, url, body=b"", headers=None, **options):
        return await self._call(self.front, method, url, body, headers, **options)

    async def ask(self, method, url, body=b""):
        """An admin's request that must succeed; its answer as data."""
        answer = await self(method, url, body, self.admin)
        assert answer.status < 300, answer.body
        return answer.json()

    async def launch(self, *, site="shop", arms=2, slug=None, **plan):
        """A live campaign of ``arms`` variants on a site with an origin."""
        made = await self.ask("POST", "/v1/sites", {"name": site, "origins": [ORIGIN]})
        copies = [{"title": f"t{n}", "description": "d", "image_suggestion": "i"} for n in range(arms)]
        body = {"site": site, "slug": slug, "brief": {"product": "watch"}, "copies": copies}
        campaign = await self.ask("POST", "/v1/campaigns", {**body, "plan": {"seed": 5, "refresh_ms": 0, **plan}})
        await self.ask("POST", f"/v1/campaigns/{campaign['id']}/state", {"state": "live"})
        self.key, self.campaign_id, self.slug = made["key"], campaign["id"], campaign["slug"]
        return campaign

    async def decide(self, headers=None, **query):
        answer = await self("POST", "/v1/decide", {"key": self.key, "campaign": self.slug, **query}, headers)
        assert answer.status == 200, answer.body
        return answer.json()

    def event(self, kind="impression", receipt=None, **fields):
        now = self.clock.now_ms()
        made = {"type": kind, "id": str(uuid7(now)), "at": now, **fields}
        return {**made, "receipt": receipt} if receipt else made

    async def send(self, *events, headers=None, **more):
        return await self("POST", "/v1/events", {"key": self.key, "events": events, **more}, headers)

    async def count(self, what="impressions"):
        totals = await self.runtime.store.rollups.totals(self.campaign_id)
        return sum(getattr(total, what) for total in totals)

    async def stored(self, visitor: UUID):
        return await self.runtime.store.privacy.export(visitor)
