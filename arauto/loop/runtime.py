"""The engine room of one process: what is served and how it learns. Server and Python API stand on it alike."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, Self
from uuid import UUID

from arauto.core.campaign import DAY_MS, Campaign, Goal, Site, Variant
from arauto.core.clock import Clock, SystemClock
from arauto.core.errors import NotFoundError, Problem, StoreError
from arauto.core.events import CandidatesQuery, DecideQuery, EventRow
from arauto.core.receipts import ReceiptBook
from arauto.core.settings import Settings
from arauto.core.tasks import end
from arauto.loop.admit import Admitted, Batch, admit, read_batch
from arauto.loop.answers import EventsAnswer
from arauto.loop.audience import Audience, Live, Offers
from arauto.loop.decide import Decider, foreign_origin, unknown_key
from arauto.loop.ingest import Ingest, Outcome
from arauto.loop.policy import Counts, Groups, Policy, make_policy, wants_hours
from arauto.loop.pulse import Pulse
from arauto.loop.release import look, ramp_of
from arauto.loop.retention import RETENTION_JOB
from arauto.loop.tallies import Tallies
from arauto.loop.trace import where
from arauto.store import AppendStatus, Notice, Rollout, Store

PATIENCE_S = 15.0
"""How long a request waits for a database that is away. The embedded one is back in less."""
SWEEP_S = 10.0
"""How often everything is looked through once more, should a notice have been missed."""
LOOK_AGAIN_S = 0.25
"""The least time between two looks into the database for a key or campaign that is not in memory."""
GUARD_S = 0.1
"""The least time between two looks at the guardrails of a release."""
GUARD_BREATH = 4
"""A look that takes t is followed by four t without one: harm must not wait, and a release does not last for ever."""
LOOK_S = 2.0
"""How long such a look may take."""
RECORD_MS = 10_000
"""The least time between two entries of a campaign's history of weights."""

log = logging.getLogger(__name__)


class Runtime:
    """Store, :class:`Decider` and :class:`Ingest` of one process, kept fresh by notices from the others.

    While the database is away, decisions go on from memory; events wait for the store's patience and are then refused
    with a :class:`~arauto.core.errors.StoreError`. Nothing is acknowledged before its commit.
    """

    def __init__(self, settings: Settings, store: Store, book: ReceiptBook, clock: Clock) -> None:
        self.settings = settings
        self.store = store
        self.book = book
        self.clock = clock
        shared = settings.workers > 1 or bool(settings.database_url)
        self.audience = Audience(store, book, clock, settings.home, shared=shared, kept=settings.audience)
        self.tallies = Tallies(store, clock)
        lane = 0 if settings.workers == 1 else os.getpid()
        self.decider = Decider(book, clock, lane=lane, group_of=self.audience.group_of)
        self.counts = {"stored": 0, "duplicate": 0, "refused": 0, "erased": 0}
        """Events answered by this process, by what became of them."""
        self.watch: Callable[[Sequence[EventRow], Sequence[AppendStatus], int], None] | None = None
        """Hears of rows that were committed, what became of each, and when their request began (Unix time, ns)."""
        self._ingest = Ingest(store.events.append, self._committed, self.audience.stored)
        self._sites: dict[int, Site] = {}
        self._keys: dict[str, Site] = {}
        self._origins: frozenset[str] = frozenset()
        self._campaigns: dict[int, Campaign] = {}
        self._variants: dict[int, list[Variant]] = {}
        self._pulses: dict[int, Pulse] = {}
        self._rollouts: dict[int, Rollout | None] = {}
        self._guards: dict[int, Pulse] = {}
        self._recorded: dict[int, int] = {}
        self._echoes: set[int] = set()
        self._looked = 0.0
        # One at a time, so that whoever comes second sees what the first has taken over.
        self._reading = asyncio.Lock()
        self._closing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, settings: Settings, *, clock: Clock | None = None, store: Store | None = None) -> Self:
        """Open the store (unless given), load what is live, and follow the news. The store is closed with the runtime.

        Raises:
            StoreError: the database cannot be used.
        """
        clock = clock or SystemClock()
        store = store or await Store.open(settings, clock=clock, patience=PATIENCE_S)
        try:
            runtime = cls(settings, store, ReceiptBook(await store.receipt_secret()), clock)
            await runtime.sync(all_over=True)
        except BaseException:
            await store.close()
            raise
        runtime._tasks = [
            asyncio.create_task(runtime._follow(), name="follow"),
            asyncio.create_task(runtime._sweep(), name="sweep"),
            asyncio.create_task(runtime._tend(), name="audience"),
        ]
        return runtime

    async def close(self) -> None:
        """Write the events that wait, then let go of everything."""
        self._closing.set()
        if self._tasks:
            # The audience ends by itself: cancelled while it reads, it would be slow to notice.
            await asyncio.wait(self._tasks[-1:], timeout=LOOK_S)
        await end(*self._tasks)
        await self.tallies.close()
        await self._ingest.close()
        for pulse in (*self._pulses.values(), *self._guards.values()):
            await pulse.stop()
        if self.audience.ready.is_set():
            try:
                async with asyncio.timeout(LOOK_S):
                    await self.audience.save()
            except (StoreError, TimeoutError):
                log.warning("the audience was not saved; the log tells it again")
        await self.store.close()

    # What the hot routes ask.

    def decide(self, query: DecideQuery, *, gpc: bool = False, origin: str | None = None) -> bytes:
        """:meth:`Decider.decide`, from memory only."""
        return self.decider.decide(query, gpc=gpc, origin=origin)

    def candidates(self, query: CandidatesQuery, *, gpc: bool = False, origin: str | None = None) -> bytes:
        """:meth:`Decider.candidates`, from memory only."""
        return self.decider.candidates(query, gpc=gpc, origin=origin)

    async def decide_again(self, query: DecideQuery, *, gpc: bool = False, origin: str | None = None) -> bytes:
        """Either, after a look into the database: another process may have launched the campaign a moment ago."""
        await self._look_again()
        if isinstance(query, CandidatesQuery):
            return self.decider.candidates(query, gpc=gpc, origin=origin)
        return self.decider.decide(query, gpc=gpc, origin=origin)

    async def ingest(self, body: bytes, *, gpc: bool = False, origin: str | None = None) -> EventsAnswer:
        """Take the body of ``POST /v1/events``. ``gpc`` and ``origin`` as in :meth:`Decider.decide`.

        Raises:
            EventError: the body is no batch.
            AuthError: no site has its key.
            ForbiddenError: the origin is not one of the site's.
            StoreError: nothing is known to be stored; the same may be sent again.
        """
        began = time.time_ns()
        batch = read_batch(body)
        site = self._keys.get(batch.key)
        if site is None:
            await self._look_again()
            site = self._keys.get(batch.key)
            if site is None:
                raise unknown_key()
        if origin is not None and origin not in site.origins:
            raise foreign_origin()
        private = gpc or batch.consent != "granted"
        if private:
            await self._withdraw(batch, site)
        admitted = self._admit(batch, site, private)
        if any([await self._learn(campaign_id) for campaign_id in admitted.unknown]):
            admitted = self._admit(batch, site, private)
        outcome = await self._ingest.put(admitted.rows)
        if self.watch is not None:
            self.watch(admitted.rows, outcome.status, began)
        return self._answer(admitted, outcome)

    async def _withdraw(self, batch: Batch, site: Site) -> None:
        """A visitor who names themselves without consent has taken it back, if it was ever given."""
        for visitor in {event.visitor for _, event in batch.events if event.visitor is not None}:
            await self.audience.withdraw(visitor, site.id)

    async def export(self, visitor: UUID) -> dict[str, Any]:
        """Everything kept of a visitor, and what was inferred of them.

        Raises:
            NotFoundError: nothing is.
        """
        kept = await self.store.privacy.export(visitor)
        inferred = self.audience.export(visitor)
        return {**kept, "audience": inferred} if inferred else kept

    async def erase(self, visitor: UUID, actor: str) -> dict[str, int]:
        """Erase a visitor from the store and from this process; the others hear of it."""
        self.audience.forget(visitor)
        counts = await self.store.privacy.erase(visitor, self.book.tomb(visitor), actor)
        self.tallies.forget()
        return counts

    async def offers(self, visitor: UUID, count: int) -> Offers:
        """What to show a visitor, of all live campaigns."""
        await self.audience.ready.wait()
        live = [
            Live(campaign, self._variants.get(campaign.id, []))
            for campaign in self._campaigns.values()
            if campaign.state == "live"
        ]
        return self.audience.offers(visitor, live, count)

    def served(self) -> dict[str, int]:
        """How many decisions this process made, by ``site/campaign``."""
        named = {}
        for campaign_id, count in self.decider.served().items():
            campaign = self._campaigns[campaign_id]
            named[f"{self._sites[campaign.site_id].name}/{campaign.slug}"] = count
        return named

    def site_of(self, key: str) -> Site | None:
        """The site of a public key."""
        return self._keys.get(key)

    def knows_origin(self, origin: str) -> bool:
        """Whether ``origin`` belongs to any site."""
        return origin in self._origins

    # How it is kept fresh.

    async def reload(self, campaign_id: int) -> None:
        """Take over a change of the campaign, its variants or its site."""
        async with self._reading:
            try:
                campaign = await self.store.catalogue.campaign(campaign_id)
            except NotFoundError:
                self._campaigns.pop(campaign_id, None)
                self.decider.drop(campaign_id)
                return
            if campaign.site_id not in self._sites:
                await self._load_sites()
            await self._take(campaign)

    async def sync(self, *, all_over: bool = False) -> None:
        """Read sites and campaigns, and take over those that changed, or ``all_over`` every one that is live."""
        async with self._reading:
            await self._load_sites()
            for campaign in await self.store.catalogue.campaigns():
                if all_over or self._campaigns.get(campaign.id) != campaign:
                    await self._take(campaign)

    async def _load_sites(self) -> None:
        sites = await self.store.catalogue.sites()
        self._sites = {site.id: site for site in sites}
        self._keys = {site.key: site for site in sites}
        self._origins = frozenset(origin for site in sites for origin in site.origins)
        self.decider.know(sites)

    async def _take(self, campaign: Campaign) -> None:
        self._campaigns[campaign.id] = campaign
        if campaign.state != "live":
            self.decider.drop(campaign.id)
            return
        # Variants first: a release that begins or ends in between then shows less than it may, never more.
        self._variants[campaign.id] = await self.store.catalogue.variants(campaign.id)
        self._rollouts[campaign.id] = await self.store.rollouts.latest(campaign.id)
        pulse = self._pulse(campaign.id)
        pulse.every = campaign.plan.refresh_ms / 1000
        await pulse.now()
        self._guard(campaign.id)

    def _pulse(self, campaign_id: int) -> Pulse:
        pulse = self._pulses.get(campaign_id)
        if pulse is None:
            pulse = self._pulses[campaign_id] = Pulse(lambda own: self._renew(campaign_id, own))
        return pulse

    async def _renew(self, campaign_id: int, own: bool) -> None:
        """Make the policy of a campaign anew from the store's totals, and serve by it."""
        campaign, variants = self._campaigns[campaign_id], self._variants[campaign_id]
        seed = self.decider.seed_of(campaign)
        ramp = ramp_of(self._rollouts[campaign_id])
        rollups = self.store.rollups
        totals: Sequence[Counts] = (
            await rollups.parts(campaign_id)
            if wants_hours(campaign.plan, ramp)
            else await rollups.totals(campaign_id, fair=True)
        )
        policy = await asyncio.to_thread(make_policy, campaign, variants, totals, seed, ramp, self._groups)
        if self._campaigns[campaign_id].state != "live":
            return
        before = self.decider.policy(campaign_id)
        self.decider.put(self._sites[campaign.site_id], campaign, variants, policy)
        if policy is None or policy == before:
            return
        await self._record(policy)
        if own:
            self._echoes.add(campaign_id)
            await self.store.notify("totals", campaign_id)

    def _groups(self, variants: Sequence[int], goal: Goal) -> Groups:
        return Groups(*self.audience.cells(variants, goal))

    def _guard(self, campaign_id: int) -> None:
        """Look at the guardrails of the campaign's release soon, if it has one on its way."""
        if ramp_of(self._rollouts.get(campaign_id)) is None:
            return
        guard = self._guards.get(campaign_id)
        if guard is None:
            guard = self._guards[campaign_id] = Pulse(lambda _: self._look(campaign_id), breath=GUARD_BREATH)
            guard.every = GUARD_S
        guard.touch()

    async def _look(self, campaign_id: int) -> None:
        rollout = self._rollouts.get(campaign_id)
        if rollout is not None and await look(self.store, rollout):
            await self.reload(campaign_id)

    async def _record(self, policy: Policy) -> None:
        now = self.clock.now_ms()
        if now - self._recorded.get(policy.campaign_id, 0) >= RECORD_MS:
            self._recorded[policy.campaign_id] = now
            await self.store.rollups.record_weights(policy.campaign_id, policy.version, now, policy.propensities)

    async def _committed(self, changed: Collection[int]) -> None:
        for campaign_id in changed:
            campaign = self._campaigns.get(campaign_id)
            if campaign is None or campaign.state != "live":
                continue
            if campaign.plan.refresh_ms == 0:
                await self._pulse(campaign_id).now(own=True)
            else:
                self._pulse(campaign_id).touch(own=True)
            self._guard(campaign_id)

    async def _follow(self) -> None:
        while True:
            try:
                async for notice in self.store.listen():
                    await self._hear(notice)
            except Exception as error:
                # The next sweep makes up for what is missed.
                log.warning("a notice could not be followed: %s", where(error))
                await asyncio.sleep(1)

    async def _hear(self, notice: Notice) -> None:
        if notice.kind == "campaign":
            await self.reload(notice.id)
        elif notice.kind == "totals":
            if notice.id in self._echoes:
                self._echoes.discard(notice.id)
            elif notice.id in self._variants:
                self._pulse(notice.id).touch()
        else:
            await self.audience.bury(notice.id)
            self.tallies.forget()
            self._touch_live()

    async def _tend(self) -> None:
        """Make the audience from the store, then keep it. Until it is made, events that come are taken in already."""
        while not self._closing.is_set():
            try:
                if self.audience.ready.is_set():
                    await self.audience.tend()
                else:
                    await self.audience.load()
            except StoreError:
                log.warning("the database is away; the audience goes on from memory")
            except Exception as error:
                log.warning("the audience could not be kept: %s", where(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    await self._closing.wait()

    async def _sweep(self) -> None:
        maintained = self.clock.now_ms()
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                self._echoes.clear()
                await self.sync(all_over=True)
                if self.clock.now_ms() - maintained >= DAY_MS:
                    maintained = self.clock.now_ms()
                    await self.store.maintain()
                    if self.settings.keep_events_days:
                        await self.store.jobs.defer(RETENTION_JOB, {}, once=True)
            except StoreError:
                log.warning("the database is away; decisions go on from memory")
            except Exception as error:
                log.warning("a sweep failed: %s", where(error))

    def _touch_live(self) -> None:
        for campaign_id, campaign in self._campaigns.items():
            if campaign.state == "live":
                self._pulse(campaign_id).touch()

    async def _look_again(self) -> None:
        """Read what is live once more, unless that was done a moment ago or cannot be done now."""
        now = asyncio.get_running_loop().time()
        if now - self._looked < LOOK_AGAIN_S:
            return
        self._looked = now
        try:
            async with asyncio.timeout(LOOK_S):
                await self.sync()
        except (StoreError, TimeoutError):
            log.warning("the database is away; decisions go on from memory")

    async def _learn(self, campaign_id: int) -> bool:
        """Look up the campaign of a receipt that another process signed. Whether there is one."""
        await self.reload(campaign_id)
        return campaign_id in self._campaigns

    def _admit(self, batch: Batch, site: Site, private: bool) -> Admitted:
        return admit(batch, site, self._campaigns, self.book, self.clock.now_ms(), private=private)

    def _answer(self, admitted: Admitted, outcome: Outcome) -> EventsAnswer:
        refused = list(admitted.problems)
        for row, (place, status) in enumerate(zip(admitted.places, outcome.status, strict=True)):
            self.counts[status] += 1
            if status in ("refused", "erased"):
                refused.append(_not_kept(place, status, outcome.problems.get(row, "")))
        self.counts["refused"] += len(admitted.problems)
        refused.sort(key=lambda problem: problem.index or 0)
        return EventsAnswer(
            stored=sum(status == "stored" for status in outcome.status),
            duplicates=sum(status == "duplicate" for status in outcome.status),
            refused=refused,
        )


def _not_kept(place: int, status: str, why: str) -> Problem:
    if status == "erased":
        problem, mend = "is of a visitor whose data were erased", "send events without that visitor"
    else:
        problem, mend = why or "cannot be kept", "leave the event out"
    return Problem(code="bad_event", field=f"events[{place}]", problem=problem, mend=mend, index=place)
