"""The audience of a process: what was stored moves its visitor at once; the log makes it all again after a crash.

Only events that may be kept of a known visitor come here (consent granted, no Global Privacy Control); an erasure, or a
consent taken back, removes the visitor from memory and from the store before it is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.audience import (
    NOTHING,
    Candidate,
    Drift,
    Encoder,
    Filter,
    ItemOffer,
    Kind,
    Policy,
    Recipe,
    Segment,
    Touch,
    Visitors,
    code_of,
    counted,
    encode_states,
    encoder_of,
    interactions_of,
    touch_of,
    unpack,
)
from arauto.core.brief import Language
from arauto.core.campaign import Campaign, Variant
from arauto.core.clock import Clock, SystemClock
from arauto.core.errors import ArautoError, InputError
from arauto.core.events import EventRow
from arauto.core.receipts import ReceiptBook
from arauto.core.settings import Settings
from arauto.store import Appended, Remembered, Store, Told

OVERLAP_MS = 120_000
"""How far before the last reading the log is read again: what was admitted may be committed this much later."""
GROUP_MS = 600_000
"""How often segments are found anew."""
HOLD_MS = 86_400_000
"""How long segments are held fast, to tell what changed since: a day has all its hours."""
SEGMENTS = 8
MOST_VISITORS = 1_000_000
"""Visitors in memory; past it, those who were away longest make room."""
MOST_NAMES = 1_000_000
"""Item names in memory; of later ones only the code is known."""
_KINDS: Mapping[str, Kind] = {
    "impression": "impression",
    "view": "view",
    "click": "click",
    "cart": "cart",
    "purchase": "purchase",
}

log = logging.getLogger(__name__)


class Near(msgspec.Struct, frozen=True, kw_only=True):
    """A neighbour: who, how near (cosine), and in which segment (−1: none)."""

    visitor: UUID
    similarity: float
    segment: int


class Neighbours(msgspec.Struct, frozen=True, kw_only=True):
    """The visitors most like one, the nearest first."""

    visitor: UUID
    segment: int
    neighbours: list[Near]


class VariantOffer(msgspec.Struct, frozen=True, kw_only=True):
    """A variant to show: its campaign, the estimated rate of its goal, and why, in both languages.

    ``trials`` is how many showings the estimate is worth, ``done`` of ``similar`` how many similar visitors did it.
    """

    campaign: str
    variant: str
    rate: float
    trials: float
    similar: int
    done: int
    reason: dict[Language, str]


class Offers(msgspec.Struct, frozen=True, kw_only=True):
    """What to show a visitor next. ``known`` is False when nothing is kept of them: then what works for everyone."""

    visitor: UUID
    known: bool
    segment: int
    offers: list[VariantOffer]
    items: list[ItemOffer]


class Segments(msgspec.Struct, frozen=True, kw_only=True):
    """The segments, and what changed since the time before. ``visitors`` are those in memory."""

    visitors: int
    encoder: str
    found_ms: int
    segments: list[Segment]
    drift: Drift


class Live(msgspec.Struct, frozen=True):
    """A live campaign and its variants."""

    campaign: Campaign
    variants: Sequence[Variant]


class Audience:
    """Visitors, kept in step with the log. ``shared`` says that other processes write to the same database; without
    ``kept``, nothing is kept of anyone."""

    def __init__(
        self, store: Store, book: ReceiptBook, clock: Clock, home: Path, *, shared: bool = False, kept: bool = True
    ) -> None:
        self._kept = kept
        self.visitors = Visitors()
        self.ready = asyncio.Event()
        self._store, self._book, self._clock = store, book, clock
        self._file = home / "audience" / "encoder.npz"
        self._stamp: tuple[int, int] | None = None
        self._shared = shared
        self._read_ms = 0
        self._changed: set[UUID] = set()
        self._gone: set[str] = set()
        self._found: list[Segment] = []
        self._drift = Drift()
        self._found_ms = self._held_ms = 0
        self._rng = np.random.default_rng()

    # How it learns.

    def stored(self, rows: Sequence[EventRow], done: Appended) -> None:
        """Take in what an append stored. The hot path: memory only."""
        if not self._kept:
            return
        events = []
        for place, (row, status) in enumerate(zip(rows, done.status, strict=True)):
            if status != "stored" or row.visitor_id is None or row.type not in _KINDS or row.tomb in self._gone:
                continue
            variant, chance = row.variant_id, row.propensity
            if variant is None:
                variant, chance = done.joined.get(place, (None, None))
            one = self._touch(row.event_id, row.type, row.occurred_ms, row.site_id, row.ref, variant, chance)
            if one is not None:
                events.append((row.visitor_id, one))
        self._learn(events)

    def _touch(
        self,
        event: UUID,
        kind: str,
        at_ms: int,
        site: int,
        ref: str | None,
        variant: int | None,
        chance: float | None,
    ) -> Touch | None:
        """The touch of an event, or None for one that tells nothing: the view of a page without a name."""
        if ref and kind in ("view", "cart"):
            code = code_of(ref, str(site))
            if len(self.visitors.names) < MOST_NAMES:
                self.visitors.names.setdefault(code, ref)
        elif variant is not None or kind == "purchase":
            code = variant or NOTHING
        else:
            return None
        return touch_of(event, at_ms, _KINDS[kind], code, chance or 0.0)

    def _learn(self, events: Sequence[tuple[UUID, Touch]]) -> None:
        if events:
            self._changed |= self.visitors.learn_all(events)
            self.visitors.trim(MOST_VISITORS)

    async def load(self) -> None:
        """Read the encoder, the saved states, and the log since; then answer."""
        if not self._kept:
            self.ready.set()
            return
        await self._adopt()
        self.visitors.names.update(await self._store.states.names())
        self._read_ms = await self._store.states.read_ms()
        async for part in self._store.states.every():
            await asyncio.to_thread(self.visitors.load, part)
        await self._read_log()
        await asyncio.to_thread(self._group)
        self.ready.set()

    async def tend(self) -> None:
        """What is due now and then: others' events, a new encoder, a skewed index, new segments, saving."""
        if not self._kept:
            return
        await self._adopt()
        if self._shared:
            await self._read_log()
        if self.visitors.index.stale:
            await asyncio.to_thread(self.visitors.index.rebuild)
        if self._clock.now_ms() - self._found_ms >= GROUP_MS:
            await asyncio.to_thread(self._group)
        await self.save()

    async def _read_log(self) -> None:
        now, since = self._clock.now_ms(), max(0, self._read_ms - OVERLAP_MS)
        for visitor, at_ms in (await self._store.states.withdrawn(since)).items():
            if self.visitors.last_ms(visitor) <= at_ms:
                self.visitors.forget(visitor)
        async for part in self._store.states.log(since):
            self._take(part)
            await asyncio.sleep(0)
        self._read_ms = now

    def _take(self, part: Iterable[Told]) -> None:
        events = []
        for one in part:
            if self._gone and self._book.tomb(one.visitor_id) in self._gone:
                continue
            touch = self._touch(
                one.event_id, one.type, one.occurred_ms, one.site_id, one.ref, one.variant_id, one.propensity
            )
            if touch is not None:
                events.append((one.visitor_id, touch))
        self._learn(events)

    async def _adopt(self) -> None:
        """Take over the encoder's file when it is new."""
        try:
            found = self._file.stat()
        except OSError:
            return
        stamp = found.st_mtime_ns, found.st_size
        if stamp == self._stamp:
            return
        try:
            encoder = await asyncio.to_thread(Encoder.load, self._file)
            await asyncio.to_thread(self.visitors.adopt, encoder)
            self._stamp, self._found_ms = stamp, 0
        except ArautoError as failure:
            log.warning("the encoder was not taken over: %s", failure)

    def _group(self) -> None:
        now = self._clock.now_ms()
        hold = now - self._held_ms >= HOLD_MS
        self._found, self._drift = self.visitors.regroup(SEGMENTS, hold=hold)
        self._found_ms = now
        if hold:
            self._held_ms = now

    async def save(self) -> None:
        """Keep the states that changed. After a crash the log tells the rest."""
        if not self._changed:
            return
        changed, self._changed = self._changed, set()
        now = self._clock.now_ms() if not self._shared else self._read_ms
        states = [
            Remembered(visitor, packed, self._book.tomb(visitor))
            for visitor in changed
            if (packed := self.visitors.state(visitor))
        ]
        codes = {touch.code for one in states for touch in unpack(one.touches)}
        names = {code: name for code in codes if (name := self.visitors.names.get(code)) is not None}
        try:
            await self._store.states.save(states, names, now)
        except BaseException:
            self._changed |= changed
            raise
        self._read_ms = max(self._read_ms, now)

    # How it forgets.

    def forget(self, visitor: UUID) -> None:
        """Remove an erased visitor from memory, and take in nothing late of them."""
        self._gone.add(self._book.tomb(visitor))
        self.visitors.forget(visitor)

    async def bury(self, erasure: int) -> None:
        """Remove the visitor that another process erased."""
        tomb = await self._store.states.tomb(erasure)
        if tomb is not None and tomb not in self._gone:
            self._gone.add(tomb)
            for visitor in await asyncio.to_thread(
                lambda: [one for one in self.visitors if self._book.tomb(one) == tomb]
            ):
                self.visitors.forget(visitor)

    async def withdraw(self, visitor: UUID, site: int) -> None:
        """A visitor takes their consent back: what was kept of them here goes, and is not made again from the log."""
        if visitor not in self.visitors:
            return
        await self._store.privacy.record_consent(visitor, self._book.tomb(visitor), site, "denied")
        self.visitors.forget(visitor)
        await self._store.states.forget(visitor)

    # What it answers.

    def group_of(self, visitor: UUID) -> int:
        """The id of a visitor's segment; −1 without one."""
        return self.visitors.segment(visitor)

    def cells(
        self, variants: Sequence[int], goal: str
    ) -> tuple[tuple[int, ...], NDArray[np.float64], NDArray[np.float64]]:
        """The ids of the segments, and successes and trials by variant and segment."""
        groups = tuple(self.visitors.clusters.ids.tolist())
        successes, trials = self.visitors.ledger.cells(groups, variants, "purchase" if goal == "purchase" else "click")
        return groups, successes, trials

    def neighbours(self, visitor: UUID, k: int, segment: int | None = None, since_ms: int = 0) -> Neighbours:
        """The visitors most like one.

        Raises:
            NotFoundError: nothing is kept of the visitor.
        """
        self.visitors.require(visitor)
        wanted = None if segment is None and not since_ms else Filter(segment=segment, since_ms=since_ms)
        near = [
            Near(visitor=one.visitor, similarity=one.similarity, segment=self.group_of(one.visitor))
            for one in self.visitors.neighbours(visitor, k, wanted)
        ]
        return Neighbours(visitor=visitor, segment=self.group_of(visitor), neighbours=near)

    def offers(self, visitor: UUID, live: Sequence[Live], count: int) -> Offers:
        """What to show a visitor: variants of live campaigns, and items."""
        variants = {one.id: (each.campaign, one) for each in live for one in each.variants if one.state == "live"}
        found = []
        for goal in ("click", "purchase"):
            candidates = [
                Candidate(variant, campaign.id)
                for variant, (campaign, _) in variants.items()
                if (campaign.plan.goal == "purchase") == (goal == "purchase")
            ]
            found += self.visitors.offers(
                visitor,
                candidates,
                self._clock.now_ms(),
                self._rng,
                policy=Policy(),
                goal="purchase" if goal == "purchase" else "click",
                count=count,
            )
        offers = [
            VariantOffer(
                campaign=variants[one.variant][0].slug,
                variant=variants[one.variant][1].name,
                rate=one.rate,
                trials=one.trials,
                similar=one.similar,
                done=one.done,
                reason=one.reason,
            )
            for one in found
        ]
        return Offers(
            visitor=visitor,
            known=visitor in self.visitors,
            segment=self.group_of(visitor),
            offers=offers[:count],
            items=self.visitors.next_items(visitor, count=count),
        )

    def segments(self) -> Segments:
        """The segments as found last."""
        return Segments(
            visitors=len(self.visitors),
            encoder=self.visitors.encoder.version,
            found_ms=self._found_ms,
            segments=self._found,
            drift=self._drift,
        )

    def select(self, condition: Callable[..., bool]) -> list[UUID]:
        """The visitors for whom a rule holds."""
        return self.visitors.select(condition, self._clock.now_ms())

    def export(self, visitor: UUID) -> dict[str, object]:
        """What was inferred of a visitor, for their export; empty when nothing was."""
        vector = self.visitors.vector(visitor)
        if visitor not in self.visitors:
            return {}
        return {
            "segment": self.group_of(visitor),
            "encoder": self.visitors.encoder.version,
            "vector": [] if vector is None else [round(float(one), 6) for one in vector],
            "touches": len(list(unpack(self.visitors.state(visitor)))),
        }


async def open_audience(settings: Settings, ask: Callable[[Audience], Awaitable[None]]) -> None:
    """Make the audience from the store of ``settings``, ask it something, and let go of it."""
    clock = SystemClock()
    async with await Store.open(settings, clock=clock) as store:
        own = Audience(store, ReceiptBook(await store.receipt_secret()), clock, settings.home)
        await own.load()
        await ask(own)


async def train_encoder(settings: Settings, recipe: Recipe, *, dimensions: int) -> Encoder:
    """Fit an encoder on the log of ``settings``' store: what visitors viewed, clicked, put into the cart and bought.

    Raises:
        InputError: nobody has met two items.
    """
    clock = SystemClock()
    users: list[str] = []
    codes: list[int] = []
    times: list[int] = []
    names: dict[int, str] = {}
    async with await Store.open(settings, clock=clock) as store:
        async for part in store.states.log(0):
            for one in part:
                if one.ref and one.type in ("view", "cart"):
                    code = code_of(one.ref, str(one.site_id))
                    names[code] = one.ref
                elif one.variant_id is not None and one.type in ("click", "purchase"):
                    code = one.variant_id
                    names[code] = f"variant {code}"
                else:
                    continue
                users.append(one.visitor_id.hex)
                codes.append(code)
                times.append(one.occurred_ms)
    if not users:
        raise InputError("holds no item that a visitor with consent met", field="log", mend="wait for more visitors")
    found = interactions_of(
        {
            "user_id": np.array(users),
            "item_id": np.array(codes, dtype=np.uint64),
            "timestamp": np.array(times, dtype=np.float64),
        }
    )
    return encoder_of(
        counted(found, recipe, settings.ray_address),
        [names[int(code)] for code in found.item_names],
        dimensions=dimensions,
        codes=found.item_names.astype(np.uint64),
        made_ms=clock.now_ms(),
        ray=settings.ray_address,
    )


class Encoded(NamedTuple):
    """Visitors and their unit vectors, in the same order."""

    visitors: list[UUID]
    vectors: NDArray[np.float32]


async def encode_audience(
    settings: Settings, encoder: Encoder, told: Callable[[int, int], None] = lambda *_: None
) -> Encoded:
    """Encode everyone whose state the store of ``settings`` keeps, where ``ray_address`` says."""
    visitors: list[UUID] = []
    states: list[bytes] = []
    async with await Store.open(settings, clock=SystemClock()) as store:
        async for part in store.states.every():
            for visitor, packed in part:
                visitors.append(visitor)
                states.append(packed)
    vectors = await asyncio.to_thread(encode_states, encoder, states, ray=settings.ray_address, told=told)
    return Encoded(visitors, vectors)
