-- Months of raw events that left the database as files. What the counters of those months can be held against stays:
-- exposures, and the sums below.
CREATE TABLE archives (
    month text PRIMARY KEY, -- as 2026_11
    from_ms bigint NOT NULL,
    until_ms bigint NOT NULL,
    rows bigint NOT NULL,
    files text[] NOT NULL,
    sha256 text NOT NULL, -- of the files, one after the other
    exported_ms bigint NOT NULL,
    dropped_ms bigint -- NULL: the rows are still here as well
);

CREATE TABLE archived_vitals (
    campaign_id integer NOT NULL,
    variant_id integer NOT NULL,
    metric vital_name NOT NULL,
    bucket smallint NOT NULL,
    stage integer NOT NULL,
    readings bigint NOT NULL,
    PRIMARY KEY (campaign_id, variant_id, metric, bucket, stage)
);

CREATE TABLE archived_marks (
    campaign_id integer NOT NULL,
    name text NOT NULL,
    stage integer NOT NULL,
    marks bigint NOT NULL,
    PRIMARY KEY (campaign_id, name, stage)
);
