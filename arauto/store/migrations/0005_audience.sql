-- The audience's memory of each visitor who agreed: their latest touches, packed (arauto/audience/state.py). All of it can
-- be made again from the log; it is kept so that a start need not read the whole of that.

CREATE TABLE visitor_states (
    visitor_id uuid PRIMARY KEY,
    touches bytea NOT NULL
);

-- The names behind the codes of touches.
CREATE TABLE audience_items (
    code bigint PRIMARY KEY,
    name text NOT NULL
);

-- Up to when the log was read into the states.
CREATE TABLE audience_reading (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    read_ms bigint NOT NULL
);

-- The log by arrival. Rows come in that order, so block ranges tell enough, and an append pays next to nothing.
CREATE INDEX events_received ON events USING brin (received_ms) WITH (pages_per_range = 16, autosummarize = on);
