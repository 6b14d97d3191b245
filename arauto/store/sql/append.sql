-- One batch of events, in one statement: what it tells of each decision ($1) and the events ($2), as JSON; this
-- process's shard ($3); and the tombs of the batch's visitors ($4).
--
-- A batch names each event id, and each thing that a decision tells once, at most once (arauto/store/batch.py). It fails
-- as a whole when an event id is taken (unique violation) or a visitor was erased (AR001): then it comes again without.
-- Locks are taken in one order everywhere: exposures by decision, events by id, rollups by key.
WITH merged AS (
    INSERT INTO exposures AS kept (
        decision_id, visitor_id, decided_ms, shown_ms, viewed_ms, clicked_ms, carted_ms, purchased_ms, value_cents,
        propensity, campaign_id, variant_id, policy_version, stage, orders, score, seen, segment, refs, amounts
    )
    SELECT
        d, v, dms, shown, viewed, clicked, carted, purchased, coalesce(value, 0),
        p, c, a, pv, coalesce(st, 0), coalesce(orders, 0), score, coalesce(seen, 0), seg, refs, amounts
    FROM json_to_recordset($1::json) AS fold (
        d uuid, v uuid, dms bigint, shown bigint, viewed bigint, clicked bigint, carted bigint, purchased bigint,
        value bigint, p double precision, c integer, a integer, pv bigint, st integer, orders smallint, score smallint,
        seen smallint, seg text, refs text[], amounts bigint[]
    )
    ON CONFLICT (decision_id) DO UPDATE SET
        visitor_id = coalesce(kept.visitor_id, EXCLUDED.visitor_id),
        shown_ms = coalesce(kept.shown_ms, EXCLUDED.shown_ms),
        viewed_ms = coalesce(kept.viewed_ms, EXCLUDED.viewed_ms),
        clicked_ms = coalesce(kept.clicked_ms, EXCLUDED.clicked_ms),
        carted_ms = coalesce(kept.carted_ms, EXCLUDED.carted_ms),
        purchased_ms = coalesce(kept.purchased_ms, EXCLUDED.purchased_ms),
        score = coalesce(kept.score, EXCLUDED.score),
        seen = kept.seen | EXCLUDED.seen,
        refs = CASE WHEN EXCLUDED.refs IS NULL THEN kept.refs
            ELSE kept.refs || new_refs(kept.refs, kept.orders, EXCLUDED.refs, EXCLUDED.amounts) END,
        amounts = CASE WHEN EXCLUDED.refs IS NULL THEN kept.amounts
            ELSE kept.amounts || new_amounts(kept.refs, kept.orders, EXCLUDED.refs, EXCLUDED.amounts) END,
        orders = CASE WHEN EXCLUDED.orders = 0 THEN kept.orders
            ELSE kept.orders + new_orders(kept.refs, kept.orders, EXCLUDED.refs, EXCLUDED.amounts) END,
        value_cents = CASE WHEN EXCLUDED.orders = 0 THEN kept.value_cents
            ELSE kept.value_cents + new_value(kept.refs, kept.orders, EXCLUDED.refs, EXCLUDED.amounts) END
    WHERE
        kept.seen | EXCLUDED.seen <> kept.seen
        OR NOT EXCLUDED.refs <@ coalesce(kept.refs, '{}')
        OR (kept.visitor_id IS NULL AND EXCLUDED.visitor_id IS NOT NULL)
    RETURNING
        new.decision_id AS d, new.campaign_id, new.variant_id, new.segment, new.stage, new.decided_ms, new.refs,
        new.shown_ms, new.viewed_ms, new.clicked_ms, new.carted_ms, new.orders, new.value_cents, new.score,
        old.refs AS old_refs, coalesce(old.seen, 0) AS old_seen, old.shown_ms IS NOT NULL AS was,
        old.viewed_ms AS old_viewed_ms, old.clicked_ms AS old_clicked_ms, old.carted_ms AS old_carted_ms,
        old.orders AS old_orders, old.value_cents AS old_value_cents, old.score AS old_score
),
judged AS MATERIALIZED (
    SELECT
        event.*, merged.campaign_id, merged.variant_id, merged.stage,
        CASE
            WHEN event.bit <> 0 THEN coalesce(merged.old_seen & event.bit = 0, false)
            WHEN event.key IS NOT NULL THEN
                coalesce(event.key = ANY (merged.refs) AND NOT event.key = ANY (coalesce(merged.old_refs, '{}')), false)
            ELSE true
        END AS fresh,
        coalesce(NOT event.key = ANY (merged.refs), false) AS refused
    FROM json_to_recordset($2::json) AS event (
        n integer, id uuid, t event_type, o bigint, r bigint, s integer, d uuid, c integer, v uuid, bit smallint,
        key text, ref text, amt bigint, cur text, score smallint, m vital_name, x double precision, b smallint,
        name text, props jsonb
    )
    LEFT JOIN merged ON merged.d = event.d
),
stored AS (
    INSERT INTO events (
        event_id, decision_id, visitor_id, occurred_ms, received_ms, value_cents, reading, site_id, campaign_id,
        type, metric, score, currency, ref, name, props
    )
    SELECT id, d, v, o, r, amt, x, s, c, t, m, score, cur, ref, name, props FROM judged WHERE fresh
),
changes AS (
    SELECT
        campaign_id, variant_id, segment, stage, decided_ms - decided_ms % 60000 AS minute,
        count(*) FILTER (WHERE NOT was) AS impressions,
        count(viewed_ms) - count(old_viewed_ms) FILTER (WHERE was) AS views,
        count(clicked_ms) - count(old_clicked_ms) FILTER (WHERE was) AS clicks,
        count(carted_ms) - count(old_carted_ms) FILTER (WHERE was) AS carts,
        count(*) FILTER (WHERE orders > 0) - count(*) FILTER (WHERE was AND old_orders > 0) AS purchases,
        sum(orders) - coalesce(sum(old_orders) FILTER (WHERE was), 0) AS orders,
        coalesce(sum(value_cents) FILTER (WHERE orders > 0), 0)
            - coalesce(sum(old_value_cents) FILTER (WHERE was AND old_orders > 0), 0) AS value_cents,
        coalesce(sum(value_cents::numeric * value_cents) FILTER (WHERE orders > 0), 0)
            - coalesce(sum(old_value_cents::numeric * old_value_cents) FILTER (WHERE was AND old_orders > 0), 0)
            AS value_sq,
        count(score) - count(old_score) FILTER (WHERE was) AS ratings,
        coalesce(sum(score), 0) - coalesce(sum(old_score) FILTER (WHERE was), 0) AS rating_sum,
        coalesce(sum(score * score), 0) - coalesce(sum(old_score * old_score) FILTER (WHERE was), 0) AS rating_sq
    FROM merged
    WHERE shown_ms IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5
),
counted AS (
    INSERT INTO rollups AS kept (
        campaign_id, step, bucket, variant_id, segment, stage, shard, impressions, views, clicks, carts, purchases,
        orders, value_cents, value_sq, ratings, rating_sum, rating_sq
    )
    SELECT
        campaign_id, step, CASE step WHEN 0 THEN 0 ELSE minute - minute % step END AS bucket, variant_id, segment,
        stage, $3::smallint, sum(impressions), sum(views), sum(clicks), sum(carts), sum(purchases), sum(orders),
        sum(value_cents), sum(value_sq), sum(ratings), sum(rating_sum), sum(rating_sq)
    FROM changes CROSS JOIN (VALUES (0), (60000), (3600000)) AS steps (step)
    WHERE impressions <> 0 OR views <> 0 OR clicks <> 0 OR carts <> 0 OR orders <> 0 OR ratings <> 0
    GROUP BY 1, 2, 3, 4, 5, 6
    ORDER BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (campaign_id, step, bucket, variant_id, segment, stage, shard) DO UPDATE SET
        impressions = kept.impressions + EXCLUDED.impressions,
        views = kept.views + EXCLUDED.views,
        clicks = kept.clicks + EXCLUDED.clicks,
        carts = kept.carts + EXCLUDED.carts,
        purchases = kept.purchases + EXCLUDED.purchases,
        orders = kept.orders + EXCLUDED.orders,
        value_cents = kept.value_cents + EXCLUDED.value_cents,
        value_sq = kept.value_sq + EXCLUDED.value_sq,
        ratings = kept.ratings + EXCLUDED.ratings,
        rating_sum = kept.rating_sum + EXCLUDED.rating_sum,
        rating_sq = kept.rating_sq + EXCLUDED.rating_sq
),
measured AS (
    INSERT INTO rollup_vitals AS kept (campaign_id, variant_id, metric, bucket, stage, shard, readings)
    SELECT campaign_id, variant_id, m, b, stage, $3::smallint, count(*)
    FROM judged
    WHERE fresh AND b IS NOT NULL AND d IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5
    ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (campaign_id, variant_id, metric, bucket, stage, shard) DO UPDATE SET
        readings = kept.readings + EXCLUDED.readings
),
marked AS (
    INSERT INTO rollup_marks AS kept (campaign_id, variant_id, name, stage, shard, marks)
    SELECT campaign_id, variant_id, name, stage, $3::smallint, count(*)
    FROM judged
    WHERE fresh AND t = 'custom' AND bit <> 0 AND d IS NOT NULL
    GROUP BY 1, 2, 3, 4
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (campaign_id, variant_id, name, stage, shard) DO UPDATE SET
        marks = kept.marks + EXCLUDED.marks
)
SELECT
    array_agg(n) FILTER (WHERE NOT fresh) AS missed,
    array_agg(n) FILTER (WHERE refused) AS refused,
    CASE WHEN EXISTS (SELECT FROM erasures WHERE tomb = ANY ($4::text[])) THEN refuse_erased() END AS erased
FROM judged
