-- For outcomes told without a decision: the visitor's last exposure on that site within its campaign's window.
SELECT
    row.n, last.decision_id, last.decided_ms, last.campaign_id, last.variant_id, last.propensity,
    last.policy_version, last.segment, last.stage
FROM json_to_recordset($1::json) AS row (n integer, v uuid, s integer, c integer, o bigint)
CROSS JOIN LATERAL (
    SELECT exposures.*
    FROM exposures
    JOIN campaigns ON campaigns.id = exposures.campaign_id
    WHERE exposures.visitor_id = row.v
        AND campaigns.site_id = row.s
        AND (row.c IS NULL OR row.c = exposures.campaign_id)
        AND exposures.shown_ms BETWEEN row.o - campaigns.attribution_ms AND row.o
    ORDER BY exposures.shown_ms DESC, exposures.decision_id DESC
    LIMIT 1
) AS last
