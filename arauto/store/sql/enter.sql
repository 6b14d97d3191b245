-- Of decisions made by visitor during a release ($1: decision, the visitor's keyed hash, stage), those that are not their
-- visitor's first in it. The first to come takes the visitor's place, for good.
WITH told AS (
    SELECT d, v, rollout_id
    FROM json_to_recordset($1::json) AS line (d uuid, v text, st integer)
    JOIN rollout_moves ON rollout_moves.id = line.st / 2
),
entered AS (
    INSERT INTO entrants (tomb, rollout_id, decision_id)
    SELECT DISTINCT ON (v, rollout_id) v, rollout_id, d
    FROM told
    ORDER BY v, rollout_id, d
    ON CONFLICT DO NOTHING
    RETURNING decision_id
)
SELECT d
FROM told
WHERE
    NOT d IN (SELECT decision_id FROM entered)
    AND NOT EXISTS (
        SELECT FROM entrants AS known
        WHERE known.tomb = told.v AND known.rollout_id = told.rollout_id AND known.decision_id = told.d
    )
