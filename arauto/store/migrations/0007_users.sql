-- Named users of the dashboard. A session carries the user's `version`: raising it ends every session made before.

CREATE TABLE users (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL UNIQUE,
    role text NOT NULL CHECK (role IN ('viewer', 'editor', 'approver')),
    active boolean NOT NULL DEFAULT true,
    version integer NOT NULL DEFAULT 1,
    password text, -- scrypt; NULL until the invitation is taken up
    invitation bytea UNIQUE, -- SHA-256 of the code of the link
    expires_ms bigint, -- of the invitation
    created_ms bigint NOT NULL
);

-- The same of sessions opened with the admin's token or a login link.
CREATE TABLE admin_sessions (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL
);
INSERT INTO admin_sessions (version) VALUES (1);
