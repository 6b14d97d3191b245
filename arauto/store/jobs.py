"""Background work: procrastinate's queue in the same database, with progress that survives a restart.

A job runs at least once: when its process dies, or the database does, another worker takes it up again. So a job asks
its context how far it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import procrastinate
import psycopg
from procrastinate import exceptions, jobs, retry
from procrastinate.job_context import JobContext as QueueContext
from psycopg.rows import DictRow

from arauto.core.clock import Clock
from arauto.core.errors import ArautoError, ConflictError, NotFoundError, StoreError
from arauto.core.tasks import end
from arauto.store.database import Database
from arauto.store.records import JobState, JobStatus

HEARTBEAT_SECONDS = 2.0
STALLED_SECONDS = 10.0
"""A worker that was silent for so long is dead, and its jobs are free."""
MAX_ATTEMPTS = 5
"""A job that was interrupted so often fails: it may be what brings its process down."""
STOP_SECONDS = 5.0
"""How long a stopping worker lets its jobs finish, before it puts them back into the queue."""

_STATES: dict[str, JobState] = {"todo": "waiting", "doing": "running", "succeeded": "done"}
_STATUS = (
    "SELECT j.id, j.task_name AS name, j.status::text, j.abort_requested AS asked,"
    " coalesce(p.done, 0) AS done, coalesce(p.total, 0) AS total,"
    " coalesce(p.note, '') AS note, coalesce(p.error, '') AS error"
    " FROM procrastinate_jobs j LEFT JOIN job_progress p ON p.job_id = j.id"
)

_log = logging.getLogger("arauto.store.jobs")


class JobContext:
    """A running job's hold on its own record. An interrupted run left its ``done``, ``total`` and ``note`` here."""

    def __init__(self, database: Database, clock: Clock, status: JobStatus) -> None:
        self._database = database
        self._clock = clock
        self.id = status.id
        self.done = status.done
        self.total = status.total
        self.note = status.note

    async def progress(self, done: int, total: int, note: str = "") -> None:
        """Write down how far the job is; committed when this returns."""
        self.done, self.total, self.note = done, total, note
        await self.write(error="")

    async def write(self, error: str) -> None:
        """Write the record as it stands."""
        async with self._database.connection() as connection:
            await connection.execute(
                "INSERT INTO job_progress (job_id, done, total, note, error, updated_ms)"
                " VALUES (%s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (job_id) DO UPDATE SET done = EXCLUDED.done, total = EXCLUDED.total,"
                " note = EXCLUDED.note, error = EXCLUDED.error, updated_ms = EXCLUDED.updated_ms",
                [self.id, self.done, self.total, self.note, error, self._clock.now_ms()],
            )


Run = Callable[[JobContext, dict[str, Any]], Awaitable[None]]


class _PutBack(retry.BaseRetryStrategy):
    """A job cut short by its stopping worker, or by an outage of the store, goes back into the queue; no other does."""

    def get_retry_decision(self, *, exception: BaseException, job: jobs.Job) -> retry.RetryDecision | None:
        if isinstance(exception, asyncio.CancelledError | exceptions.JobAborted):
            return retry.RetryDecision()
        if isinstance(exception, StoreError) and job.attempts + 1 < MAX_ATTEMPTS:
            return retry.RetryDecision(retry_in={"seconds": 2})
        return None


class Jobs:
    """The queue. Any process may defer; one that registered a job's function and runs a worker performs it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._app = procrastinate.App(connector=procrastinate.PsycopgConnector())

    def register(self, name: str, run: Run) -> None:
        """Say how jobs of that name are done."""

        async def perform(context: QueueContext, args: dict[str, Any]) -> None:
            if context.job.id is None:
                raise RuntimeError("a running job has an id")
            record = JobContext(self._database, self._clock, await self.get(context.job.id))
            try:
                await run(record, args)
            except Exception as failure:
                await record.write(error=str(failure) or type(failure).__name__)
                raise

        self._app.task(name=name, pass_context=True, retry=_PutBack())(perform)

    async def defer(self, name: str, args: Mapping[str, Any], *, once: bool = False) -> int:
        """Put a job into the queue. ``args`` is plain data; it must name no visitor, for finished jobs are kept.

        ``once``: 0, and nothing is done, while a job of that name waits already.
        """
        await self._open()
        try:
            task = self._app.configure_task(name, queueing_lock=name if once else None)
            return await task.defer_async(args=dict(args))
        except exceptions.AlreadyEnqueued:
            return 0
        except exceptions.ConnectorException as failure:
            raise StoreError(f"the job was not put into the queue: {failure}", mend="try again") from failure

    async def get(self, job_id: int) -> JobStatus:
        """Raises :class:`NotFoundError`."""
        row = await self._database.fetch_one(_STATUS + " WHERE j.id = %s", [job_id])
        if row is None:
            raise NotFoundError(f"there is no job {job_id}", field="job", mend="list the jobs")
        return _status(row)

    async def cancel(self, job_id: int) -> JobStatus:
        """Have a job end: one that waits is never begun; one that runs is told, and what it made so far stays.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it has ended.
        """
        await self._open()
        try:
            asked = await self._app.job_manager.cancel_job_by_id_async(job_id, abort=True)
        except exceptions.ConnectorException as failure:
            raise StoreError(f"the job was not cancelled: {failure}", mend="try again") from failure
        status = await self.get(job_id)
        if not asked:
            raise ConflictError(f"job {job_id} is {status.state}", field="job", mend="there is nothing to cancel")
        return status

    async def list(self, limit: int = 50) -> list[JobStatus]:
        """The newest jobs first."""
        return [_status(row) for row in await self._database.fetch(_STATUS + " ORDER BY j.id DESC LIMIT %s", [limit])]

    async def run_worker(self, stop: asyncio.Event | None = None, *, wait: bool = True) -> None:
        """Do jobs until ``stop`` is set, or with ``wait=False`` until none waits. Outlives outages of the database."""
        await self._open()
        stop = stop or asyncio.Event()
        while not stop.is_set():
            worker = asyncio.create_task(self._work(wait))
            asked = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({worker, asked}, return_when=asyncio.FIRST_COMPLETED)
                ended = worker.done()
            finally:
                await end(worker, asked)
            failure = asyncio.CancelledError() if worker.cancelled() else worker.exception()
            if ended and failure is None and not wait:
                return
            if ended and not stop.is_set():
                _log.warning("the worker starts again after: %r", failure)
                await asyncio.sleep(1)

    async def _work(self, wait: bool) -> None:
        await self._rescue()
        rescuer = asyncio.create_task(self._keep_rescuing())
        try:
            await self._app.run_worker_async(
                wait=wait,
                install_signal_handlers=False,
                update_heartbeat_interval=HEARTBEAT_SECONDS,
                stalled_worker_timeout=STALLED_SECONDS,
                shutdown_graceful_timeout=STOP_SECONDS,
                fetch_job_polling_interval=2.0,
            )
        finally:
            await end(rescuer)

    async def _keep_rescuing(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._rescue()

    async def _rescue(self) -> None:
        """Free the jobs of dead workers."""
        try:
            stalled = await self._app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS)
            for job in stalled:
                await self._free(job)
        except (exceptions.ConnectorException, psycopg.Error, ArautoError) as failure:
            _log.warning("interrupted jobs were not looked for: %s", failure)

    async def _free(self, job: jobs.Job) -> None:
        if job.id is None or job.attempts + 1 < MAX_ATTEMPTS:
            _log.warning("job %s (%s) was interrupted and starts again", job.id, job.task_name)
            await self._app.job_manager.retry_job(job)
            return
        record = JobContext(self._database, self._clock, await self.get(job.id))
        await record.write(error=f"was interrupted {MAX_ATTEMPTS} times")
        await self._app.job_manager.finish_job(job, jobs.Status.FAILED, delete_job=False)

    async def _open(self) -> None:
        await self._app.open_async(pool=self._database.pool)


def _status(row: DictRow) -> JobStatus:
    asked = row.pop("asked")
    state = _STATES.get(row.pop("status"), "cancelled" if asked else "failed")
    return JobStatus(state=state, **row)
