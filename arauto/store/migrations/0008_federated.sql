-- Who may join a round, a round's figures, which releases a model had; and no signing key in a row any more: it is
-- derived from the installation's federated secret, which is not in this database.
UPDATE federated_rounds SET phase = 'failed', reason = 'a newer version was installed'
    WHERE phase NOT IN ('done', 'failed');
ALTER TABLE federated_rounds
    ALTER COLUMN secret SET DEFAULT '', -- not used any more: it goes when no version reads it
    ADD COLUMN opened_ms bigint NOT NULL DEFAULT 0,
    ADD COLUMN ended_ms bigint,
    ADD COLUMN joined integer, -- messages taken in each phase, once it has ended
    ADD COLUMN shared integer,
    ADD COLUMN delivered integer,
    ADD COLUMN unmasked integer,
    ADD COLUMN update_norm double precision; -- L2, of the mean update
UPDATE federated_rounds SET secret = '', ended_ms = deadline_ms WHERE phase IN ('done', 'failed');

ALTER TABLE federated_tasks ADD COLUMN free boolean NOT NULL DEFAULT false; -- whether anyone may join
UPDATE federated_tasks SET free = true;

-- Who may let clients in, and how many in a round.
CREATE TABLE federated_sites (
    name text PRIMARY KEY,
    sha256 bytea NOT NULL UNIQUE, -- of its key
    quota integer NOT NULL CHECK (quota > 0),
    created_ms bigint NOT NULL,
    revoked_ms bigint
);
-- A token lets one client in.
ALTER TABLE federated_messages ADD COLUMN ticket text;
CREATE UNIQUE INDEX federated_tickets ON federated_messages (round, ticket) WHERE ticket IS NOT NULL;

-- The releases of a model.
CREATE TABLE federated_releases (
    task text NOT NULL,
    version integer NOT NULL,
    rollout_id integer NOT NULL UNIQUE REFERENCES rollouts,
    PRIMARY KEY (task, version, rollout_id),
    FOREIGN KEY (task, version) REFERENCES federated_models
);
