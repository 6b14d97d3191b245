-- Who is in a release that counts visitors, by their first decision in it: the only one that is evidence. A visitor is
-- known by the keyed hash of `erasures`, so that a late event of one who was erased leaves nothing new behind.
CREATE TABLE entrants (
    tomb text NOT NULL,
    rollout_id integer NOT NULL REFERENCES rollouts,
    decision_id uuid NOT NULL,
    PRIMARY KEY (tomb, rollout_id)
);
