"""Makers of rows, and a model of the log in plain Python to hold the database against."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from arauto.core.brief import Brief, Message
from arauto.core.campaign import Campaign, CampaignPlan, Copy, Origin, Variant
from arauto.core.events import MARKS, EventRow
from arauto.core.ids import uuid7
from arauto.store import COUNTERS, ArmTotals, SeriesPoint, StageMark, StageTotals, Store, bucket_of

NOW = 1_795_300_000_000  # 2026-11-21
BRIEF = Brief(product="Pulse 2", prompt="um smartwatch")
MESSAGE = Message(language="pt-BR", product="Pulse 2", call_to_action="Saiba mais")


async def new_campaign(
    store: Store, slug: str = "pulse", *, arms: int = 3, site: str = "shop", **plan: Any
) -> tuple[Campaign, list[Variant]]:
    """A campaign with that many variants."""
    home = await store.catalogue.ensure_site(site, ["https://shop.test"])
    campaign = await store.catalogue.create_campaign(home.id, slug, slug, BRIEF, MESSAGE, CampaignPlan(**plan), "test")
    copies = [
        (Copy(title=f"{slug} {n}", description="d", image_suggestion="i"), Origin(engine="slot")) for n in range(arms)
    ]
    return campaign, await store.catalogue.add_kit(campaign.id, copies, {}, "test")


def tomb_of(visitor: UUID) -> str:
    """Stands for the keyed hash that the receipt book makes."""
    return f"{visitor.int ^ (1 << 127) - 1:032x}"


@dataclass
class Decisions:
    """Makes decisions of a campaign and rows about them."""

    campaign: Campaign
    variants: list[Variant]
    rng: random.Random = field(default_factory=lambda: random.Random(7))

    def new(
        self,
        *,
        at_ms: int = NOW,
        variant: int = 0,
        segment: str = "mobile",
        visitor: UUID | None = None,
        stage: int = 0,
    ) -> Told:
        arm = self.variants[variant].id
        return Told(uuid7(at_ms), self.campaign.id, self.campaign.site_id, arm, segment, visitor, at_ms, stage)


@dataclass
class Told:
    """One decision: each method is a row about it."""

    decision: UUID
    campaign_id: int
    site_id: int
    variant_id: int
    segment: str
    visitor: UUID | None
    at_ms: int
    stage: int = 0

    def row(
        self, kind: str, *, event_id: UUID | None = None, after_ms: int = 1000, propensity: float = 0.25, **rest: Any
    ) -> EventRow:
        at = self.at_ms + after_ms
        return EventRow(
            event_id=event_id or uuid7(at),
            type=kind,  # type: ignore[arg-type]
            site_id=self.site_id,
            occurred_ms=at,
            received_ms=at + 40,
            decision_id=self.decision,
            campaign_id=self.campaign_id,
            variant_id=self.variant_id,
            propensity=propensity,
            policy_version=3,
            segment=self.segment,
            stage=self.stage,
            visitor_id=self.visitor,
            tomb=tomb_of(self.visitor) if self.visitor else None,
            **rest,
        )

    def purchase(self, order: str, cents: int, **rest: Any) -> EventRow:
        return self.row("purchase", ref=order, value_cents=cents, currency="BRL", **rest)

    def vital(self, metric: str, reading: float, **rest: Any) -> EventRow:
        return self.row("web_vital", metric=metric, reading=reading, **rest)


def loose(
    kind: str, site_id: int, visitor: UUID | None, at_ms: int = NOW, *, event_id: UUID | None = None, **rest: Any
) -> EventRow:
    """An event without a decision."""
    return EventRow(
        event_id=event_id or uuid7(at_ms),
        type=kind,  # type: ignore[arg-type]
        site_id=site_id,
        occurred_ms=at_ms,
        received_ms=at_ms + 40,
        visitor_id=visitor,
        tomb=tomb_of(visitor) if visitor else None,
        **rest,
    )


@dataclass
class Seen:
    """The model's exposure."""

    campaign: int
    variant: int
    segment: str
    decided_ms: int
    stage: int = 0
    visitor: UUID | None = None
    shown_ms: int | None = None
    words: set[tuple[str, str]] = field(default_factory=set)
    orders: list[int] = field(default_factory=list)
    score: int | None = None
    readings: dict[str, int] = field(default_factory=dict)

    def add(self, row: EventRow, word: tuple[str, str]) -> None:
        self.visitor = self.visitor or row.visitor_id
        if tells_once(row):
            self.words.add(word)
        if row.type == "impression":
            self.shown_ms = row.occurred_ms
        elif row.type == "purchase":
            self.orders.append(row.value_cents or 0)
        elif row.type == "rating":
            self.score = row.score
        elif row.type == "web_vital":
            self.readings[row.metric or ""] = bucket_of(row.reading or 0)

    def counts(self) -> dict[str, int]:
        said = {kind for kind, _ in self.words}
        value, score = sum(self.orders), self.score or 0
        return {
            "impressions": 1,
            "views": int("view" in said),
            "clicks": int("click" in said),
            "carts": int("cart" in said),
            "purchases": int("purchase" in said),
            "orders": len(self.orders),
            "value_cents": value,
            "value_sq": value * value,
            "ratings": int(self.score is not None),
            "rating_sum": score,
            "rating_sq": score * score,
        }


class Model:
    """What the log should hold after any appends: as plain as it can be said."""

    def __init__(self, window_ms: dict[int, int] | None = None, sites: dict[int, int] | None = None) -> None:
        self.events: dict[UUID, tuple[UUID | None, UUID | None]] = {}
        """By event id: its decision, and its visitor when it has none."""
        self.seen: dict[UUID, Seen] = {}
        self.erased: set[str] = set()
        self.window_ms, self.sites = window_ms or {}, sites or {}

    def append(self, rows: list[EventRow]) -> list[str]:
        status = [""] * len(rows)
        joins = [r.decision_id is None and r.visitor_id is not None and r.type in JOINS for r in rows]
        for n, row in enumerate(rows):
            if not joins[n]:
                status[n] = self._one(row, row.decision_id)
        found = {n: self._last(row) for n, row in enumerate(rows) if joins[n]}
        for n, decision in found.items():
            status[n] = self._one(rows[n], decision)
        return status

    def _one(self, row: EventRow, decision: UUID | None) -> str:
        if row.tomb in self.erased:
            return "erased"
        seen = self.seen.get(decision) if decision else None
        word = (row.type, row.metric or row.name or row.ref)
        if seen is not None and tells_once(row) and word in seen.words:
            seen.visitor = seen.visitor or row.visitor_id
            return "duplicate"
        if row.event_id in self.events:
            return "duplicate"
        self.events[row.event_id] = (decision, None if decision else row.visitor_id)
        if decision is None:
            return "stored"
        if seen is None:
            seen = Seen(row.campaign_id or 0, row.variant_id or 0, row.segment, decision.int >> 80, row.stage)
            self.seen[decision] = seen
        seen.add(row, word)
        return "stored"

    def _last(self, row: EventRow) -> UUID | None:
        best = max(
            (
                (seen.shown_ms, decision.int)
                for decision, seen in self.seen.items()
                if seen.visitor == row.visitor_id
                and seen.shown_ms is not None
                and self.sites.get(seen.campaign) == row.site_id
                and row.campaign_id in (None, seen.campaign)
                and seen.shown_ms <= row.occurred_ms <= seen.shown_ms + self.window_ms[seen.campaign]
            ),
            default=None,
        )
        return UUID(int=best[1]) if best else None

    def erase(self, visitor: UUID, tomb: str) -> None:
        self.erased.add(tomb)
        gone = {decision for decision, seen in self.seen.items() if seen.visitor == visitor}
        self.seen = {decision: seen for decision, seen in self.seen.items() if decision not in gone}
        self.events = {k: (d, v) for k, (d, v) in self.events.items() if d not in gone and v != visitor}

    def vitals(self, campaign: int) -> dict[tuple[int, str], dict[int, int]]:
        book: dict[tuple[int, str], dict[int, int]] = {}
        for seen in self.seen.values():
            for metric, bucket in seen.readings.items() if seen.campaign == campaign else ():
                counts = book.setdefault((seen.variant, metric), {})
                counts[bucket] = counts.get(bucket, 0) + 1
        return book

    def totals(self, campaign: int) -> list[ArmTotals]:
        book = self._book(campaign, lambda seen: (seen.variant, seen.segment))
        return [ArmTotals(variant_id=arm, segment=segment, **book[arm, segment]) for arm, segment in sorted(book)]

    def stages(self, campaign: int) -> list[StageTotals]:
        book = self._book(campaign, lambda seen: (seen.stage, seen.segment))
        return [StageTotals(stage=key[0], segment=key[1], **book[key]) for key in sorted(book) if key[0]]

    def marks(self, campaign: int) -> list[StageMark]:
        book: dict[tuple[int, str], int] = {}
        for seen in self.seen.values():
            for kind, name in seen.words:
                if kind == "custom" and seen.stage and seen.campaign == campaign:
                    book[seen.stage, name] = book.get((seen.stage, name), 0) + 1
        return [StageMark(stage=stage, name=name, marks=book[stage, name]) for stage, name in sorted(book)]

    def series(self, campaign: int, width: int) -> list[SeriesPoint]:
        book = self._book(campaign, lambda seen: (seen.decided_ms - seen.decided_ms % width, seen.variant))
        return [SeriesPoint(at_ms=at, variant_id=arm, **book[at, arm]) for at, arm in sorted(book)]

    def _book(self, campaign: int, key: Any) -> dict[Any, dict[str, int]]:
        book: dict[Any, dict[str, int]] = {}
        for seen in self.seen.values():
            if seen.campaign == campaign and seen.shown_ms is not None:
                row = book.setdefault(key(seen), dict.fromkeys(COUNTERS, 0))
                for name, count in seen.counts().items():
                    row[name] += count
        return book


def tells_once(row: EventRow) -> bool:
    """Whether a decision tells of such an event once."""
    return row.type != "custom" or row.name in MARKS


JOINS = {"view", "click", "cart", "purchase", "rating"}


async def check(store: Store, model: Model, campaign: int) -> None:
    """The rollups say what the model says, and what the raw events say."""
    recount = await store.rollups.recount(campaign)
    assert await store.rollups.totals(campaign) == model.totals(campaign) == recount.totals
    assert await store.rollups.series(campaign, step="minute") == model.series(campaign, 60_000) == recount.minutes
    assert await store.rollups.series(campaign, step="hour") == model.series(campaign, 3_600_000) == recount.hours
    staged = await store.rollups.staged(campaign)
    assert staged == recount.staged
    assert staged.totals == model.stages(campaign)
    assert staged.marks == model.marks(campaign)
    vitals = await store.rollups.vitals(campaign)
    assert vitals == recount.vitals
    assert {(v.variant_id, v.metric): v.buckets for v in vitals} == model.vitals(campaign)
