-- A month's events as they leave: without visitors, order and item names, or properties; times cut to the minute. Events of
-- one decision share a number, which means nothing outside of the files.
SELECT
    CASE WHEN event.decision_id IS NOT NULL THEN
        dense_rank() OVER (ORDER BY md5(event.decision_id::text || %(salt)s))
    END AS decision,
    event.type::text, event.occurred_ms - event.occurred_ms %% 60000 AS minute_ms, event.site_id, event.campaign_id,
    x.variant_id, x.segment, x.stage, x.propensity, x.policy_version, event.metric::text, event.reading,
    event.value_cents, event.currency, event.score, event.name
FROM events AS event
LEFT JOIN exposures AS x ON x.decision_id = event.decision_id
WHERE event.event_id < %(until)s AND (event.decision_id IS NULL OR event.decision_id < %(until)s)
ORDER BY 1, 3, 2
