-- What happened: the event log, one exposure a decision, and the rollups that both add up to.

CREATE TYPE event_type AS ENUM
    ('impression', 'view', 'click', 'cart', 'purchase', 'rating', 'web_vital', 'custom');
CREATE TYPE vital_name AS ENUM ('LCP', 'INP', 'CLS', 'FCP', 'TTFB', 'load');

-- The primary key is a UUIDv7, so its range is time: the key is unique over all partitions, and new rows fall
-- together in the index. An event with a decision names its visitor through its exposure only.
CREATE TABLE events (
    event_id uuid NOT NULL,
    decision_id uuid,
    visitor_id uuid,
    occurred_ms bigint NOT NULL,
    received_ms bigint NOT NULL,
    value_cents bigint,
    reading double precision,
    site_id integer NOT NULL,
    campaign_id integer,
    type event_type NOT NULL,
    metric vital_name,
    score smallint,
    currency text,
    ref text,
    name text,
    props jsonb,
    PRIMARY KEY (event_id)
) PARTITION BY RANGE (event_id);
CREATE TABLE events_default PARTITION OF events DEFAULT;

CREATE INDEX events_decision ON events (decision_id) WHERE decision_id IS NOT NULL;
CREATE INDEX events_visitor ON events (visitor_id) WHERE visitor_id IS NOT NULL;

-- `seen` has one bit for each thing that a decision tells once; `refs` names the items and orders told of, and
-- `amounts` stands beside it (null for items). A row counts in the rollups from `shown_ms` on.
CREATE TABLE exposures (
    decision_id uuid NOT NULL,
    visitor_id uuid,
    decided_ms bigint NOT NULL,
    shown_ms bigint,
    viewed_ms bigint,
    clicked_ms bigint,
    carted_ms bigint,
    purchased_ms bigint,
    value_cents bigint NOT NULL DEFAULT 0,
    propensity double precision,
    campaign_id integer NOT NULL,
    variant_id integer NOT NULL,
    policy_version bigint,
    orders smallint NOT NULL DEFAULT 0,
    score smallint,
    seen smallint NOT NULL DEFAULT 0,
    segment text NOT NULL,
    refs text[],
    amounts bigint[],
    PRIMARY KEY (decision_id)
) PARTITION BY RANGE (decision_id);
CREATE TABLE exposures_default PARTITION OF exposures DEFAULT WITH (fillfactor = 80);

CREATE INDEX exposures_visitor ON exposures (visitor_id) WHERE visitor_id IS NOT NULL;

-- Counters by time of the decision. `step` is the width of a bucket in milliseconds; 0 is all time, in bucket 0.
-- `shard` is a number of the writing process, so that processes never wait for each other's rows.
CREATE TABLE rollups (
    campaign_id integer NOT NULL,
    step integer NOT NULL,
    bucket bigint NOT NULL,
    variant_id integer NOT NULL,
    segment text NOT NULL,
    shard smallint NOT NULL,
    impressions bigint NOT NULL,
    views bigint NOT NULL,
    clicks bigint NOT NULL,
    carts bigint NOT NULL,
    purchases bigint NOT NULL,
    orders bigint NOT NULL,
    value_cents bigint NOT NULL,
    value_sq numeric NOT NULL,
    ratings bigint NOT NULL,
    rating_sum bigint NOT NULL,
    rating_sq bigint NOT NULL,
    PRIMARY KEY (campaign_id, step, bucket, variant_id, segment, shard)
) WITH (fillfactor = 50);

CREATE TABLE rollup_vitals (
    campaign_id integer NOT NULL,
    variant_id integer NOT NULL,
    metric vital_name NOT NULL,
    bucket smallint NOT NULL,
    shard smallint NOT NULL,
    readings bigint NOT NULL,
    PRIMARY KEY (campaign_id, variant_id, metric, bucket, shard)
) WITH (fillfactor = 50);

CREATE TABLE weights (
    campaign_id integer NOT NULL REFERENCES campaigns,
    version bigint NOT NULL,
    at_ms bigint NOT NULL,
    propensities jsonb NOT NULL,
    PRIMARY KEY (campaign_id, version)
);
CREATE INDEX weights_time ON weights (campaign_id, at_ms, version);

-- The keyed hashes of erased visitors, so that their late events are refused.
CREATE TABLE erasures (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tomb text NOT NULL UNIQUE,
    at_ms bigint NOT NULL
);

CREATE TABLE consents (
    visitor_id uuid NOT NULL,
    site_id integer NOT NULL REFERENCES sites,
    state text NOT NULL CHECK (state IN ('granted', 'denied')),
    at_ms bigint NOT NULL,
    PRIMARY KEY (visitor_id, site_id)
);

-- Which of the items and orders told of are new to an exposure, within what a decision may tell: 20 orders, 40 items.
CREATE FUNCTION fresh_refs(known text[], known_orders integer, told text[], told_amounts bigint[])
RETURNS TABLE (ref text, amount bigint, place bigint)
LANGUAGE sql IMMUTABLE
AS $$
    SELECT ref, amount, place
    FROM (
        SELECT ref, amount, place, row_number() OVER (PARTITION BY amount IS NULL ORDER BY place) AS rank
        FROM unnest(told, told_amounts) WITH ORDINALITY AS item (ref, amount, place)
        WHERE NOT ref = ANY (coalesce(known, '{}'))
    ) AS fresh
    WHERE rank <= CASE
        WHEN amount IS NULL THEN 40 - (coalesce(cardinality(known), 0) - known_orders)
        ELSE 20 - known_orders
    END
$$;

-- The same, folded. In PL/pgSQL, which is not inlined: most appends never call them, and need not plan for them.
CREATE FUNCTION new_refs(known text[], known_orders integer, told text[], told_amounts bigint[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE
AS $$ BEGIN
    RETURN (SELECT array_agg(ref ORDER BY place) FROM fresh_refs(known, known_orders, told, told_amounts));
END $$;

CREATE FUNCTION new_amounts(known text[], known_orders integer, told text[], told_amounts bigint[]) RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE
AS $$ BEGIN
    RETURN (SELECT array_agg(amount ORDER BY place) FROM fresh_refs(known, known_orders, told, told_amounts));
END $$;

CREATE FUNCTION new_orders(known text[], known_orders integer, told text[], told_amounts bigint[]) RETURNS integer
LANGUAGE plpgsql IMMUTABLE
AS $$ BEGIN
    RETURN (SELECT count(amount) FROM fresh_refs(known, known_orders, told, told_amounts));
END $$;

CREATE FUNCTION new_value(known text[], known_orders integer, told text[], told_amounts bigint[]) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE
AS $$ BEGIN
    RETURN (SELECT coalesce(sum(amount), 0) FROM fresh_refs(known, known_orders, told, told_amounts));
END $$;

-- Undoes an append that holds an event of an erased visitor (SQLSTATE of our own).
CREATE FUNCTION refuse_erased() RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'a visitor of this batch was erased' USING ERRCODE = 'AR001';
END
$$;
