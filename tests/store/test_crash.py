"""kill -9 of the database or of a writer, at any moment: nothing acknowledged is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from arauto.core.errors import StoreError
from arauto.core.events import EventRow
from arauto.core.settings import Settings
from arauto.store import Store, jobs
from tests.store.builders import Decisions, new_campaign

WRITER = """
import asyncio, os, sys
from pathlib import Path
from arauto.core.settings import Settings
from arauto.store import Store
from tests.store.test_crash import news
from tests.store.builders import Decisions

async def main():
    async with await Store.open(Settings(home=Path(sys.argv[1]))) as store:
        campaign = (await store.catalogue.campaigns())[0]
        decisions = Decisions(campaign, await store.catalogue.variants(campaign.id))
        while True:
            rows = news(decisions)
            answer = await store.events.append(rows)
            assert "refused" not in answer.status, answer.problems
            os.write(1, "".join(f"{row.event_id}\\n" for row in rows).encode())

asyncio.run(main())
"""


def news(decisions: Decisions) -> list[EventRow]:
    """Events of some new decisions."""
    now = int(time.time() * 1000)
    told = [
        decisions.new(at_ms=now, variant=random.randrange(3), visitor=uuid4() if random.random() < 0.3 else None)
        for _ in range(random.randrange(1, 12))
    ]
    return [
        row
        for decision in told
        for row in (
            decision.row("impression"),
            decision.row("click"),
            decision.purchase("o", random.randrange(10**6)),
            decision.vital("LCP", 99.0),
        )
    ]


@pytest.fixture
async def home(new_database: Callable[[Path], None]) -> AsyncIterator[Path]:
    """A home with a server whose commits are real, and one campaign."""
    with tempfile.TemporaryDirectory(prefix="arauto-") as folder:
        new_database(Path(folder) / "postgres")
        async with await Store.open(Settings(home=Path(folder))) as store:
            await new_campaign(store)
        yield Path(folder)


async def kill_server(home: Path) -> None:
    """Kill it; when it happens to be down, others are bringing it up, and it is waited for."""
    for _ in range(1200):
        try:
            return os.kill(int((home / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        except (OSError, IndexError):
            await asyncio.sleep(0.05)
    raise TimeoutError


async def answers(store: Store) -> bool:
    try:
        await store.ping()
    except StoreError:
        return False
    return True


async def verify(store: Store, acknowledged: set[UUID]) -> int:
    """All that was acknowledged is there, and counted once. Returns how many events there are."""
    (campaign,) = await store.catalogue.campaigns()
    stored = {row["event_id"] for row in await store._database.fetch("SELECT event_id FROM events")}
    assert acknowledged <= stored
    recount = await store.rollups.recount(campaign.id)
    assert await store.rollups.totals(campaign.id) == recount.totals
    assert await store.rollups.series(campaign.id, step="minute") == recount.minutes
    assert await store.rollups.vitals(campaign.id) == recount.vitals
    # Every decision told of four things; none is half there, for a batch commits as a whole.
    assert sum(arm.impressions for arm in recount.totals) * 4 == len(stored)
    return len(stored)


async def test_a_living_process_outlives_the_death_of_its_database(home: Path) -> None:
    acknowledged: set[UUID] = set()
    async with await Store.open(Settings(home=home)) as store, await Store.open(Settings(home=home)) as second:
        (campaign,) = await store.catalogue.campaigns()
        decisions = Decisions(campaign, await store.catalogue.variants(campaign.id))
        stop = False

        async def write(writer: Store) -> None:
            while not stop:
                rows = news(decisions)
                answer = await writer.events.append(rows + rows[:2])
                assert not answer.problems
                acknowledged.update(row.event_id for row in rows)

        async def read() -> None:
            while not stop:
                await second.rollups.totals(campaign.id)
                await second.catalogue.campaigns()
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(work) for work in (write(store), write(second), read())]
        for _ in range(4):
            before = len(acknowledged)
            while len(acknowledged) < before + 40:
                await asyncio.sleep(0.01)
                assert not any(task.done() for task in tasks)
            await kill_server(home)
        stop = True
        await asyncio.gather(*tasks)
        # A ping tells of now, and the server may be coming up still; that it comes is what is waited for.
        async with asyncio.timeout(60):
            while not await answers(second):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await verify(store, acknowledged) == len(acknowledged)


async def test_killed_writers_lose_nothing_they_acknowledged(home: Path) -> None:
    said: list[bytes] = []
    for turn in range(3):
        writer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WRITER, str(home)),
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert writer.stdout is not None
        lines = 0
        while lines < 60 * (turn + 1):
            said.append(await asyncio.wait_for(writer.stdout.readline(), 60))
            assert said[-1].endswith(b"\n")
            lines += 1
        if turn == 1:
            await kill_server(home)
        writer.kill()
        said += (await writer.stdout.read()).splitlines(keepends=True)
        await writer.wait()
    acknowledged = {UUID(line.decode().strip()) for line in said if len(line) == 37}
    async with await Store.open(Settings(home=home)) as store:
        assert await verify(store, acknowledged) >= len(acknowledged) >= 360


async def test_a_job_goes_on_after_its_database_died(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "HEARTBEAT_SECONDS", 0.2)
    monkeypatch.setattr(jobs, "STALLED_SECONDS", 3.0)
    monkeypatch.setattr(jobs, "STOP_SECONDS", 0.2)
    steps: list[int] = []

    async with await Store.open(Settings(home=home)) as store:

        async def work(context, args) -> None:
            while context.done < 10:
                await context.progress(context.done + 1, 10)
                steps.append(context.done)
                if context.done == 5 and steps.count(5) == 1:
                    await kill_server(home)

        store.jobs.register("work", work)
        job = await store.jobs.defer("work", {})
        stop = asyncio.Event()
        worker = asyncio.create_task(store.jobs.run_worker(stop))
        async with asyncio.timeout(60):
            while (await store.jobs.get(job)).state != "done":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        stop.set()
        await worker
        assert (await store.jobs.get(job)).done == 10
        assert steps[:5] == [1, 2, 3, 4, 5]


async def test_patience_ends(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the server cannot come back, calls fail with our error, and work again once it can."""
    async with await Store.open(Settings(home=home), patience=0.5) as store:
        (campaign,) = await store.catalogue.campaigns()
        decisions = Decisions(campaign, await store.catalogue.variants(campaign.id))
        config = home / "postgres" / "postgresql.auto.conf"
        good = config.read_text()
        config.write_text("shared_buffers = nonsense\n")
        monkeypatch.setattr("arauto.store.embedded.START_SECONDS", 0.1)
        await kill_server(home)
        rows = news(decisions)
        for call in (
            store.events.append(rows),
            store.rollups.totals(campaign.id),
            store.catalogue.ensure_site("x"),
            store.ping(),
            store.jobs.defer("work", {}),
        ):
            with pytest.raises(StoreError):
                await call
        config.write_text(good)
        monkeypatch.undo()
        store._database.patience = 60
        await store.events.append(rows)
        async with asyncio.timeout(60):
            while True:
                with suppress(StoreError):
                    await verify(store, {row.event_id for row in rows})
                    break


# A connection whose making is cancelled half-way is left to the collector by psycopg, which warns of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_cancelled_append_leaves_a_working_log(home: Path) -> None:
    async with await Store.open(Settings(home=home)) as store:
        (campaign,) = await store.catalogue.campaigns()
        decisions = Decisions(campaign, await store.catalogue.variants(campaign.id))
        batches = [news(decisions) for _ in range(20)]
        for batch in batches:
            task = asyncio.create_task(store.events.append(batch))
            await asyncio.sleep(random.random() * 0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for batch in batches:
            await store.events.append(batch)
        await verify(store, {row.event_id for batch in batches for row in batch})


async def test_a_closed_store_stays_closed(home: Path) -> None:
    store = await Store.open(Settings(home=home))
    await store.close()
    for call in (store.ping(), store.rollups.totals(1), store.catalogue.sites(), store.receipt_secret()):
        with pytest.raises(StoreError):
            await call
    assert not (home / "postgres" / "postmaster.pid").exists()


async def test_lost_data_are_not_replaced_by_an_empty_database(home: Path) -> None:
    async with await Store.open(Settings(home=home), patience=0.5) as store:
        await kill_server(home)
        (home / "postgres").rename(home / "moved")
        with pytest.raises(StoreError, match="are gone"):
            await store._database.connect()
        assert not (home / "postgres").exists()
        (home / "moved").rename(home / "postgres")
    async with await Store.open(Settings(home=home)) as store:
        assert len(await store.catalogue.campaigns()) == 1
