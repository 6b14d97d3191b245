-- Who is in a release that counts visitors, by their first decision in it: the only one that is evidence.
CREATE TABLE entrants (
    visitor_id uuid NOT NULL,
    rollout_id integer NOT NULL REFERENCES rollouts,
    decision_id uuid NOT NULL,
    PRIMARY KEY (visitor_id, rollout_id)
);
