"""Jobs: done once when all goes well, done again when it did not, never forgotten."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from arauto.core.errors import ConflictError, NotFoundError, StoreError
from arauto.core.settings import Settings
from arauto.store import JobContext, Store, jobs

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:procrastinate")


@asynccontextmanager
async def worker(store: Store):
    stop = asyncio.Event()
    task = asyncio.create_task(store.jobs.run_worker(stop))
    yield
    stop.set()
    await asyncio.wait_for(task, 60)


async def until(store: Store, job: int, state: str):
    for _ in range(600):
        status = await store.jobs.get(job)
        if status.state == state:
            return status
        await asyncio.sleep(0.05)
    pytest.fail(f"the job is still {status}")


async def test_a_job_is_done_and_tells_how_far_it_is(store: Store) -> None:
    seen: list[Any] = []

    async def write(context: JobContext, args: dict[str, Any]) -> None:
        seen.append(args)
        await context.progress(1, 2, "first half")
        seen.append(await store.jobs.get(context.id))
        await context.progress(2, 2, "done")

    store.jobs.register("write", write)
    job = await store.jobs.defer("write", {"campaign": 7, "deep": {"é": [1, None]}})
    assert (await store.jobs.get(job)).state == "waiting"
    await store.jobs.run_worker(wait=False)
    assert seen[0] == {"campaign": 7, "deep": {"é": [1, None]}}
    assert (seen[1].state, seen[1].done, seen[1].total, seen[1].note) == ("running", 1, 2, "first half")
    status = await store.jobs.get(job)
    assert (status.name, status.state, status.done, status.note, status.error) == ("write", "done", 2, "done", "")
    assert await store.jobs.list() == [status]


async def test_a_waiting_worker_is_woken(store: Store) -> None:
    async def nothing(context: JobContext, args: dict[str, Any]) -> None:
        pass

    store.jobs.register("nothing", nothing)
    async with worker(store):
        for _ in range(3):
            await until(store, await store.jobs.defer("nothing", {}), "done")
    newest = await store.jobs.list(2)
    assert [j.id for j in newest] == sorted((j.id for j in newest), reverse=True)
    assert len(newest) == 2


async def test_a_failure_says_why(store: Store) -> None:
    async def fail(context: JobContext, args: dict[str, Any]) -> None:
        await context.progress(3, 9, "so far")
        raise ValueError(args["text"])

    store.jobs.register("fail", fail)
    told = await store.jobs.defer("fail", {"text": "no engine answered"})
    silent = await store.jobs.defer("fail", {"text": ""})
    unknown = await store.jobs.defer("nobody-knows", {})
    await store.jobs.run_worker(wait=False)
    status = await store.jobs.get(told)
    assert (status.state, status.error, status.done, status.note) == ("failed", "no engine answered", 3, "so far")
    assert (await store.jobs.get(silent)).error == "ValueError"
    assert (await store.jobs.get(unknown)).state == "failed"
    with pytest.raises(NotFoundError):
        await store.jobs.get(10**6)


async def test_a_stopped_workers_job_goes_on_elsewhere(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "STOP_SECONDS", 0.1)
    started = asyncio.Event()

    async def endless(context: JobContext, args: dict[str, Any]) -> None:
        await context.progress(4, 10, "half-way")
        started.set()
        await asyncio.sleep(3600)

    store.jobs.register("work", endless)
    job = await store.jobs.defer("work", {})
    async with worker(store):
        await asyncio.wait_for(started.wait(), 60)
    assert (await store.jobs.get(job)).state == "waiting"

    found: list[int] = []

    async def resume(context: JobContext, args: dict[str, Any]) -> None:
        found.append(context.done)
        await context.progress(10, 10)

    async with await Store.open(settings) as other:
        other.jobs.register("work", resume)
        await other.jobs.run_worker(wait=False)
    assert found == [4]
    assert (await store.jobs.get(job)).done == 10


async def test_a_job_is_cancelled_before_it_begins_or_while_it_runs(store: Store) -> None:
    seen: list[str] = []
    started = asyncio.Event()

    async def endless(context: JobContext, args: dict[str, Any]) -> None:
        seen.append(args["name"])
        await context.progress(3, 9, "so far")
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            seen.append("told")

    store.jobs.register("endless", endless)
    never = await store.jobs.defer("endless", {"name": "never"})
    assert (await store.jobs.cancel(never)).state == "cancelled"
    job = await store.jobs.defer("endless", {"name": "one"})
    async with worker(store):
        await asyncio.wait_for(started.wait(), 60)
        await store.jobs.cancel(job)
        status = await until(store, job, "cancelled")
    assert (status.done, status.note, status.error) == (3, "so far", "")
    assert seen == ["one", "told"]
    await store.jobs.run_worker(wait=False)
    assert seen == ["one", "told"], "nobody takes it up again"
    with pytest.raises(ConflictError, match="is cancelled"):
        await store.jobs.cancel(job)
    with pytest.raises(NotFoundError):
        await store.jobs.cancel(10**6)


async def test_a_dead_workers_job_is_taken_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that vanished leaves a job that runs under a name that sends no heartbeat."""
    runs: list[int] = []

    async def work(context: JobContext, args: dict[str, Any]) -> None:
        runs.append(context.done)

    store.jobs.register("work", work)
    job = await store.jobs.defer("work", {})
    await _pretend_taken(store, job)
    await store.jobs.run_worker(wait=False)
    assert runs == []  # it may be alive still
    monkeypatch.setattr(jobs, "HEARTBEAT_SECONDS", 0.1)
    async with store._database.connection() as connection:
        await connection.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 minute'")
    async with worker(store):
        await until(store, job, "done")
    assert runs == [0]


async def test_a_job_that_kills_its_workers_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "STALLED_SECONDS", 0.0)
    job = await store.jobs.defer("deadly", {})
    await _pretend_taken(store, job)
    async with store._database.connection() as connection:
        await connection.execute("UPDATE procrastinate_jobs SET attempts = 4")
    await store.jobs.run_worker(wait=False)
    status = await store.jobs.get(job)
    assert (status.state, status.error) == ("failed", "was interrupted 5 times")


async def test_a_job_that_missed_the_store_is_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []

    async def work(context: JobContext, args: dict[str, Any]) -> None:
        runs.append(1)
        if len(runs) == 1:
            raise StoreError("the database was away")

    store.jobs.register("work", work)
    job = await store.jobs.defer("work", {})
    async with worker(store):
        await until(store, job, "done")
    assert len(runs) == 2


async def test_the_worker_outlives_its_connections(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(context: JobContext, args: dict[str, Any]) -> None:
        pass

    monkeypatch.setattr(jobs, "HEARTBEAT_SECONDS", 0.1)
    store.jobs.register("nothing", nothing)
    async with worker(store):
        await until(store, await store.jobs.defer("nothing", {}), "done")
        async with store._database.connection() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        await until(store, await store.jobs.defer("nothing", {}), "done")


async def _pretend_taken(store: Store, job: int) -> None:
    async with store._database.connection() as connection:
        await connection.execute(
            "WITH w AS (INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id)"
            " UPDATE procrastinate_jobs SET status = 'doing', worker_id = w.id FROM w WHERE procrastinate_jobs.id = %s",
            [job],
        )
