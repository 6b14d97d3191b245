-- Federated rounds. A task's budget and model change only together with the round that changes them.

CREATE TABLE federated_tasks (
    name text PRIMARY KEY,
    epsilon double precision NOT NULL CHECK (epsilon > 0), -- all that one device may ever give to this task
    delta double precision NOT NULL CHECK (delta > 0 AND delta < 1),
    rho double precision NOT NULL DEFAULT 0, -- paid so far, if one device took part in every round
    created_ms bigint NOT NULL
);

CREATE TABLE federated_rounds (
    id text PRIMARY KEY,
    task text NOT NULL REFERENCES federated_tasks,
    offer bytea NOT NULL, -- the signed frame
    secret bytea NOT NULL, -- the coordinator's signing key
    rho double precision NOT NULL,
    charged boolean NOT NULL DEFAULT false,
    phase text NOT NULL CHECK (phase IN ('join', 'shares', 'masked', 'unmask', 'done', 'failed')),
    deadline_ms bigint NOT NULL, -- of the phase
    patience_ms bigint NOT NULL, -- that each phase is given
    reason text NOT NULL DEFAULT '',
    receipt bytea
);
-- One round of a task at a time.
CREATE UNIQUE INDEX federated_rounds_open ON federated_rounds (task) WHERE phase NOT IN ('done', 'failed');

-- What was taken, once each: the whole state of a round can be made from it.
CREATE TABLE federated_messages (
    n bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    round text NOT NULL REFERENCES federated_rounds,
    phase text NOT NULL,
    sender text NOT NULL,
    frame bytea NOT NULL,
    UNIQUE (round, phase, sender)
);

-- The registry: every model of a task, and the round that made it (NULL: the first).
CREATE TABLE federated_models (
    task text NOT NULL REFERENCES federated_tasks,
    version integer NOT NULL,
    sha256 text NOT NULL,
    weights bytea NOT NULL, -- float32, little-endian
    state bytea NOT NULL, -- of the server's optimiser
    round text REFERENCES federated_rounds,
    created_ms bigint NOT NULL,
    PRIMARY KEY (task, version)
);
