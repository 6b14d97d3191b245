-- A campaign's counters from the raw events: first each decision by itself, then by variant, segment and minute.
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
    WHERE campaign_id = %s AND decision_id IS NOT NULL
    GROUP BY decision_id
)
SELECT
    x.variant_id, x.segment, x.stage,
    (extract(epoch FROM date_trunc('minute', uuid_extract_timestamp(told.decision_id))) * 1000)::bigint AS minute,
    count(*) AS impressions,
    count(*) FILTER (WHERE viewed) AS views,
    count(*) FILTER (WHERE clicked) AS clicks,
    count(*) FILTER (WHERE carted) AS carts,
    count(*) FILTER (WHERE told.orders > 0) AS purchases,
    sum(told.orders) AS orders,
    sum(told.value) AS value_cents,
    sum(told.value * told.value)::text AS value_sq,
    count(told.score) AS ratings,
    coalesce(sum(told.score), 0) AS rating_sum,
    coalesce(sum(told.score * told.score), 0) AS rating_sq
FROM told
JOIN exposures AS x USING (decision_id)
WHERE shown
GROUP BY 1, 2, 3, 4
