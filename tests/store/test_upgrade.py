"""A rolling upgrade: while servers of two versions share a database, both work.

The rule (docs/operations.md): a step adds; what the version before reads or writes is not taken away, renamed, or made
to need a value that it does not give. What must go, goes one version after nothing uses it.
"""

import re
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from arauto.store import migrate
from tests.store.builders import NOW, Decisions, new_campaign, tomb_of

BREAKING = (
    r"\bDROP\s+(TABLE|COLUMN|TYPE|FUNCTION|VIEW|SCHEMA)\b",
    r"\bRENAME\b",
    r"\bALTER\s+COLUMN\s+\w+\s+(TYPE|SET\s+NOT\s+NULL)\b",
    r"\bADD\s+(COLUMN\s+)?(?!CONSTRAINT|PRIMARY)\w+\s+[\w\[\]]+(\s+\w+)*?\s+NOT\s+NULL(?![^,;]*\bDEFAULT\b)",
)
"""What the version before would not survive."""


def breaks(step):
    text = re.sub(r"--[^\n]*", "", step)
    return [pattern for pattern in BREAKING if re.search(pattern, text, re.IGNORECASE)]


@pytest.mark.parametrize("step", migrate.ours(), ids=lambda step: step.name)
def test_a_step_only_adds(step):
    """0001 to 0003 came before there was a version to upgrade from."""
    if step.name > "0003_release":
        assert breaks(step.sql) == []


@pytest.mark.parametrize(
    "step",
    [
        "ALTER TABLE events DROP COLUMN score",
        "alter table events\n  rename score to mark",
        "ALTER TABLE events ALTER COLUMN score TYPE bigint",
        "ALTER TABLE events ADD COLUMN more integer NOT NULL",
        "ALTER TABLE events ADD more text NOT NULL",
        "DROP TABLE weights",
    ],
)
def test_what_breaks_is_seen(step):
    assert breaks(step)


@pytest.mark.parametrize(
    "step",
    ["ALTER TABLE a ADD COLUMN b integer NOT NULL DEFAULT 0; CREATE TABLE c (d int NOT NULL)", "-- DROP TABLE a"],
)
def test_what_adds_is_let_through(step):
    assert breaks(step) == []


async def test_a_server_of_before_goes_on_after_the_step(store):
    """A process that opened the database before the next version's step lives on: what it holds prepared still runs,
    and a column that it does not know is no surprise, in any table."""
    decisions = Decisions(*await new_campaign(store))
    visitor, site = uuid4(), decisions.campaign.site_id
    rows = [decisions.new(at_ms=NOW, visitor=visitor, stage=3).row("impression") for _ in range(3)]
    assert set((await store.events.append(rows)).status) == {"stored"}

    async def use():
        told = decisions.new(at_ms=NOW, visitor=visitor)
        fresh = [told.row("impression"), told.purchase("o", 100), told.vital("LCP", 100)]
        assert set((await store.events.append(fresh)).status) == {"stored"}
        assert (await store.events.append(rows)).status == ["duplicate"] * 3
        assert await store.catalogue.campaigns() == [decisions.campaign]
        assert await store.catalogue.variants(decisions.campaign.id) == decisions.variants
        model = await store.catalogue.add_model("m", "0" * 64)
        assert model in await store.catalogue.models()
        assert (
            await store.catalogue.add_release(model.id, "shadow", 0.1, "", "test") in await store.catalogue.releases()
        )
        assert await store.catalogue.audit_log()
        await store.privacy.record_consent(visitor, tomb_of(visitor), site, "granted")
        (consent,) = await store.privacy.consents(visitor)
        assert (consent.visitor_id, consent.state) == (visitor, "granted")
        assert len((await store.privacy.export(visitor))["exposures"]) > 3
        job = await store.jobs.defer("nothing", {})
        assert (await store.jobs.get(job)).state == "waiting"
        await store.rollups.record_weights(decisions.campaign.id, store._clock.now_ms(), NOW, {1: 0.5})
        assert await store.rollups.weights(decisions.campaign.id)
        await store.archive.note(datetime(2020, 1, 1, tzinfo=UTC), 0, [], "")
        assert [one.month for one in await store.archive.all()] == ["2020_01"]
        await store.maintain()
        recount, totals = (
            await store.rollups.recount(decisions.campaign.id),
            await store.rollups.totals(decisions.campaign.id),
        )
        assert recount.totals == totals
        return sum(total.impressions for total in totals)

    assert await use() == 4
    tables = await store._database.fetch(
        "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = 'public'::regnamespace AND relname !~ '^procrastinate'"
    )
    assert len(tables) > 20
    async with store._database.connection() as connection:
        for table in tables:
            step = f"ALTER TABLE {table['name']} ADD COLUMN next_thing integer NOT NULL DEFAULT 7"
            assert breaks(step) == []
            await connection.execute(step.encode())
    assert await use() == 5
    assert (await store.privacy.erase(visitor, tomb_of(visitor), "visitor"))["exposures"] == 5
