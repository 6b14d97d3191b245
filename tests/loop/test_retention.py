"""Old months leave as files, and nothing that anybody reads changes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from uuid import uuid4

import msgspec
import polars
import pytest
from click.testing import CliRunner

from arauto.cli import main
from arauto.core.clock import FakeClock
from arauto.core.errors import ConflictError, InputError, SettingError
from arauto.core.ids import uuid7
from arauto.core.settings import load_settings
from arauto.loop import archive_events, register_jobs
from arauto.loop.retention import RETENTION_JOB
from arauto.server import to_environ
from arauto.store import Store
from tests.store.builders import NOW, Decisions, loose, new_campaign, tomb_of

DAY = 86_400_000
JUNE, JULY = NOW - 173 * DAY, NOW - 125 * DAY  # the 1st of June 2026 and the 19th of July
JULY_1 = 1_782_864_000_000


@pytest.fixture
def kept(settings):
    return msgspec.structs.replace(settings, keep_events_days=100)


async def fill(kept):
    """June, July and now: decisions with everything that can be told of them. Returns the campaign's id, a visitor."""
    async with await Store.open(kept, clock=FakeClock(JUNE)) as store:
        decisions = Decisions(*await new_campaign(store))
        visitor = uuid4()
        rows = []
        for at_ms in (JUNE, JUNE + DAY, JULY, NOW):
            for stage in (0, 7):
                told = decisions.new(at_ms=at_ms, visitor=visitor, stage=stage)
                rows += [told.row("impression"), told.row("click"), told.purchase("order-99", 1990)]
                rows += [told.vital("LCP", 1200.0 + stage), told.row("rating", score=4), told.row("cart", ref="item-7")]
                rows += [told.row("custom", name="complaint", props={"secret": "prop-5"})]
        # A page whose clock is behind, one whose clock is right over midnight, one who cannot be joined.
        early = decisions.new(at_ms=JULY_1 + 5_000)
        rows += [early.row("impression", event_id=uuid7(JULY_1 - 60_000)), early.vital("LCP", 7.0)]
        late = decisions.new(at_ms=JULY_1 - 5_000)
        rows += [late.row("impression", after_ms=1000), late.row("click", after_ms=9000)]
        rows += [loose("custom", decisions.campaign.site_id, visitor, JUNE, name="loose")]
        done = await store.events.append(rows)
        assert set(done.status) == {"stored"}
    return decisions.campaign.id, visitor


async def told(store, campaign):
    rollups = store.rollups
    return {
        "totals": await rollups.totals(campaign),
        "minutes": await rollups.series(campaign, step="minute"),
        "hours": await rollups.series(campaign, step="hour"),
        "vitals": await rollups.vitals(campaign),
        "staged": await rollups.staged(campaign),
    }


async def same(store, campaign):
    recount = await store.rollups.recount(campaign)
    now = await told(store, campaign)
    assert msgspec.structs.asdict(recount) == now
    return now


async def count(store):
    (row,) = await store._database.fetch("SELECT count(*) AS n FROM events")
    return row["n"]


def frames(kept):
    return polars.concat([polars.read_parquet(path) for path in sorted((kept.home / "archive").rglob("*.parquet"))])


async def test_months_leave_and_every_number_stays(kept, monkeypatch):
    monkeypatch.setattr("arauto.loop.retention.PART_ROWS", 10)
    campaign, visitor = await fill(kept)
    async with await Store.open(kept, clock=FakeClock(NOW)) as store:
        before, rows = await same(store, campaign), await count(store)
        months = await archive_events(store, kept)
        assert [(month.month, month.rows) for month in months] == [("2026_05", 0), ("2026_06", 30), ("2026_07", 17)]
        assert await same(store, campaign) == before
        # What a page told of July's first decision in June left with July.
        assert (rows, await count(store)) == (61, 14)
        tables = await store._database.fetch("SELECT relname FROM pg_class WHERE relname ~ '^events_2026_0[67]$'")
        assert tables == []
        # Once more: nothing is left to do.
        assert await archive_events(store, kept) == months
        told_of = frames(kept)
        assert told_of.height == 47
        assert len(months[1].files) > 1
        assert set(told_of["minute_ms"] % 60_000) == {0}
        # Events of one decision are still together.
        june = told_of.filter(polars.col("minute_ms") < JULY_1 - 60_000)
        assert sorted(june.drop_nulls("decision").group_by("decision").len()["len"]) == [7, 7, 7, 7]
        assert "click" in str(told_of.to_dicts())
        for secret in ("order-99", "item-7", "prop-5", str(visitor), visitor.hex):
            assert secret not in str(told_of.to_dicts())
        # An erasure afterwards takes the visitor out of what is left, and the numbers still agree.
        gone = await store.privacy.erase(visitor, tomb_of(visitor), "visitor")
        assert gone["exposures"] == 8
        after = await same(store, campaign)
        assert sum(total.impressions for total in after["totals"]) == 2
        (entry, *_) = [one for one in await store.catalogue.audit_log() if one.action == "events.archive"]
        assert entry.target == "month:2026_07"


async def test_a_visitor_erased_between_the_files_and_the_drop_is_in_neither(kept, monkeypatch):
    campaign, visitor = await fill(kept)
    async with await Store.open(kept, clock=FakeClock(NOW)) as store:
        drop, done = store.archive.drop, []

        async def erase_first(month):
            if month.month == 6 and not done:
                done.append(await store.privacy.erase(visitor, tomb_of(visitor), "visitor"))
            return await drop(month)

        monkeypatch.setattr(store.archive, "drop", erase_first)
        months = await archive_events(store, kept)
        assert [month.rows for month in months] == [0, 1, 3]
        assert frames(kept).height == 4
        await same(store, campaign)


async def test_what_keeps_changing_is_told(kept, monkeypatch):
    await fill(kept)
    async with await Store.open(kept, clock=FakeClock(NOW)) as store:

        async def never(_):
            return False

        monkeypatch.setattr(store.archive, "drop", never)
        with pytest.raises(ConflictError):
            await archive_events(store, kept)


KILLED = """
import asyncio, os, signal
from arauto.core.clock import FakeClock
from arauto.core.settings import load_settings
from arauto.loop import archive_events, retention
from arauto.store import Store
from arauto.store.archive import Archive

def at_june(run):
    def die(*args):
        if any("2026-06" in str(one) or "2026_06" in str(one) for one in args):
            os.kill(os.getpid(), signal.SIGKILL)
        return run(*args)
    return die

async def main():
    settings = load_settings()
    async with await Store.open(settings, clock=FakeClock({now})) as store:
        {where} = at_june({where})
        await archive_events(store, settings)
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "where",
    ["retention._flush", "Archive.note", "Archive.drop", "Archive._keep_sums"],
    ids=lambda where: where.split(".")[1],
)
async def test_a_kill_at_any_step_loses_and_doubles_nothing(kept, where):
    campaign, _ = await fill(kept)
    async with await Store.open(kept, clock=FakeClock(NOW)) as store:
        before = await same(store, campaign)
    process = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED.format(now=NOW, where=where)],
        env={**os.environ, **to_environ(kept)},
        capture_output=True,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    async with await Store.open(kept, clock=FakeClock(NOW)) as store:
        assert await same(store, campaign) == before
        months = await archive_events(store, kept)
        assert all(month.dropped_ms for month in months)
        assert await same(store, campaign) == before
        assert frames(kept).height == sum(month.rows for month in months) == 47


async def test_the_queue_does_it_once(kept):
    campaign, _ = await fill(kept)
    async with await Store.open(kept, clock=FakeClock(NOW)) as store:
        first = await store.jobs.defer(RETENTION_JOB, {}, once=True)
        assert first
        assert await store.jobs.defer(RETENTION_JOB, {}, once=True) == 0
        register_jobs(store, kept)
        await store.jobs.run_worker(wait=False)
        status = await store.jobs.get(first)
        assert (status.state, status.done, status.total) == ("done", 3, 3)
        assert await count(store) == 14
        await same(store, campaign)


async def test_what_is_wrong_is_told_and_nothing_is_dropped(kept, tmp_path, monkeypatch):
    campaign, _ = await fill(kept)
    blocked = tmp_path / "file"
    blocked.write_text("")
    async with await Store.open(kept, clock=FakeClock(NOW)) as store:
        with pytest.raises(InputError) as caught:
            await archive_events(store, msgspec.structs.replace(kept, archive_dir=blocked))
        assert caught.value.field == "archive_dir"
        monkeypatch.setitem(sys.modules, "polars", None)
        with pytest.raises(InputError, match=r"arauto\[data\]"):
            await archive_events(store, kept)
        assert await count(store) == 61
        await same(store, campaign)


def test_too_few_days_are_refused(tmp_path):
    with pytest.raises(SettingError) as caught:
        load_settings(tmp_path, {}, keep_events_days=99)
    assert caught.value.field == "keep_events_days"
    assert load_settings(tmp_path, {}, keep_events_days=100).keep_events_days == 100


async def test_the_command_shows_every_month_that_went(kept, monkeypatch):
    await fill(kept)
    async with await Store.open(kept, clock=FakeClock(NOW)) as store:
        await archive_events(store, kept)
    for name, value in to_environ(kept).items():
        monkeypatch.setenv(name, value)
    told = await asyncio.to_thread(CliRunner().invoke, main, ["archive"])
    assert told.exit_code == 0, told.output
    assert told.output.splitlines() == [
        "2026-05: 0 events, 0 files",
        "2026-06: 30 events, 1 files",
        "2026-07: 17 events, 1 files",
    ]
    told = await asyncio.to_thread(CliRunner().invoke, main, ["archive", "--json"])
    assert [month["rows"] for month in json.loads(told.output)] == [0, 30, 17]
