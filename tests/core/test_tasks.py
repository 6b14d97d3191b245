"""Background work ends when it is told to, though it be told at the wrong moment."""

import asyncio

import pytest

from arauto.core import tasks


async def test_a_task_that_loses_a_cancellation_is_asked_again(monkeypatch):
    monkeypatch.setattr(tasks, "ASK_AGAIN_S", 0.01)
    lost = 0

    async def deaf():
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await tasks.end(task)
    assert task.cancelled()
    assert lost == 3


async def test_what_is_waited_for_may_be_done_as_the_cancellation_comes():
    ready = asyncio.Event()

    async def work():
        await asyncio.wait_for(ready.wait(), 60)
        await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    ready.set()
    await asyncio.sleep(0)
    await tasks.end(task)
    assert task.done()


async def test_an_outcome_is_nobodys_trouble():
    async def broken():
        raise RuntimeError

    failed, done = asyncio.create_task(broken()), asyncio.create_task(asyncio.sleep(0))
    await asyncio.wait({failed, done})
    await tasks.end(failed, done)
    assert isinstance(failed.exception(), RuntimeError)
    await tasks.end()


@pytest.mark.parametrize("ended_first", [True, False])
async def test_whoever_waits_can_be_cancelled(ended_first):
    async def deaf():
        while not gone.is_set():
            try:
                await gone.wait()
            except asyncio.CancelledError:
                continue

    gone = asyncio.Event()
    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    ending = asyncio.create_task(tasks.end(task))
    await asyncio.sleep(0)
    if ended_first:
        gone.set()
        await ending
    else:
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        gone.set()
    await task
