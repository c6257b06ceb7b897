-- Tokens with which new workers get an identity of their own.
CREATE TABLE enrolments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    secret_sha256 BLOB NOT NULL UNIQUE,
    labels TEXT NOT NULL,
    -- NULL for any number.
    uses INTEGER,
    used INTEGER NOT NULL DEFAULT 0,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
);

-- A worker with an identity of its own has this and the `token_id` 0.
ALTER TABLE workers ADD COLUMN secret_sha256 BLOB;
-- What its enrolment wants among its labels, whatever it says itself.
ALTER TABLE workers ADD COLUMN enrolled_labels TEXT NOT NULL DEFAULT '{}';
-- Who wants that it gets no more jobs.
ALTER TABLE workers ADD COLUMN drained_by TEXT;
-- Its own word that it takes no more jobs, until it says hello again.
ALTER TABLE workers ADD COLUMN ending BOOLEAN NOT NULL DEFAULT false;
CREATE UNIQUE INDEX workers_by_secret ON workers (secret_sha256) WHERE secret_sha256 IS NOT NULL;
CREATE INDEX attempts_held ON attempts (worker_id) WHERE lease_until IS NOT NULL;

-- Identities that were taken away: an enrolment does not bring them back.
CREATE TABLE removed_workers (
    secret_sha256 BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    removed_by TEXT NOT NULL,
    removed_at INTEGER NOT NULL
);
