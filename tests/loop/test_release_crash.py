"""kill -9 before every statement of every move, before its commit and after it: log, audit and variants agree."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from arauto.core.settings import Settings
from arauto.store import Store

STEERED = """
import asyncio, itertools, os, signal, sys
from pathlib import Path
import psycopg
from arauto.core.settings import Settings
from arauto.store import Store
# All that a child needs, before it is forked: what each imported for itself would cost more than its work.
import arauto.loop
from tests.loop.test_release_crash import OPERATIONS, operate, verify

HOME = Path(sys.argv[1])

def arm(fatal):
    '''Die at the point of that number: before a statement, before a commit, or after one.'''
    points = itertools.count()

    def point():
        if next(points) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    execute, leave = psycopg.AsyncConnection.execute, psycopg.AsyncTransaction.__aexit__

    async def executed(self, *given, **more):
        point()
        return await execute(self, *given, **more)

    async def left(self, *given):
        point()
        done = await leave(self, *given)
        point()
        return done

    psycopg.AsyncConnection.execute, psycopg.AsyncTransaction.__aexit__ = executed, left

async def work(done, operation, fatal):
    store = await Store.open(Settings(home=HOME))
    # What the one before left when it died.
    assert await verify(store) in (done, done + 1)
    arm(fatal)
    await operate(store, operation)
    os._exit(0)

def forked(job):
    child = os.fork()
    if child == 0:
        asyncio.run(job)
        os._exit(3)
    job.close()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

deaths = 0
for done, operation in enumerate(OPERATIONS):
    for fatal in itertools.count():
        ended = forked(work(done, operation, fatal))
        if ended == 0:
            break
        assert ended == -signal.SIGKILL, (operation, fatal, ended)
        deaths += 1
print(deaths)
"""
OPERATIONS = ("start", "advance", "hold", "resume", "finish", "rollback")
FOLLOWS = {"start": "running", "advance": "running", "hold": "held", "resume": "running", "finish": "done"}


async def operate(store: Store, operation: str) -> None:
    """Do what is next, unless a process that died had done it: what a server does when it comes back."""
    from arauto.core.campaign import Copy
    from arauto.experiments import Guardrail, Reading, next_move, state_after
    from arauto.loop import NewRelease, latest_release, start_release, steer_release
    from arauto.loop.release import _make, moves_of, plan_of

    (campaign,) = await store.catalogue.campaigns()
    last = await store.rollouts.latest(campaign.id)
    if operation == "start":
        if last is None:
            new = Copy(title="new", description="d", image_suggestion="i")
            plan = NewRelease(copies=(new,), steps=(0.2, 0.5, 1.0), guardrails=(Guardrail(name="ctr"),))
            await start_release(store, campaign.id, plan, actor="test")
        return
    assert last is not None
    if last.moves[-1].action == operation:
        return
    if operation in ("hold", "resume", "rollback"):
        await steer_release(store, (await latest_release(store, campaign.id)).id, operation, actor="test")  # type: ignore[arg-type]
        return
    state = state_after(moves_of(last))
    clear = Reading(name="ctr", harm=0.0, safety=9.0, tolerance=0.1)
    assert await _make(store, last, state, next_move(plan_of(last), state, [clear], 1000))


async def verify(store: Store) -> int:
    """How many moves there are; they, the audit log and the variants tell one story."""
    from arauto.experiments import state_after
    from arauto.loop.release import moves_of

    (campaign,) = await store.catalogue.campaigns()
    rollouts = await store.rollouts.of_campaign(campaign.id)
    states = {variant.copy.title: variant.state for variant in await store.catalogue.variants(campaign.id)}
    if not rollouts:
        assert states in ({"pulse 0": "live"}, {"pulse 0": "live", "new": "staged"})
        return 0
    (rollout,) = rollouts
    actions = tuple(line.action for line in rollout.moves)
    assert actions == OPERATIONS[: len(actions)]
    assert [line.version for line in rollout.moves] == list(range(len(actions)))
    for place in range(len(actions)):
        assert state_after(moves_of(rollout)[: place + 1]).status == rollout.moves[place].status
    audit = [entry for entry in await store.catalogue.audit_log() if entry.target == f"release:{rollout.id}"]
    assert [entry.action for entry in reversed(audit)] == [f"release.{action}" for action in actions]
    told = [{name: value for name, value in entry.detail.items() if name != "campaign"} for entry in reversed(audit)]
    assert told == [line.detail for line in rollout.moves]
    done = rollout.moves[-1].status == "done"
    assert states == {"pulse 0": "retired" if done else "live", "new": "live" if done else "staged"}
    return len(actions)


@pytest.fixture
async def home(new_database: Callable[[Path], None]) -> AsyncIterator[Path]:
    """A home with a server whose commits are real, and one live campaign."""
    from tests.store.builders import new_campaign

    with tempfile.TemporaryDirectory(prefix="arauto-") as folder:
        new_database(Path(folder) / "postgres")
        async with await Store.open(Settings(home=Path(folder))) as store:
            campaign, _ = await new_campaign(store, arms=1)
            await store.catalogue.set_campaign_state(campaign.id, "live", "test")
            yield Path(folder)


@pytest.mark.long
async def test_a_release_survives_a_death_at_every_point(home: Path) -> None:
    steered = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        STEERED,
        str(home),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    out, err = await steered.communicate()
    assert steered.returncode == 0, err.decode()[-3000:]
    assert int(out) > 30
    async with await Store.open(Settings(home=home)) as store:
        assert await verify(store) == len(OPERATIONS)


async def test_the_log_cannot_be_rewritten(home: Path) -> None:
    from arauto.core.errors import StoreError

    async with await Store.open(Settings(home=home)) as store:
        await operate(store, "start")
        for statement in ("UPDATE rollout_moves SET share = 1", "DELETE FROM rollout_moves"):
            with pytest.raises(StoreError, match="never rewritten"):
                async with store._database.transaction() as connection:
                    await connection.execute(statement)
        assert await verify(store) == 1
