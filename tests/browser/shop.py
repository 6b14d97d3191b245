"""A real server process, a shop's page that uses the snippet, and the questions that tests put to the store."""

import asyncio
import time

import httpx
import psycopg

from arauto.core.ids import uuid7
from arauto.core.settings import Settings
from tests.browser.stub import Stub

COPIES = [
    {"title": f"Título {name}", "description": f"Descrição {name}", "image_suggestion": "Um relógio"} for name in "ab"
]


class Shop:
    """One site with one live campaign on a running server; its pages are served from an origin of their own."""

    def __init__(self, server, settings: Settings, pages: Stub, name: str):
        self.url = server.url
        self.token = server.token
        self.pages = pages
        self.name = name
        self._dsn = settings.database_url.reveal()
        # Plain HTTP to this machine: no certificates to read.
        self._admin = httpx.AsyncClient(
            base_url=server.url, headers={"Authorization": f"Bearer {server.token}"}, timeout=60, verify=False
        )

    async def open(self, copies=COPIES, **plan):
        self.key = (await self.ask("POST", "/v1/sites", name=self.name, origins=[self.pages.url]))["key"]
        brief = {"product": "relógio", "link": f"{self.pages.url}/shop", "call_to_action": "Saiba mais"}
        plan = {"refresh_ms": 0, "seed": 7, **plan}
        campaign = await self.ask(
            "POST", "/v1/campaigns", site=self.name, slug=self.name, brief=brief, copies=copies, plan=plan
        )
        self.campaign = campaign["id"]
        await self.ask("POST", f"/v1/campaigns/{self.campaign}/state", state="live")
        return self

    async def close(self):
        await self._admin.aclose()

    async def ask(self, method, path, **body):
        answer = await self._admin.request(method, path, json=body or None)
        assert answer.is_success, answer.text
        return answer.json()

    def page(self, body=None, consent="", path="/page"):
        """The address of a page with this shop's slot, or with ``body``."""
        slot = f'<div data-arauto="{self.name}" id="slot">default</div>'
        more = f'data-key="{self.key}"' + (f' data-consent="{consent}"' if consent else "")
        return self.pages.page(
            slot if body is None else body, more, path=path, script=f"{self.url}/arauto.js", key=None
        )

    async def visits(self, number, *, clicks=0, load=None):
        """So many visits told over HTTP, the first ``clicks`` of them with a click."""
        events = []
        for place in range(number):
            asked = {"key": self.key, "campaign": self.name, "device": "mobile" if place % 3 else "desktop"}
            receipt = (await self.ask("POST", "/v1/decide", **asked))["receipt"]
            kinds = [{"type": "impression"}, *([{"type": "click"}] if place < clicks else [])]
            if load:
                kinds.append({"type": "web_vital", "metric": "load", "reading": load + place})
            now = time.time_ns() // 1_000_000
            events += [{**kind, "id": str(uuid7()), "at": now, "receipt": receipt} for kind in kinds]
        for begin in range(0, len(events), 100):
            await self.ask("POST", "/v1/events", key=self.key, events=events[begin : begin + 100])

    async def report(self):
        return await self.ask("GET", f"/v1/campaigns/{self.campaign}/report")

    async def rows(self, query, *values):
        """What the database answers, asked beside the server."""

        def fetch():
            with psycopg.connect(self._dsn) as connection:
                return connection.execute(query, values or None).fetchall()

        return await asyncio.to_thread(fetch)

    async def types(self):
        """How many events of each type the store has of this campaign."""
        found = await self.rows(
            "SELECT type::text, count(*) FROM events WHERE campaign_id = %s GROUP BY 1", self.campaign
        )
        return dict(found)

    async def dump(self):
        """Every row of every table, as text."""
        tables = await self.rows(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        assert len(tables) > 10
        return "\n".join(
            [row for (table,) in tables for (row,) in await self.rows(f"SELECT t::text FROM {table} AS t")]
        )
