-- Takes a visitor's exposures out of the table and their counts out of the rollups.
WITH gone AS (
    DELETE FROM exposures WHERE visitor_id = %(visitor)s RETURNING *
),
lost AS (
    SELECT
        campaign_id, decided_ms, variant_id, segment, stage, orders, value_cents,
        value_cents::numeric * value_cents AS value_sq,
        (viewed_ms IS NOT NULL)::int AS views, (clicked_ms IS NOT NULL)::int AS clicks,
        (carted_ms IS NOT NULL)::int AS carts, (orders > 0)::int AS purchases, (score IS NOT NULL)::int AS ratings,
        coalesce(score, 0) AS rating_sum, coalesce(score * score, 0) AS rating_sq
    FROM gone
    WHERE shown_ms IS NOT NULL
),
uncounted AS (
    INSERT INTO rollups AS kept (
        campaign_id, step, bucket, variant_id, segment, stage, shard, impressions, views, clicks, carts, purchases,
        orders, value_cents, value_sq, ratings, rating_sum, rating_sq
    )
    SELECT
        campaign_id, step, CASE step WHEN 0 THEN 0 ELSE decided_ms - decided_ms %% step END AS bucket, variant_id,
        segment, stage, %(shard)s::smallint, -count(*), -sum(views), -sum(clicks), -sum(carts), -sum(purchases),
        -sum(orders),
        -sum(value_cents), -sum(value_sq), -sum(ratings), -sum(rating_sum), -sum(rating_sq)
    FROM lost CROSS JOIN (VALUES (0), (60000), (3600000)) AS steps (step)
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
)
SELECT decision_id, campaign_id, variant_id, segment, stage FROM gone
