"""Made-up visitors that behave as the browser snippet does, and remember what they were told.

A page asks for a decision and waits 1.5 s, else its own content stays. Its events wait until a good answer came: sent
again unchanged, after a pause that doubles (to a second here, where the snippet goes to a minute).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import Any
from uuid import UUID

import httpx
import msgspec

from arauto.core.ids import uuid7
from arauto.store import Store

PAGE_S = 1.5
EVENTS_S = 10.0
PACE_S = 0.2
"""Between two pages of one visitor."""
BATCH = 50


class Ask(msgspec.Struct, frozen=True):
    """One request: when it began and how long it took, by a clock that never jumps; status 0: no answer."""

    at: float
    seconds: float
    status: int
    patient: bool = False
    """Whether a refusal said when to come back."""


class Ledger(msgspec.Struct):
    """What the visitors did and were told."""

    decides: list[Ask] = []
    sends: list[Ask] = []
    waits: list[tuple[float, float]] = []
    """Of each acknowledged event: when it happened, and how long until it was acknowledged."""
    acknowledged: set[UUID] = msgspec.field(default_factory=set)
    sent: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    refused: list[str] = []


class Visitor:
    """One page after the other; what it has to tell waits in ``waiting``."""

    def __init__(
        self, urls: list[str], key: str, slug: str, ledger: Ledger, dice: random.Random, pace: float = PACE_S
    ) -> None:
        self._urls, self._key, self._slug = urls, key, slug
        self._ledger, self._dice, self._pace = ledger, dice, pace
        self._waiting: list[tuple[float, dict[str, Any]]] = []
        self._ending = False
        self._silent = False
        self.resting = False
        """While set, no page is opened."""

    async def run(self) -> None:
        limits = httpx.Limits(max_keepalive_connections=4)
        async with httpx.AsyncClient(timeout=EVENTS_S, limits=limits) as http:
            telling = asyncio.create_task(self._tell(http))
            while not self._ending:
                began = time.monotonic()
                if not self.resting:
                    await self._page(http)
                await asyncio.sleep(max(0.0, self._pace * self._dice.uniform(0.5, 1.5) - (time.monotonic() - began)))
            # The last page may still have had something to tell.
            self._silent = True
            await telling

    def end(self) -> None:
        """Open no more pages; tell what waits, then end."""
        self._ending = True

    async def _page(self, http: httpx.AsyncClient) -> None:
        body = {"key": self._key, "campaign": self._slug}
        url = self._dice.choice(self._urls)
        began = time.monotonic()
        try:
            answer = await http.post(f"{url}/v1/decide", json=body, timeout=PAGE_S)
        except httpx.TransportError:
            self._ledger.decides.append(Ask(began, time.monotonic() - began, 0))
            return
        self._ledger.decides.append(_ask(began, answer))
        if answer.status_code != 200:
            return
        decision = answer.json()
        kinds = ["impression"] + ["click"] * (self._dice.random() < 0.4) + ["purchase"] * (self._dice.random() < 0.2)
        self._dice.shuffle(kinds)
        now = time.time_ns() // 1_000_000
        for place, kind in enumerate(kinds):
            event = {"type": kind, "id": str(uuid7(now)), "at": now, "receipt": decision["receipt"]}
            if kind == "purchase":
                event |= {"value": 19.9, "currency": "BRL", "order": f"o{place}"}
            self._ledger.sent[decision["variant"], kind] += 1
            self._waiting.append((time.monotonic(), event))

    async def _tell(self, http: httpx.AsyncClient) -> None:
        tries = 0
        while self._waiting or not self._silent:
            part = self._waiting[:BATCH]
            if not part or tries:
                await asyncio.sleep(min(1.0, 0.1 * 2**tries) * self._dice.uniform(0.5, 1.5))
            if not part:
                continue
            if await self._send(http, part):
                # Whoever closed the page too soon does not know, and tells it once more.
                if self._dice.random() < 0.1:
                    await self._send(http, part)
                del self._waiting[: len(part)]
                tries = 0
            else:
                tries += 1

    async def _send(self, http: httpx.AsyncClient, part: list[tuple[float, dict[str, Any]]]) -> bool:
        events = [event for _, event in part]
        body = msgspec.json.encode({"key": self._key, "consent": "granted", "events": events})
        began = time.monotonic()
        try:
            answer = await http.post(f"{self._dice.choice(self._urls)}/v1/events", content=body)
        except httpx.TransportError:
            self._ledger.sends.append(Ask(began, time.monotonic() - began, 0))
            return False
        self._ledger.sends.append(_ask(began, answer))
        if answer.status_code == 429 or answer.status_code >= 500:
            return False
        told = answer.json()
        if answer.status_code != 200 or told["stored"] + told["duplicates"] != len(events):
            self._ledger.refused.append(f"{answer.status_code} {answer.text[:300]}")
        now = time.monotonic()
        self._ledger.waits += [
            (at, now - at) for at, event in part if UUID(event["id"]) not in self._ledger.acknowledged
        ]
        self._ledger.acknowledged.update(UUID(event["id"]) for event in events)
        return True


def _ask(began: float, answer: httpx.Response) -> Ask:
    return Ask(began, time.monotonic() - began, answer.status_code, "retry-after" in answer.headers)


async def balance(store: Store, url: str, campaign_id: int, ledger: Ledger) -> dict[str, Any]:
    """Ledger, log and counters compared: what was acknowledged is there once, and the counters say what was sent."""
    import psycopg

    totals = await store.rollups.totals(campaign_id)
    recount = await store.rollups.recount(campaign_id)
    names = {variant.id: variant.name for variant in await store.catalogue.variants(campaign_id)}
    async with await psycopg.AsyncConnection.connect(url) as connection:
        rows = await (await connection.execute("SELECT event_id FROM events")).fetchall()
    kept = Counter(row[0] for row in rows)
    counted: Counter[tuple[str, str]] = Counter()
    for row in totals:
        for kind, number in (("impression", row.impressions), ("click", row.clicks), ("purchase", row.orders)):
            counted[names[row.variant_id], kind] += number
    return {
        "acknowledged_events": len(ledger.acknowledged),
        "lost": len(ledger.acknowledged - kept.keys()),
        "stored_twice": sum(number - 1 for number in kept.values()),
        "miscounted": sum(abs(counted[key] - ledger.sent[key]) for key in counted.keys() | ledger.sent.keys()),
        "rollups_equal_recount": totals == recount.totals,
        "refused": ledger.refused[:3],
    }
