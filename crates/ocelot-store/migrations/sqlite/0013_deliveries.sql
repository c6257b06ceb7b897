-- Webhooks as they came, each with what became of it.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    forge_id INTEGER NOT NULL REFERENCES forges (id) ON DELETE CASCADE,
    -- NULL: it is about no repository that is here.
    repo_id INTEGER REFERENCES repos (id) ON DELETE CASCADE,
    -- Whose secret it was signed with; NULL: the forge's own.
    hook_id TEXT,
    -- What the forge calls it.
    remote_id TEXT NOT NULL,
    -- The forge's word for what happened.
    event TEXT NOT NULL,
    -- The raw bytes, compressed with zstd, and their hash.
    body BLOB NOT NULL,
    sha256 BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    outcome TEXT NOT NULL,
    handled_at INTEGER,
    -- While it waits: how often it was tried, since when, and when it may be tried again.
    tries INTEGER NOT NULL DEFAULT 0,
    since INTEGER NOT NULL,
    not_before INTEGER NOT NULL DEFAULT 0,
    -- A server is at it until then, unless it says so again.
    leased_until INTEGER NOT NULL DEFAULT 0,
    UNIQUE (forge_id, remote_id)
);
CREATE INDEX deliveries_waiting ON deliveries (id) WHERE state = 'waiting';
CREATE INDEX deliveries_by_repo ON deliveries (repo_id, id);
CREATE INDEX deliveries_by_time ON deliveries (received_at);

-- What a delivery tells, one row for each branch, tag or pull request.
CREATE TABLE delivery_parts (
    delivery INTEGER NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    repo_id INTEGER NOT NULL,
    -- push, tag, pull_request or merge_group.
    kind TEXT NOT NULL,
    -- refs/heads/x, refs/tags/x or pull/3.
    subject TEXT NOT NULL,
    -- Hashes: names may be longer than an index takes.
    subject_key TEXT NOT NULL,
    natural_key TEXT NOT NULL,
    -- Commits; empty when it was not there or is gone, NULL when the forge does not say.
    before_id TEXT,
    after_id TEXT,
    received_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    outcome TEXT NOT NULL,
    build INTEGER,
    PRIMARY KEY (delivery, place)
);
CREATE INDEX delivery_parts_by_key ON delivery_parts (repo_id, natural_key, delivery);
CREATE INDEX delivery_parts_by_subject ON delivery_parts (repo_id, subject_key, delivery);
CREATE INDEX delivery_parts_by_build ON delivery_parts (build);

-- What else a build is of.
ALTER TABLE builds ADD COLUMN pull_request INTEGER;
ALTER TABLE builds ADD COLUMN tag TEXT;
