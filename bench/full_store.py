"""A store with millions of events, made inside the database: what months of visitors would have left, in minutes.

Five campaigns over 30 days: two bandits whose shares move by the hour, one that keeps to equal shares, one that is
dealt out by visitor with a holdout, one with few visitors. Half of the visitors gave consent. Each decision has an
impression, two load times and at times a click, a cart and a purchase. The counters are held against the store's own
recount of one campaign before anything is measured on them.
"""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path
from uuid import UUID

import psycopg

from arauto.core.brief import Brief
from arauto.core.campaign import DAY_MS, CampaignPlan, Copy, Origin
from arauto.core.settings import Settings
from arauto.creative import compose_message
from arauto.store import Store
from arauto.store.embedded import EmbeddedPostgres
from arauto.store.vitals import BUCKET_RATIO

DAYS, VARIANTS, VISITORS = 30, 4, 150_000
EVENTS_EACH = 3.1
"""Events of a decision, in the mean."""
CHUNK = 300_000
PLANS = (
    CampaignPlan(cpm=18.5, simulated=True),
    CampaignPlan(allocation="uniform", simulated=True),
    CampaignPlan(goal="purchase", simulated=True),
    CampaignPlan(allocation="uniform", assignment="visitor", holdout=0.1, simulated=True),
    CampaignPlan(simulated=True),
)
SHARES = (0.42, 0.67, 0.85, 0.97)
"""Where the campaigns part a decision's dice, in order."""

# Four waves, a quarter apart: the shares of a bandit, which add up to one at each hour.
_WAVE = "(0.25 + 0.15 * sin(hour / 40.0 + {place} * pi() / 2))"
_SHARE = [f"(CASE WHEN moves THEN {_WAVE.format(place=place)} ELSE 0.25 END)" for place in range(VARIANTS)]

_EXPOSURES = f"""
INSERT INTO exposures (
    decision_id, visitor_id, decided_ms, shown_ms, clicked_ms, carted_ms, purchased_ms, value_cents, propensity,
    campaign_id, variant_id, policy_version, orders, seen, segment, refs, amounts, stage
)
SELECT
    (lpad(to_hex(at), 12, '0') || '7' || substr(noise, 1, 3) || '8' || substr(noise, 4, 15))::uuid,
    CASE WHEN known THEN md5('visitor' || whose)::uuid END,
    at, at + 900,
    CASE WHEN click THEN at + 5000 END,
    CASE WHEN cart THEN at + 20000 END, CASE WHEN buy THEN at + 90000 END,
    CASE WHEN buy THEN cents ELSE 0 END,
    CASE WHEN held THEN 1 ELSE (ARRAY[{", ".join(_SHARE)}])[arm] END,
    (%(campaigns)s::int[])[place], (%(variants)s::int[])[(place - 1) * {VARIANTS} + CASE WHEN held THEN 1 ELSE arm END],
    1 + hour, buy::int, 1 + 8 + 256 + 2 * click::int,
    (ARRAY['desktop', 'mobile', 'mobile', 'tablet'])[1 + (device * 4)::int %% 4],
    CASE WHEN buy THEN ARRAY['c/shoe', 'p/o1'] WHEN cart THEN ARRAY['c/shoe'] END,
    CASE WHEN buy THEN ARRAY[NULL, cents] WHEN cart THEN ARRAY[NULL::bigint] END,
    CASE WHEN held THEN 1 ELSE 0 END
FROM (
    SELECT *, luck < 0.06 + 0.012 * arm AS click, luck < 0.02 + 0.004 * arm AS cart, luck < 0.009 + 0.002 * arm AS buy
    FROM (
        SELECT *,
            1 + (coin > {_SHARE[0]})::int + (coin > {_SHARE[0]} + {_SHARE[1]})::int
            + (coin > {_SHARE[0]} + {_SHARE[1]} + {_SHARE[2]})::int AS arm
        FROM (
            SELECT *, place IN (1, 3, 5) AS moves, sticky AND whose %% 10 = 0 AND known AS held,
                CASE WHEN sticky AND known THEN (hashint4(whose) & 65535) / 65536.0 ELSE toss END AS coin
            FROM (
                SELECT *, width_bucket(which, %(shares)s::float8[]) + 1 AS place,
                    width_bucket(which, %(shares)s::float8[]) = 3 AS sticky,
                    (at - %(from)s) / 3600000 AS hour, (whose_dice * {VISITORS})::int AS whose,
                    990 + (price * 98000)::bigint AS cents
                FROM (
                    SELECT
                        %(from)s + floor(n / %(decisions)s::float8 * %(span)s)::bigint AS at,
                        md5(n::text || random()::text) AS noise, random() < 0.5 AS known, random() AS whose_dice,
                        random() AS which, random() AS toss, random() AS luck, random() AS device, random() AS price
                    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
                ) AS dice
            ) AS dealt
        ) AS moved
    ) AS armed
) AS told
"""

_EVENTS = """
INSERT INTO events (
    event_id, decision_id, occurred_ms, received_ms, value_cents, reading, site_id, campaign_id, type, metric, currency,
    ref
)
SELECT
    (lpad(to_hex(x.shown_ms), 12, '0') || '7' || substr(noise, 1, 3) || '8' || substr(noise, 4, 15))::uuid,
    x.decision_id, told.at, told.at + 900, told.cents, told.reading, %(site)s, x.campaign_id, told.type::event_type,
    told.metric::vital_name, told.currency, told.ref
FROM exposures AS x
CROSS JOIN LATERAL (VALUES
    ('impression', x.shown_ms, NULL, NULL::float8, NULL::bigint, NULL, ''),
    ('web_vital', x.shown_ms, 'LCP', 1800 * exp(0.4 * random_normal()), NULL, NULL, 'LCP'),
    ('web_vital', x.shown_ms, 'load', 2400 * exp(0.4 * random_normal()), NULL, NULL, 'load'),
    ('click', x.clicked_ms, NULL, NULL, NULL, NULL, ''),
    ('cart', x.carted_ms, NULL, NULL, NULL, NULL, 'shoe'),
    ('purchase', x.purchased_ms, NULL, NULL, x.value_cents, 'BRL', 'o1')
) AS told (type, at, metric, reading, cents, currency, ref)
CROSS JOIN LATERAL (SELECT md5(x.decision_id::text || told.type || told.ref) AS noise) AS made
WHERE x.decision_id >= %(low)s AND x.decision_id < %(high)s AND told.at IS NOT NULL
"""

_ROLLUPS = """
INSERT INTO rollups (
    campaign_id, step, bucket, variant_id, segment, stage, shard, impressions, views, clicks, carts, purchases, orders,
    value_cents, value_sq, ratings, rating_sum, rating_sq
)
SELECT
    campaign_id, step, CASE step WHEN 0 THEN 0 ELSE decided_ms - decided_ms % step END, variant_id, segment, stage, 0,
    count(*), count(viewed_ms), count(clicked_ms), count(carted_ms), count(*) FILTER (WHERE orders > 0), sum(orders),
    sum(value_cents), sum(value_cents::numeric * value_cents), 0, 0, 0
FROM exposures CROSS JOIN (VALUES (0), (60000), (3600000)) AS steps (step)
GROUP BY 1, 2, 3, 4, 5, 6
"""

_VITALS = f"""
INSERT INTO rollup_vitals (campaign_id, variant_id, metric, bucket, stage, shard, readings)
SELECT
    x.campaign_id, x.variant_id, e.metric, ceil(ln(e.reading) / {math.log(BUCKET_RATIO)!r})::smallint, x.stage, 0,
    count(*)
FROM events AS e JOIN exposures AS x USING (decision_id)
WHERE e.type = 'web_vital' GROUP BY 1, 2, 3, 4, 5
"""

_WEIGHTS = f"""
INSERT INTO weights (campaign_id, version, at_ms, propensities)
SELECT (%(campaigns)s::int[])[place], 1 + hour, %(from)s + hour * 3600000::bigint, jsonb_build_object({
    ", ".join(f"(%(variants)s::int[])[(place - 1) * {VARIANTS} + {n + 1}], {_SHARE[n]}" for n in range(VARIANTS))
})
FROM generate_series(1, {len(PLANS)}) AS place, generate_series(0, {DAYS * 24 - 1}) AS hour,
    LATERAL (SELECT place IN (1, 3, 5) AS moves) AS kind
"""


async def fill(home: Path, events: int) -> float:
    """Fill the store of ``home`` with ``events`` (about), unless it is full already. Seconds it took.

    Raises:
        RuntimeError: the counters are not what a recount says.
    """
    began = time.perf_counter()
    async with await Store.open(Settings(home=home)) as store:
        site = await store.catalogue.ensure_site("bench", [])
        if await store.catalogue.campaigns():
            return 0.0
        campaigns, variants = [], []
        for number, plan in enumerate(PLANS):
            brief = Brief(product=f"product {number}")
            made = await store.catalogue.create_campaign(
                site.id, f"bench-{number}", brief.product, brief, compose_message(brief), plan, "bench"
            )
            copies = [
                (Copy(title=f"title {place}", description=f"text {place}", image_suggestion=""), Origin(engine="given"))
                for place in range(VARIANTS)
            ]
            variants += [variant.id for variant in await store.catalogue.add_kit(made.id, copies, {}, "bench")]
            await store.catalogue.set_campaign_state(made.id, "live", "bench")
            campaigns.append(made.id)
        await asyncio.to_thread(_insert, home, site.id, campaigns, variants, round(events / EVENTS_EACH))
        smallest = campaigns[-1]
        recount = await store.rollups.recount(smallest)
        if (
            recount.totals != await store.rollups.totals(smallest)
            or recount.hours != await store.rollups.series(smallest, step="hour")
            or recount.vitals != await store.rollups.vitals(smallest)
        ):
            raise RuntimeError("the counters are not what a recount says")
    return time.perf_counter() - began


def _insert(home: Path, site: int, campaigns: list[int], variants: list[int], decisions: int) -> None:
    now = time.time_ns() // 1_000_000
    begin, span = (now - DAYS * DAY_MS) // 3_600_000 * 3_600_000, DAYS * DAY_MS - 3_600_000
    facts = {
        "site": site,
        "campaigns": campaigns,
        "variants": variants,
        "shares": list(SHARES),
        "from": begin,
        "span": span,
        "decisions": decisions,
    }
    with psycopg.connect(EmbeddedPostgres(home / "postgres").dsn, autocommit=True) as connection:
        for first in range(0, decisions, CHUNK):
            last = min(first + CHUNK, decisions) - 1
            ends = [begin + int(place / decisions * span) for place in (first, last + 1)]
            low, high = (UUID(int=at << 80) for at in ends)
            connection.execute(_EXPOSURES, {**facts, "first": first, "last": last})
            connection.execute(_EVENTS, {**facts, "low": low, "high": high})
            print(f"{last + 1:,} of {decisions:,} decisions", flush=True)
        connection.execute(_ROLLUPS)
        connection.execute(_VITALS)
        connection.execute(_WEIGHTS, facts)
        connection.execute("UPDATE campaigns SET created_ms = %(from)s, launched_ms = %(from)s", facts)
        connection.execute("VACUUM ANALYZE")
