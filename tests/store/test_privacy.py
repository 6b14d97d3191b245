"""Consent, export, erasure: after an erasure a full dump does not hold the visitor."""

from __future__ import annotations

import asyncio
import json
from uuid import UUID, uuid4

import pytest

from arauto.core.errors import NotFoundError
from arauto.core.settings import Settings
from arauto.store import Store
from tests.store.builders import NOW, Decisions, Model, check, loose, new_campaign, tomb_of


async def dump(store: Store) -> str:
    """Every row of every table, as text."""
    tables = await store._database.fetch(
        "SELECT oid::regclass::text AS name FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
    )
    assert len(tables) > 20
    parts: list[str] = []
    async with store._database.connection() as connection:
        for table in tables:
            async with connection.cursor() as cursor, cursor.copy(f"COPY {table['name']} TO STDOUT".encode()) as copy:
                parts += [bytes(block).decode() async for block in copy]
    return "".join(parts)


def names(text: str, visitor: UUID) -> bool:
    return str(visitor) in text or visitor.hex in text


async def fill(store: Store, decisions: Decisions, visitor: UUID | None) -> list[object]:
    """Rows of every kind about two decisions of a visitor."""
    first, second = decisions.new(visitor=visitor), decisions.new(visitor=visitor, variant=1, at_ms=NOW + 7_200_000)
    unseen = decisions.new(visitor=visitor, variant=2)
    rows = [
        first.row("impression"),
        first.row("click"),
        first.row("view", ref="x"),
        first.row("cart", ref="x"),
        first.purchase("o", 500),
        first.vital("LCP", 900),
        first.vital("CLS", 0.1),
        second.row("impression"),
        second.row("rating", score=5),
        second.row("custom", name="scroll"),
        unseen.row("click"),
        loose("purchase", first.site_id, visitor, NOW + 9_000_000, ref="late", value_cents=7, currency="BRL"),
        loose("custom", first.site_id, visitor, name="alone"),
        loose("view", 10**6, visitor, ref="elsewhere"),
    ]
    answer = await store.events.append(rows)
    assert set(answer.status) == {"stored"}
    return rows


async def test_an_erased_visitor_leaves_no_trace_and_the_counts_stay_exact(store: Store) -> None:
    decisions = Decisions(*await new_campaign(store))
    site = decisions.campaign.site_id
    model = Model({decisions.campaign.id: decisions.campaign.plan.attribution_ms}, {decisions.campaign.id: site})
    gone, stays = uuid4(), uuid4()
    for visitor in (gone, stays, None):
        if visitor is not None:
            await store.privacy.record_consent(visitor, tomb_of(visitor), site, "granted")
        model.append(await fill(store, decisions, visitor))  # type: ignore[arg-type]
    await check(store, model, decisions.campaign.id)
    assert names(await dump(store), gone)

    counts = await store.privacy.erase(gone, tomb_of(gone), "visitor")
    assert counts == {"exposures": 3, "events": 14, "consents": 1}
    model.erase(gone, tomb_of(gone))
    await check(store, model, decisions.campaign.id)
    text = await dump(store)
    assert not names(text, gone)
    assert names(text, stays)
    assert await store.privacy.is_erased(tomb_of(gone))
    assert not await store.privacy.is_erased(tomb_of(stays))
    entry = (await store.catalogue.audit_log(1))[0]
    assert (entry.actor, entry.action, entry.target) == ("visitor", "visitor.erase", f"tomb:{tomb_of(gone)}")
    assert entry.detail == {"exposures": 3, "events": 14}

    # Nothing comes back, and to erase again is no error.
    assert await store.privacy.erase(gone, tomb_of(gone), "admin") == {"exposures": 0, "events": 0, "consents": 0}
    await store.privacy.record_consent(gone, tomb_of(gone), site, "granted")
    late = decisions.new(visitor=gone)
    assert (await store.events.append([late.row("impression")])).status == ["erased"]
    assert not names(await dump(store), gone)


async def test_export_holds_all_of_a_visitor_and_nothing_of_others(store: Store) -> None:
    decisions = Decisions(*await new_campaign(store))
    mine, theirs = uuid4(), uuid4()
    await store.privacy.record_consent(mine, tomb_of(mine), decisions.campaign.site_id, "granted")
    await fill(store, decisions, mine)
    await fill(store, decisions, theirs)
    export = await store.privacy.export(mine)
    text = json.dumps(export)
    assert str(theirs) not in text
    assert export["visitor"] == str(mine)
    assert (len(export["consent"]), len(export["exposures"]), len(export["events"])) == (1, 3, 14)
    assert export["consent"][0]["state"] == "granted"
    times = [event["occurred_ms"] for event in export["events"]]
    assert times == sorted(times)
    with pytest.raises(NotFoundError):
        await store.privacy.export(uuid4())


async def test_consent_is_what_was_said_last(store: Store) -> None:
    site = (await store.catalogue.ensure_site("shop")).id
    visitor = uuid4()
    await store.privacy.record_consent(visitor, tomb_of(visitor), site, "granted")
    await store.privacy.record_consent(visitor, tomb_of(visitor), site, "denied")
    (consent,) = await store.privacy.consents(visitor)
    assert (consent.site_id, consent.state) == (site, "denied")
    with pytest.raises(NotFoundError):
        await store.privacy.record_consent(visitor, tomb_of(visitor), 999, "granted")


async def test_erasing_while_others_write_leaves_nothing_behind(settings: Settings, store: Store) -> None:
    decisions = Decisions(*await new_campaign(store))
    visitors = [uuid4() for _ in range(6)]
    told = [decisions.new(visitor=visitors[n % 6], variant=n % 3) for n in range(120)]

    async def write(writer: Store, part: int) -> None:
        for decision in told[part::3]:
            await writer.events.append([decision.row("impression"), decision.row("click"), decision.vital("LCP", 100)])
            await writer.events.append(
                [loose("purchase", decision.site_id, decision.visitor, NOW + 5000, ref=f"{part}")]
            )

    async with await Store.open(settings) as second:
        erasing = [second.privacy.erase(visitor, tomb_of(visitor), "visitor") for visitor in visitors[:3]]
        await asyncio.gather(write(store, 0), write(second, 1), write(second, 2), *erasing)
    text = await dump(store)
    assert [names(text, visitor) for visitor in visitors] == [False] * 3 + [True] * 3
    recount = await store.rollups.recount(decisions.campaign.id)
    assert await store.rollups.totals(decisions.campaign.id) == recount.totals
    assert await store.rollups.vitals(decisions.campaign.id) == recount.vitals


async def test_a_visitor_who_consents_later_owns_the_decision(store: Store) -> None:
    decisions = Decisions(*await new_campaign(store))
    told, visitor = decisions.new(), uuid4()
    await store.events.append([told.row("impression")])
    told.visitor = visitor
    await store.events.append([told.row("click")])
    assert len((await store.privacy.export(visitor))["events"]) == 2
    await store.privacy.erase(visitor, tomb_of(visitor), "visitor")
    assert await store.rollups.totals(decisions.campaign.id) == []
