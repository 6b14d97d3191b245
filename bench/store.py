"""Ten million events through the same append as live ones; then the dashboard's questions, and a full recount.

The rows are what pages send: an impression, two load times and at times a click, a cart and a purchase for each
decision, spread over 30 days, 5 campaigns of 4 variants, 3 kinds of device; half of the visitors gave consent.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from arauto.core.brief import Brief
from arauto.core.campaign import DAY_MS, CampaignPlan, Copy, Origin
from arauto.core.events import EventRow
from arauto.core.ids import uuid7
from arauto.core.settings import Settings
from arauto.creative import compose_message
from arauto.store import Store

BATCH = 5_000
CAMPAIGNS = 5
VARIANTS = 4
DAYS = 30
ASKED = 25
"""How often each question is asked; the median counts."""
SEGMENTS = ("desktop", "mobile", "tablet")


async def make_campaigns(store: Store) -> tuple[int, list[tuple[int, list[int]]]]:
    site = await store.catalogue.ensure_site("bench", [])
    campaigns = []
    for number in range(CAMPAIGNS):
        brief = Brief(product=f"product {number}")
        made = await store.catalogue.create_campaign(
            site.id, f"bench-{number}", brief.product, brief, compose_message(brief), CampaignPlan(), "bench"
        )
        copies = [
            (Copy(title=f"title {place}", description=f"text {place}", image_suggestion=""), Origin(engine="given"))
            for place in range(VARIANTS)
        ]
        variants = await store.catalogue.add_kit(made.id, copies, {}, "bench")
        campaigns.append((made.id, [variant.id for variant in variants]))
    return site.id, campaigns


def pages(site: int, campaigns: list[tuple[int, list[int]]], events: int, now: int, seed: int) -> Iterator[EventRow]:
    """``events`` rows, page after page in the order of time."""
    dice = random.Random(seed)
    made = 0
    expected = events / 3.3
    while made < events:
        at = now - DAYS * DAY_MS + int(made / 3.3 / expected * (DAYS * DAY_MS - 3_600_000))
        campaign, variants = campaigns[int(dice.random() ** 2 * CAMPAIGNS)]
        variant = dice.choice(variants)
        shared: dict[str, Any] = {
            "site_id": site,
            "decision_id": uuid7(at),
            "campaign_id": campaign,
            "variant_id": variant,
            "propensity": 0.25,
            "policy_version": 1,
            "segment": dice.choice(SEGMENTS),
            "occurred_ms": at,
            "received_ms": at + 900,
        }
        if dice.random() < 0.5:
            shared["visitor_id"] = UUID(int=dice.getrandbits(128), version=4)
        told: list[dict[str, Any]] = [{"type": "impression"}]
        for metric, middle in (("LCP", 1800.0), ("load", 2400.0)):
            reading = middle * dice.lognormvariate(0, 0.4)
            told.append({"type": "web_vital", "metric": metric, "reading": reading, "ref": metric})
        if dice.random() < 0.08:
            told.append({"type": "click"})
            if dice.random() < 0.3:
                told.append({"type": "cart"})
                if dice.random() < 0.4:
                    cents = dice.randint(990, 99_000)
                    told.append({"type": "purchase", "value_cents": cents, "currency": "BRL", "ref": "o1"})
        for facts in told:
            yield EventRow(event_id=uuid7(at), **shared, **facts)
        made += len(told)


async def load(store: Store, rows: Iterator[EventRow]) -> tuple[int, float]:
    """Append everything; rows, and seconds in ``append`` (making the rows is not counted)."""
    total, seconds = 0, 0.0
    batch: list[EventRow] = []

    async def write() -> None:
        nonlocal total, seconds
        began = time.perf_counter()
        done = await store.events.append(batch)
        seconds += time.perf_counter() - began
        if any(status != "stored" for status in done.status):
            raise RuntimeError(f"not stored: {set(done.status)}")
        total += len(batch)
        if total % 500_000 < BATCH:
            print(f"{total:,} events, {total / seconds:,.0f} a second", flush=True)

    for row in rows:
        batch.append(row)
        if len(batch) >= BATCH:
            await write()
            batch = []
    if batch:
        await write()
    return total, seconds


async def ask(question: Callable[[], Awaitable[Any]]) -> dict[str, float]:
    times = []
    for _ in range(ASKED):
        began = time.perf_counter()
        await question()
        times.append((time.perf_counter() - began) * 1000)
    return {"median_ms": round(statistics.median(times), 2), "max_ms": round(max(times), 2)}


async def run(home: Path, events: int, seed: int) -> dict[str, Any]:
    async with await Store.open(Settings(home=home)) as store:
        site, campaigns = await make_campaigns(store)
        now = time.time_ns() // 1_000_000
        total, seconds = await load(store, pages(site, campaigns, events, now, seed))
        busiest = campaigns[0][0]
        since = now - 4 * 3_600_000  # the last page was an hour ago
        rollups = store.rollups
        questions = {
            "totals": await ask(lambda: rollups.totals(busiest)),
            "series by hour, 30 days": await ask(lambda: rollups.series(busiest, step="hour")),
            "series by minute, 3 hours": await ask(lambda: rollups.series(busiest, step="minute", since_ms=since)),
            "vitals": await ask(lambda: rollups.vitals(busiest)),
        }
        began = time.perf_counter()
        equal = True
        for campaign, _ in campaigns:
            recount = await rollups.recount(campaign)
            equal &= recount.totals == await rollups.totals(campaign)
            equal &= recount.hours == await rollups.series(campaign, step="hour")
            equal &= recount.minutes == await rollups.series(campaign, step="minute")
            equal &= recount.vitals == await rollups.vitals(campaign)
        recount_s = time.perf_counter() - began
    return {
        "passed": equal and all(question["median_ms"] < 50 for question in questions.values()),
        "events": total,
        "append_batch": BATCH,
        "append_events_a_second": round(total / seconds),
        "questions": questions,
        "rollups_equal_a_full_recount": equal,
        "full_recount_s": round(recount_s, 1),
        "slowest_question_against_recount": round(
            recount_s * 1000 / CAMPAIGNS / max(question["median_ms"] for question in questions.values())
        ),
        "seed": seed,
    }


def main(events: int = 10_000_000, seed: int = 0) -> dict[str, Any]:
    """Load, ask, recount; the answer goes to ``bench/results/store.json``."""
    with tempfile.TemporaryDirectory(prefix="arauto-store-") as folder:
        # The database's own user must be able to enter.
        Path(folder).chmod(0o755)
        return asyncio.run(run(Path(folder) / "home", events, seed))


if __name__ == "__main__":
    print(msgspec.json.format(msgspec.json.encode(main(*(int(word) for word in sys.argv[1:]))), indent=2).decode())
