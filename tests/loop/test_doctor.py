"""The doctor names what is wrong, and nothing else."""

import msgspec
import psycopg

from arauto.core.brief import Brief
from arauto.core.campaign import CampaignPlan
from arauto.core.clock import FakeClock, SystemClock
from arauto.core.settings import Secret, Settings
from arauto.creative import compose_message
from arauto.loop import doctor, examine
from arauto.store import Store


async def look(settings, clock=None, **more):
    return {one.name: one for one in await examine(settings, clock or SystemClock(), **more)}


async def test_a_well_installation(settings):
    found = await look(msgspec.structs.replace(settings, text_engine="slot", port=9), recount=True)
    assert found.pop("server").state == "warn", "nobody listens there"
    assert found.pop("durability").state == "fail", "the tests' server forgets with the machine"
    found.pop("disk")
    assert {name: one.state for name, one in found.items()} == dict.fromkeys(
        ("model", "database", "clock", "connections", "jobs", "counters"), "ok"
    )


async def test_a_database_that_is_away(tmp_path):
    url = Secret("postgresql://ana@127.0.0.1:1/none")
    found = await look(Settings(home=tmp_path, database_url=url, port=9))
    assert found["database"].state == "fail"
    assert found["database"].mend
    assert found["model"].mend == "arauto models pull"


async def test_what_it_finds(settings, monkeypatch):
    async with await Store.open(settings) as store:
        brief = Brief(product="chá")
        site = await store.catalogue.ensure_site("shop")
        made = await store.catalogue.create_campaign(
            site.id, "cha", "chá", brief, compose_message(brief), CampaignPlan(), "test"
        )
    with psycopg.connect(settings.database_url.reveal(), autocommit=True) as connection:
        connection.execute("INSERT INTO rollups SELECT %s, 0, 0, 1, '', 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0", [made.id])
        connection.execute(
            "INSERT INTO events (event_id, occurred_ms, received_ms, site_id, type)"
            " VALUES ('ffffffff-ffff-7fff-8fff-ffffffffffff', 1, 1, %s, 'custom')",
            [site.id],
        )
        connection.execute("INSERT INTO job_progress VALUES (1, 0, 0, '', 'engine away', 1)")
    monkeypatch.setattr(doctor, "BUSY", 0.0)
    monkeypatch.setattr(doctor, "NO_BYTES", 10**18)
    found = await look(settings, FakeClock(), recount=True)
    assert {name for name, one in found.items() if one.state != "ok"} >= {
        "disk",
        "durability",
        "clock",
        "connections",
        "times",
        "counters",
    }
    assert "cha" in found["counters"].told
    assert all(one.mend for one in found.values() if one.state != "ok")
