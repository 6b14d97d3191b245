-- What exists: sites, brands, briefs, campaigns, kits, variants, models, releases; who did what; secrets.
-- Times are Unix milliseconds.

CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE sites (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL UNIQUE,
    key text NOT NULL UNIQUE,
    origins text[] NOT NULL DEFAULT '{}',
    created_ms bigint NOT NULL
);

CREATE TABLE brands (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL UNIQUE,
    colours text[] NOT NULL DEFAULT '{}',
    created_ms bigint NOT NULL
);

CREATE TABLE briefs (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    sha256 text NOT NULL UNIQUE,
    brand_id integer REFERENCES brands,
    content jsonb NOT NULL,
    created_ms bigint NOT NULL
);

CREATE TABLE campaigns (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    site_id integer NOT NULL REFERENCES sites,
    slug text NOT NULL,
    name text NOT NULL,
    brief_id integer NOT NULL REFERENCES briefs,
    message jsonb NOT NULL,
    plan jsonb NOT NULL,
    attribution_ms bigint NOT NULL, -- of the plan, where the attribution query can read it
    state text NOT NULL CHECK (state IN ('draft', 'live', 'paused', 'ended')),
    created_ms bigint NOT NULL,
    launched_ms bigint,
    ended_ms bigint,
    UNIQUE (site_id, slug)
);

CREATE TABLE kits (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    campaign_id integer NOT NULL REFERENCES campaigns,
    report jsonb NOT NULL,
    actor text NOT NULL,
    created_ms bigint NOT NULL
);

CREATE TABLE variants (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    campaign_id integer NOT NULL REFERENCES campaigns,
    kit_id integer NOT NULL REFERENCES kits,
    name text NOT NULL,
    copy jsonb NOT NULL,
    copy_sha256 text NOT NULL,
    origin jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('live', 'retired')),
    created_ms bigint NOT NULL,
    UNIQUE (campaign_id, name),
    UNIQUE (campaign_id, copy_sha256)
);

CREATE TABLE models (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    sha256 text NOT NULL UNIQUE,
    parent integer REFERENCES models,
    data_window jsonb NOT NULL,
    metrics jsonb NOT NULL,
    created_ms bigint NOT NULL
);

CREATE TABLE releases (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    model_id integer NOT NULL REFERENCES models,
    stage text NOT NULL,
    share double precision NOT NULL CHECK (share BETWEEN 0 AND 1),
    note text NOT NULL,
    actor text NOT NULL,
    created_ms bigint NOT NULL
);

CREATE TABLE audit_log (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at_ms bigint NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    detail jsonb NOT NULL
);

CREATE TABLE secrets (
    name text PRIMARY KEY,
    value bytea NOT NULL
);

CREATE TABLE login_codes (
    sha256 bytea PRIMARY KEY,
    expires_ms bigint NOT NULL
);

CREATE TABLE job_progress (
    job_id bigint PRIMARY KEY,
    done bigint NOT NULL DEFAULT 0,
    total bigint NOT NULL DEFAULT 0,
    note text NOT NULL DEFAULT '',
    error text NOT NULL DEFAULT '',
    updated_ms bigint NOT NULL
);
