import asyncio

import pytest

from arauto.core.errors import StoreError
from arauto.core.events import EventRow
from arauto.core.ids import uuid7
from arauto.loop import ingest as module
from arauto.loop.ingest import Ingest
from arauto.store import Appended


class Log:
    """A scripted event log that can be held, and can fail."""

    def __init__(self):
        self.groups = []
        self.go = asyncio.Event()
        self.go.set()
        self.fail = []
        self.poison = None
        self.committed = []

    async def append(self, rows):
        await self.go.wait()
        self.groups.append(list(rows))
        if self.fail:
            raise self.fail.pop()
        if self.poison in rows:
            raise ValueError("a row that cannot be stored")
        status = ["refused" if row.ref == "bad" else "stored" for row in rows]
        problems = {place: "too many" for place, row in enumerate(rows) if row.ref == "bad"}
        return Appended(status=status, changed=frozenset({1}), problems=problems)

    async def after(self, changed):
        self.committed.append((len(self.groups), set(changed)))


def rows(n=1, ref=""):
    return [
        EventRow(event_id=uuid7(), type="click", site_id=1, occurred_ms=1, received_ms=1, ref=ref) for _ in range(n)
    ]


@pytest.fixture
async def log():
    return Log()


@pytest.fixture
async def ingest(log):
    made = Ingest(log.append, log.after)
    yield made
    log.go.set()
    await made.close()


async def test_what_arrives_together_is_committed_together(ingest, log):
    log.go.clear()
    first = asyncio.create_task(ingest.put(rows(1)))
    await asyncio.sleep(0)
    others = [asyncio.create_task(ingest.put(rows(n))) for n in (2, 3, 4)]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in (first, *others))
    log.go.set()
    outcomes = await asyncio.gather(first, *others)
    assert [len(outcome.status) for outcome in outcomes] == [1, 2, 3, 4]
    assert [len(group) for group in log.groups] in ([1, 9], [10])
    assert log.committed[-1] == (len(log.groups), {1})


async def test_each_request_gets_its_own_statuses(ingest, log):
    log.go.clear()
    tasks = [asyncio.create_task(ingest.put(part)) for part in (rows(1), rows(1, "bad"), rows(1) + rows(1, "bad"))]
    await asyncio.sleep(0.01)
    log.go.set()
    outcomes = await asyncio.gather(*tasks)
    assert [list(outcome.status) for outcome in outcomes] == [["stored"], ["refused"], ["stored", "refused"]]
    assert [dict(outcome.problems) for outcome in outcomes] == [{}, {0: "too many"}, {1: "too many"}]


async def test_nothing_is_put_for_nothing(ingest, log):
    assert list((await ingest.put([])).status) == []
    assert log.groups == []


async def test_groups_are_bounded(ingest, log):
    log.go.clear()
    tasks = [asyncio.create_task(ingest.put(rows(500))) for _ in range(9)]
    await asyncio.sleep(0.01)
    log.go.set()
    await asyncio.gather(*tasks)
    assert max(len(group) for group in log.groups) <= module.MOST
    assert sum(len(group) for group in log.groups) == 4500


async def test_a_store_that_is_away_is_told_to_all_who_wait(ingest, log):
    log.go.clear()
    log.fail = [StoreError("away"), StoreError("away")]
    tasks = [asyncio.create_task(ingest.put(rows())) for _ in range(3)]
    await asyncio.sleep(0.01)
    log.go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    failed = [result for result in results if isinstance(result, StoreError)]
    assert failed
    assert len(set(map(id, failed))) == len(failed)
    log.fail = []
    assert list((await ingest.put(rows())).status) == ["stored"]


async def test_a_poisonous_row_costs_only_its_own_request(ingest, log):
    bad, good = rows(1), rows(1)
    log.poison = bad[0]
    log.go.clear()
    tasks = [asyncio.create_task(ingest.put(part)) for part in (rows(1), good, bad, rows(1))]
    await asyncio.sleep(0.01)
    log.go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, ValueError) for result in results] == [False, False, True, False]


async def test_too_much_waiting_is_refused_at_once(ingest, log, monkeypatch):
    monkeypatch.setattr(module, "ROOM", 10)
    log.go.clear()
    waiting = asyncio.create_task(ingest.put(rows(8)))
    await asyncio.sleep(0)
    with pytest.raises(StoreError):
        await ingest.put(rows(3))
    log.go.set()
    assert len((await waiting).status) == 8


async def test_a_failure_after_the_commit_does_not_undo_it(log):
    async def after(changed):
        raise StoreError("away")

    made = Ingest(log.append, after)
    assert list((await made.put(rows())).status) == ["stored"]
    await made.close()


async def test_closing_writes_what_waits_and_takes_no_more(log):
    made = Ingest(log.append, log.after)
    log.go.clear()
    waiting = [asyncio.create_task(made.put(rows())) for _ in range(3)]
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(made.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreError):
        await made.put(rows())
    log.go.set()
    await closing
    assert [list(task.result().status) for task in waiting] == [["stored"]] * 3


async def test_who_went_away_is_not_waited_for(ingest, log):
    log.go.clear()
    gone = asyncio.create_task(ingest.put(rows()))
    stays = asyncio.create_task(ingest.put(rows()))
    await asyncio.sleep(0.01)
    gone.cancel()
    log.go.set()
    assert list((await stays).status) == ["stored"]
