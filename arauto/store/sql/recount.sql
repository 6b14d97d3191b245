-- A campaign's counters anew: first each decision by itself, then by variant, segment and minute. Decisions from %(raw)s
-- on are counted from the raw events; of those before, whose events have left the database, exposures tell.
WITH told AS (
    SELECT
        decision_id,
        bool_or(type = 'impression') AS shown,
        bool_or(type = 'view') AS viewed,
        bool_or(type = 'click') AS clicked,
        bool_or(type = 'cart') AS carted,
        count(*) FILTER (WHERE type = 'purchase') AS orders,
        coalesce(sum(value_cents) FILTER (WHERE type = 'purchase'), 0) AS value,
        max(score) FILTER (WHERE type = 'rating') AS score
    FROM events
    WHERE campaign_id = %(id)s AND decision_id >= %(raw)s
    GROUP BY decision_id
),
each AS (
    SELECT
        x.variant_id, x.segment, x.stage,
        (extract(epoch FROM date_trunc('minute', uuid_extract_timestamp(told.decision_id))) * 1000)::bigint AS minute,
        told.viewed, told.clicked, told.carted, told.orders, told.value, told.score
    FROM told
    JOIN exposures AS x USING (decision_id)
    WHERE shown
    UNION ALL
    SELECT
        variant_id, segment, stage, decided_ms - decided_ms %% 60000, viewed_ms IS NOT NULL, clicked_ms IS NOT NULL,
        carted_ms IS NOT NULL, orders, CASE WHEN orders > 0 THEN value_cents::numeric ELSE 0 END, score
    FROM exposures
    WHERE campaign_id = %(id)s AND decision_id < %(raw)s AND shown_ms IS NOT NULL
)
SELECT
    variant_id, segment, stage, minute,
    count(*) AS impressions,
    count(*) FILTER (WHERE viewed) AS views,
    count(*) FILTER (WHERE clicked) AS clicks,
    count(*) FILTER (WHERE carted) AS carts,
    count(*) FILTER (WHERE orders > 0) AS purchases,
    sum(orders)::bigint AS orders,
    sum(value)::bigint AS value_cents,
    sum(value * value)::text AS value_sq,
    count(score) AS ratings,
    coalesce(sum(score), 0)::bigint AS rating_sum,
    coalesce(sum(score * score), 0)::bigint AS rating_sq
FROM each
GROUP BY 1, 2, 3, 4
