-- What known visitors did, in the order of arrival. Without those who took their consent back since.
SELECT
    events.event_id, coalesce(events.visitor_id, exposures.visitor_id) AS visitor_id, events.type::text,
    events.occurred_ms, events.received_ms, events.site_id, events.ref, exposures.variant_id, exposures.propensity
FROM events
LEFT JOIN exposures ON exposures.decision_id = events.decision_id
WHERE
    events.received_ms >= %(since)s
    AND events.type IN ('impression', 'view', 'click', 'cart', 'purchase')
    AND coalesce(events.visitor_id, exposures.visitor_id) IS NOT NULL
    AND NOT EXISTS (
        SELECT
        FROM consents
        WHERE
            consents.visitor_id = coalesce(events.visitor_id, exposures.visitor_id)
            AND consents.state = 'denied'
            AND consents.at_ms >= events.received_ms
    )
ORDER BY events.received_ms, events.event_id
