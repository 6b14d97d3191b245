"""News reach every process, also after a lost connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import uuid4

from arauto.core.settings import Settings
from arauto.core.tasks import end
from arauto.store import Notice, Store
from arauto.store.notices import read
from tests.store.builders import Decisions, new_campaign, tomb_of


class Ear:
    """Listens in the background."""

    def __init__(self, store: Store) -> None:
        self.heard: list[Notice] = []
        self._task = asyncio.create_task(self._listen(store.listen()))

    async def _listen(self, news: AsyncIterator[Notice]) -> None:
        async for notice in news:
            self.heard.append(notice)

    async def wait(self, true: Callable[[list[Notice]], bool]) -> None:
        async with asyncio.timeout(60):
            while not true(self.heard):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        await end(self._task)


async def ready(store: Store, ear: Ear) -> None:
    """Wait until it is listening."""
    while not ear.heard:
        await store.notify("erasure", 0)
        await asyncio.sleep(0.02)


async def test_changes_are_told_to_other_processes(settings: Settings, store: Store) -> None:
    async with await Store.open(settings) as other:
        ear = Ear(other)
        await ready(store, ear)
        campaign, variants = await new_campaign(store)
        await ear.wait(lambda heard: Notice("campaign", campaign.id) in heard)
        decisions = Decisions(campaign, variants)
        visitor = uuid4()
        await store.events.append([decisions.new(visitor=visitor).row("impression")])
        await store.notify("totals", campaign.id)
        await ear.wait(lambda heard: Notice("totals", campaign.id) in heard)
        ear.heard.clear()
        await store.privacy.erase(visitor, tomb_of(visitor), "visitor")
        await ear.wait(lambda heard: {"totals", "erasure"} <= {notice.kind for notice in heard})
        for change in (
            store.catalogue.set_campaign_state(campaign.id, "live", "test"),
            store.catalogue.set_variant_state(variants[0].id, "retired", "test"),
            store.catalogue.add_kit(campaign.id, [], {}, "test"),
        ):
            ear.heard.clear()
            await change
            await ear.wait(lambda heard: Notice("campaign", campaign.id) in heard)
        await ear.close()


async def test_after_a_gap_every_campaign_is_told_of(store: Store) -> None:
    live, _ = await new_campaign(store, "live")
    draft, _ = await new_campaign(store, "draft")
    await store.catalogue.set_campaign_state(live.id, "live", "test")
    ear = Ear(store)
    await ready(store, ear)
    ear.heard.clear()
    await store._database.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE 'LISTEN%%'"
    )
    await ear.wait(lambda heard: Notice("totals", live.id) in heard)
    assert Notice("campaign", live.id) in ear.heard
    assert draft.id not in {notice.id for notice in ear.heard}
    await ear.close()


def test_what_is_not_ours_is_not_heard() -> None:
    assert read("totals:7") == Notice("totals", 7)
    for payload in ("", "totals", "totals:", "totals:x", "totals:-1", "other:7"):
        assert read(payload) is None
