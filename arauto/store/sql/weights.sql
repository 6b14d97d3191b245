-- Some points of a long history: the first word at or after each of evenly spread times, found by an index.
WITH span AS (
    SELECT min(at_ms) AS low, max(at_ms) AS high
    FROM weights
    WHERE campaign_id = %(id)s AND at_ms >= %(since)s
)
SELECT DISTINCT ON (kept.at_ms, kept.version) kept.version, kept.at_ms, kept.propensities::text
FROM span
CROSS JOIN generate_series(0, %(points)s) AS place
CROSS JOIN LATERAL (
    SELECT version, at_ms, propensities
    FROM weights
    WHERE campaign_id = %(id)s AND at_ms >= span.low + (span.high - span.low) * place / %(points)s
    ORDER BY at_ms, version
    LIMIT 1
) AS kept
ORDER BY kept.at_ms, kept.version
