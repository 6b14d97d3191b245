-- What somebody has typed into a step of a campaign's making and not yet put to use: it outlives a reload.

CREATE TABLE campaign_forms (
    campaign_id integer NOT NULL REFERENCES campaigns,
    step text NOT NULL,
    fields jsonb NOT NULL,
    updated_ms bigint NOT NULL,
    PRIMARY KEY (campaign_id, step)
);
