-- What an experiment is judged by, kept where reading every exposure took long: as it stood at `at_ms`. Sums only, no
-- visitor. Made again whenever somebody looks; an erasure removes it.
CREATE TABLE tallies (
    campaign_id integer PRIMARY KEY REFERENCES campaigns,
    at_ms bigint NOT NULL,
    took_ms integer NOT NULL,
    told jsonb NOT NULL
);
