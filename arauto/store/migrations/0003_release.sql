-- The release of a change, step by step: what is released, and every move of it, for good. Decisions made meanwhile carry
-- a stage: twice the id of the move that set the shares, and one more on the side of the change. 0: no release.

CREATE TABLE rollouts (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    campaign_id integer NOT NULL REFERENCES campaigns,
    candidates integer[] NOT NULL, -- variants that only the change shows
    change jsonb NOT NULL, -- fields of the campaign's plan that the change replaces
    plan jsonb NOT NULL,
    actor text NOT NULL,
    created_ms bigint NOT NULL
);
CREATE INDEX rollouts_campaign ON rollouts (campaign_id, id);

-- The state of a release is the fold of its moves. Whoever writes a version first has made the move.
CREATE TABLE rollout_moves (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    rollout_id integer NOT NULL REFERENCES rollouts,
    version integer NOT NULL,
    at_ms bigint NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    status text NOT NULL CHECK (status IN ('running', 'held', 'rolled_back', 'done')), -- afterwards
    share double precision NOT NULL CHECK (share BETWEEN 0 AND 1), -- afterwards
    detail jsonb NOT NULL,
    undo jsonb NOT NULL, -- what a later rollback puts back
    UNIQUE (rollout_id, version)
);

CREATE FUNCTION refuse_rewriting() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'moves of a release are never rewritten';
END
$$;
CREATE TRIGGER moves_stay BEFORE UPDATE OR DELETE ON rollout_moves
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting();

ALTER TABLE variants DROP CONSTRAINT variants_state_check;
ALTER TABLE variants ADD CONSTRAINT variants_state_check CHECK (state IN ('live', 'retired', 'staged'));

ALTER TABLE exposures ADD COLUMN stage integer NOT NULL DEFAULT 0;

ALTER TABLE rollups ADD COLUMN stage integer NOT NULL DEFAULT 0;
ALTER TABLE rollups DROP CONSTRAINT rollups_pkey;
ALTER TABLE rollups ADD PRIMARY KEY (campaign_id, step, bucket, variant_id, segment, stage, shard);

ALTER TABLE rollup_vitals ADD COLUMN stage integer NOT NULL DEFAULT 0;
ALTER TABLE rollup_vitals DROP CONSTRAINT rollup_vitals_pkey;
ALTER TABLE rollup_vitals ADD PRIMARY KEY (campaign_id, variant_id, metric, bucket, stage, shard);

-- Decisions that told of a complaint, an error or a violation.
CREATE TABLE rollup_marks (
    campaign_id integer NOT NULL,
    variant_id integer NOT NULL,
    name text NOT NULL,
    stage integer NOT NULL,
    shard smallint NOT NULL,
    marks bigint NOT NULL,
    PRIMARY KEY (campaign_id, variant_id, name, stage, shard)
) WITH (fillfactor = 50);
