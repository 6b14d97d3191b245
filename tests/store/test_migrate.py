"""Migrations and partitions: forward, once, by whoever comes first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from arauto.core.clock import FakeClock
from arauto.core.errors import StoreError
from arauto.core.ids import uuid7
from arauto.core.settings import Secret, Settings
from arauto.store import Store, migrate
from arauto.store.partitions import bound, months_around, next_month
from tests.store.builders import NOW, Decisions, loose, new_campaign


@pytest.fixture
def empty(postgres: str, settings: Settings) -> Settings:
    """A database that nobody migrated (in place of the test's own)."""
    name = psycopg.conninfo.conninfo_to_dict(settings.database_url.reveal())["dbname"]
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name}".encode())
        connection.execute(f"CREATE DATABASE {name}".encode())
    return settings


async def open_fails(settings: Settings, match: str) -> None:
    with pytest.raises(StoreError, match=match):
        await Store.open(settings, patience=2)


async def test_many_processes_migrate_at_once(empty: Settings) -> None:
    stores = await asyncio.gather(*(Store.open(empty) for _ in range(4)))
    rows = await stores[0]._database.fetch("SELECT name, count(*) AS n FROM schema_migrations GROUP BY name")
    assert {row["n"] for row in rows} == {1}
    assert {step.name for step in (*migrate.ours(), *migrate.queues())} == {row["name"] for row in rows}
    for store in stores:
        await store.close()


async def test_an_altered_step_is_noticed(store: Store, settings: Settings) -> None:
    async with store._database.connection() as connection:
        await connection.execute("UPDATE schema_migrations SET sha256 = 'x' WHERE name = '0001_catalogue'")
    await open_fails(settings, "0001_catalogue was applied in another form")


async def test_a_newer_database_is_noticed(store: Store, settings: Settings) -> None:
    async with store._database.connection() as connection:
        await connection.execute("INSERT INTO schema_migrations VALUES ('9999_future', 'x', 0)")
    await open_fails(settings, "9999_future")


async def test_new_steps_of_ours_and_of_the_queue_are_applied(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, queues = migrate.ours(), migrate.queues()
    new = migrate.Migration("0099_new", "CREATE TABLE newcomer (n integer)")
    theirs = migrate.Migration("procrastinate/99.00.00_01_new", "CREATE TABLE procrastinate_newcomer (n integer)")
    monkeypatch.setattr(migrate, "ours", lambda: [*ours, new])
    monkeypatch.setattr(migrate, "queues", lambda: [*queues, theirs])
    for _ in range(2):
        async with await Store.open(settings) as again:
            await again._database.fetch("SELECT * FROM newcomer, procrastinate_newcomer")


async def test_a_failed_step_leaves_nothing(empty: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = migrate.ours()
    monkeypatch.setattr(migrate, "ours", lambda: [*ours, migrate.Migration("0099_bad", "CREATE TABL oops")])
    await open_fails(empty, "syntax error")
    monkeypatch.undo()
    async with await Store.open(empty) as store:
        assert await store.catalogue.sites() == []


async def test_a_server_too_old_or_without_pgvector_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "MIN_VERSION", 990_000)
    await open_fails(settings, "18 is needed")
    monkeypatch.undo()
    monkeypatch.setattr(migrate, "VECTOR", "no_such_extension")
    await open_fails(settings, "pgvector")


class Case(NamedTuple):
    url: str
    match: str


@pytest.mark.parametrize(
    "case",
    [
        Case("host=/nowhere dbname=x", "cannot be reached"),
        Case("postgresql://user@127.0.0.1:1/x?connect_timeout=1", "cannot be reached"),
        Case("http://not-a-database", "not an address"),
        Case("nonsense", "not an address"),
    ],
)
async def test_an_address_that_leads_nowhere(tmp_path, case: Case) -> None:
    await open_fails(Settings(home=tmp_path, database_url=Secret(case.url)), case.match)


async def test_a_database_that_does_not_exist_is_said_at_once(postgres: str, tmp_path) -> None:
    url = Secret(make_conninfo(postgres, dbname="no_such_database"))
    with pytest.raises(StoreError, match="does not exist"):
        await Store.open(Settings(home=tmp_path, database_url=url), patience=600)


def test_months() -> None:
    months = months_around(int(datetime(2026, 12, 31, 23, 59, tzinfo=UTC).timestamp() * 1000))
    assert [f"{month:%Y-%m}" for month in months] == ["2026-11", "2026-12", "2027-01", "2027-02"]
    assert [next_month(month) for month in months[:-1]] == months[1:]
    instant = datetime(2026, 12, 1, tzinfo=UTC)
    ms = int(instant.timestamp() * 1000)
    assert uuid7(ms - 1) < bound(instant) <= uuid7(ms)


async def where(store: Store, table: str) -> list[str]:
    rows = await store._database.fetch(f"SELECT tableoid::regclass::text AS name FROM {table} ORDER BY 1".encode())
    return [row["name"] for row in rows]


async def test_rows_lie_in_their_month_and_odd_ones_in_the_rest(settings: Settings) -> None:
    clock = FakeClock(NOW)
    async with await Store.open(settings, clock=clock) as store:
        decisions = Decisions(*await new_campaign(store))
        ahead = NOW + 200 * 86_400_000  # a client's clock was wrong
        told, early = decisions.new(), decisions.new(at_ms=ahead)
        odd = loose("custom", decisions.campaign.site_id, None, event_id=uuid7(0), name="x")
        rows = [told.row("impression"), early.row("impression"), odd]
        assert set((await store.events.append(rows)).status) == {"stored"}
        assert await where(store, "events") == ["events_2026_11", "events_default", "events_default"]
        assert await where(store, "exposures") == ["exposures_2026_11", "exposures_default"]
        # When that month comes, its rows move, and are known still.
        clock.advance(200 * 86_400_000)
        await store.maintain()
        assert await where(store, "events") == ["events_2026_11", "events_2027_06", "events_default"]
        assert await where(store, "exposures") == ["exposures_2026_11", "exposures_2027_06"]
        assert set((await store.events.append(rows)).status) == {"duplicate"}
        recount = await store.rollups.recount(decisions.campaign.id)
        assert await store.rollups.totals(decisions.campaign.id) == recount.totals
        assert recount.totals[0].impressions == 2
