"""Experiments for screens: what reading every exposure tells is read in the background, and shown as of its time.

A comparison that is always valid is as valid a minute later, so a screen need not wait for the newest: it shows what is
read within an instant, or else the latest that was kept, and says of when that is. Nobody looking, nothing is read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from arauto.core.campaign import Campaign, Variant
from arauto.core.clock import Clock
from arauto.core.tasks import end
from arauto.loop.experiment import Experiment, read_tally, tell_experiment
from arauto.store import Store, Tally

INSTANT_S = 0.2
"""So long a screen waits for the newest (four times that where it has nothing to show); what takes longer is kept."""
BREATH = 4.0
"""What took t to read is read again after 4 t at the earliest: it never takes more than a fifth of a core."""

TOLD_MOST = 200

log = logging.getLogger(__name__)


class Tallies:
    """The experiments of a process; a campaign is read by one task at a time, however many ask."""

    def __init__(self, store: Store, clock: Clock, instant_s: float = INSTANT_S) -> None:
        self._store = store
        self._clock = clock
        self.instant_s = instant_s
        self._known: dict[int, Tally] = {}
        self._reading: dict[int, asyncio.Task[Tally]] = {}
        # What was told of each campaign against each control, and of what: telling takes long enough to be seen.
        self._told: dict[tuple[int, str], tuple[tuple[object, ...], Experiment]] = {}

    async def read(self, campaign_id: int, control: str = "", *, patient: bool = False) -> Experiment | None:
        """The comparison as of some moment (``as_of_ms``); None while it is read for the first time.

        ``patient`` waits for that first time, however long it takes.

        Raises:
            NotFoundError: there is no such campaign, or no such variant was shown.
        """
        campaign = await self._store.catalogue.campaign(campaign_id)
        variants = await self._store.catalogue.variants(campaign_id)
        known = await self._last(campaign)
        if known is None or self._rested(known):
            task = self._begin(campaign, variants)
            if known is None:
                await asyncio.wait({task}, timeout=None if patient else 4 * self.instant_s)
            elif self._quick(known):  # else it will not be read within an instant this time, either
                await asyncio.wait({task}, timeout=self.instant_s)
            if task.done():
                known = task.result()
        return None if known is None else await self._tell(campaign, variants, known, control)

    def forget(self) -> None:
        """A visitor was erased: what is known is read anew, or from the store, which forgot it too."""
        self._known.clear()

    async def _tell(
        self, campaign: Campaign, variants: Sequence[Variant], tally: Tally, control: str = ""
    ) -> Experiment:
        """As :func:`tell_experiment`; of the same facts once."""
        facts = (campaign, tuple(variants), tally.outcomes, tally.bots, tally.groups)
        known = self._told.get((campaign.id, control))
        if known is not None and known[0] == facts:
            return msgspec.structs.replace(known[1], as_of_ms=tally.at_ms)
        told = await asyncio.to_thread(tell_experiment, campaign, variants, tally, control)
        if len(self._told) >= TOLD_MOST:
            self._told.clear()
        self._told[campaign.id, control] = facts, told
        return told

    async def close(self) -> None:
        await end(*self._reading.values())

    def _rested(self, tally: Tally) -> bool:
        return self._quick(tally) or self._clock.now_ms() - tally.at_ms >= (1 + BREATH) * tally.took_ms

    def _quick(self, tally: Tally) -> bool:
        return tally.took_ms <= 1000 * self.instant_s

    async def _last(self, campaign: Campaign) -> Tally | None:
        """The latest of this process or, where that is none or old, of any other; for the plan as it is now."""
        known = self._known.get(campaign.id)
        if known is None or (self._rested(known) and not self._quick(known)):
            kept = await self._store.tallies.get(campaign.id)
            if kept is not None and (known is None or kept.at_ms > known.at_ms):
                known = self._known[campaign.id] = kept
        plan = campaign.plan
        if known is not None and (known.goal, known.assignment, known.holdout) != (
            plan.goal,
            plan.assignment,
            plan.holdout,
        ):
            return None
        return known

    def _begin(self, campaign: Campaign, variants: Sequence[Variant]) -> asyncio.Task[Tally]:
        task = self._reading.get(campaign.id)
        if task is None:
            task = self._reading[campaign.id] = asyncio.create_task(self._read(campaign, variants))
            task.add_done_callback(lambda done: self._done(campaign.id, done))
        return task

    def _done(self, campaign_id: int, task: asyncio.Task[Tally]) -> None:
        del self._reading[campaign_id]
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.warning("an experiment could not be read: %s", type(failure).__name__)

    async def _read(self, campaign: Campaign, variants: Sequence[Variant]) -> Tally:
        tally = await read_tally(self._store, campaign, variants, self._clock)
        if not self._quick(tally):
            await self._store.tallies.keep(campaign.id, tally)
            # Whoever looks next shall not wait for it.
            await self._tell(campaign, variants, tally)
        self._known[campaign.id] = tally
        return tally
