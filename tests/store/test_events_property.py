"""Any events, in any order, batched in any way, repeated at will: the log says what the model says."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arauto.core.events import EventRow
from arauto.core.ids import uuid7
from arauto.store import Store
from tests.store.builders import NOW, Decisions, Model, Told, check, loose, new_campaign, tomb_of

_slugs = itertools.count()
WINDOW = 60_000

told = st.fixed_dictionaries(
    {
        "decision": st.integers(0, 4),
        "id": st.integers(0, 30),
        "kind": st.sampled_from(
            ["impression", "impression", "view", "click", "cart", "purchase", "rating", "web_vital", "custom"]
        ),
        "ref": st.sampled_from(["", "a", "b"]),
        "cents": st.integers(0, 10**11),
        "score": st.integers(1, 5),
        "metric": st.sampled_from(["LCP", "CLS"]),
        "reading": st.sampled_from([0.0, 0.05, 2500.0, 2501.0]),
        "named": st.booleans(),
        "name": st.sampled_from(["x", "complaint", "error"]),
        "after": st.integers(0, 3) | st.just(WINDOW + 2),
    }
)
free = st.fixed_dictionaries(
    {
        "visitor": st.integers(0, 1),
        "id": st.integers(31, 40),
        "kind": st.sampled_from(["view", "click", "purchase", "rating", "custom", "impression"]),
        "ref": st.sampled_from(["", "a"]),
        "cents": st.integers(0, 1000),
        "score": st.integers(1, 5),
        "after": st.integers(0, 3) | st.just(WINDOW + 2),
        "campaign": st.booleans(),
    }
)
erasure = st.fixed_dictionaries({"erase": st.integers(0, 1)})
batches = st.lists(st.lists(told | told | free, max_size=12) | erasure, max_size=8)


@given(batches)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_log_agrees_with_the_model(store: Store, batches: list[Any]) -> None:
    decisions = Decisions(*await new_campaign(store, f"c{next(_slugs)}", attribution_ms=WINDOW))
    campaign = decisions.campaign
    model = Model({campaign.id: WINDOW}, {campaign.id: campaign.site_id})
    visitors = [uuid7(NOW), uuid7(NOW)]
    made = [
        decisions.new(
            at_ms=NOW + n * 40_000,
            variant=n % 2,
            segment=("mobile", "desktop")[n // 3],
            visitor=[visitors[0], visitors[1], None][n % 3],
            stage=(0, 10, 11)[n % 3],
        )
        for n in range(5)
    ]
    ids = [uuid7(NOW + n) for n in range(41)]
    for batch in batches:
        if isinstance(batch, dict):
            visitor = visitors[batch["erase"]]
            await store.privacy.erase(visitor, tomb_of(visitor), "test")
            model.erase(visitor, tomb_of(visitor))
            continue
        rows = [_row(draw, made, visitors, ids, campaign.site_id, campaign.id) for draw in batch]
        assert (await store.events.append(rows)).status == model.append(rows)
    await check(store, model, campaign.id)


def _row(
    draw: dict[str, Any], made: list[Told], visitors: list[UUID], ids: list[UUID], site: int, campaign: int
) -> EventRow:
    kind = draw["kind"]
    rest: dict[str, Any] = {
        "purchase": {"ref": draw["ref"], "value_cents": draw["cents"], "currency": "BRL"},
        "rating": {"score": draw["score"]},
        "web_vital": {"metric": draw.get("metric"), "reading": draw.get("reading")},
        "view": {"ref": draw["ref"]},
        "cart": {"ref": draw["ref"]},
        "custom": {"name": draw.get("name", "complaint")},
    }.get(kind, {})
    if "visitor" in draw:
        return loose(
            kind,
            site,
            visitors[draw["visitor"]],
            NOW + draw["after"] * 40_000,
            event_id=ids[draw["id"]],
            campaign_id=campaign if draw["campaign"] else None,
            **rest,
        )
    row = made[draw["decision"]].row(kind, event_id=ids[draw["id"]], after_ms=draw["after"], **rest)
    if not draw["named"]:
        row.visitor_id = row.tomb = None
    return row
