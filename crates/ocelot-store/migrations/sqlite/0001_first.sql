-- Times are microseconds since 1970. Lists and specs are JSON text.
-- The PostgreSQL folder holds the same tables.
CREATE TABLE settings (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE forges (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    base_url TEXT NOT NULL
);
INSERT INTO forges (name, kind, base_url) VALUES ('git', 'git', '');

CREATE TABLE repos (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    forge_id INTEGER NOT NULL REFERENCES forges (id),
    remote_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    clone_url TEXT NOT NULL,
    default_branch TEXT NOT NULL,
    public BOOLEAN NOT NULL,
    created_at INTEGER NOT NULL,
    -- Set while its builds are being deleted, which takes several transactions.
    removing BOOLEAN NOT NULL DEFAULT false,
    UNIQUE (forge_id, remote_id),
    UNIQUE (forge_id, owner, name)
);

CREATE TABLE builds (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    repo_id INTEGER NOT NULL REFERENCES repos (id),
    status TEXT NOT NULL,
    event TEXT NOT NULL,
    branch TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    message TEXT NOT NULL,
    author TEXT NOT NULL,
    triggered_by TEXT,
    queued_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    reason TEXT,
    problems TEXT NOT NULL,
    -- No reference: the earlier build may be deleted first.
    retry_of INTEGER,
    cancel_requested_at INTEGER
);
CREATE INDEX builds_by_repo ON builds (repo_id, number);
CREATE INDEX builds_by_branch ON builds (repo_id, branch, number);
CREATE INDEX builds_by_status ON builds (status, number);
CREATE INDEX builds_by_commit ON builds (commit_id);

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    build INTEGER NOT NULL REFERENCES builds (number) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    spec TEXT NOT NULL,
    -- What the rules of a build need of the spec, so that it is not parsed at every change.
    needs TEXT NOT NULL,
    always BOOLEAN NOT NULL,
    allow_failure BOOLEAN NOT NULL,
    retry_infrastructure INTEGER NOT NULL,
    retry_script INTEGER NOT NULL,
    retried_infrastructure INTEGER NOT NULL DEFAULT 0,
    retried_script INTEGER NOT NULL DEFAULT 0,
    ready BOOLEAN NOT NULL DEFAULT false,
    -- Number of its newest attempt.
    attempt INTEGER NOT NULL DEFAULT 1,
    UNIQUE (build, place)
);

CREATE TABLE attempts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    build INTEGER NOT NULL,
    number INTEGER NOT NULL,
    status TEXT NOT NULL,
    reason TEXT,
    -- The name stays when the worker's row goes.
    worker_id INTEGER,
    worker TEXT,
    -- A worker holds the attempt exactly while these two are set.
    lease_token BLOB,
    lease_until INTEGER,
    accepted BOOLEAN NOT NULL DEFAULT false,
    finished_at INTEGER,
    UNIQUE (job_id, number)
);
CREATE INDEX attempts_by_build ON attempts (build);
CREATE INDEX attempts_by_worker ON attempts (worker, build);
CREATE INDEX attempts_by_lease ON attempts (lease_until) WHERE lease_until IS NOT NULL;

CREATE TABLE stages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    attempt_id INTEGER NOT NULL REFERENCES attempts (id) ON DELETE CASCADE,
    build INTEGER NOT NULL,
    place INTEGER NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    exit_code INTEGER,
    started_at INTEGER,
    duration_ms INTEGER,
    reason TEXT,
    UNIQUE (attempt_id, place)
);
CREATE INDEX stages_by_build ON stages (build);

-- Every set of labels that some job ever asked for, in one canonical spelling.
CREATE TABLE label_sets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    labels TEXT NOT NULL UNIQUE
);

CREATE TABLE queue (
    job_id INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    build INTEGER NOT NULL,
    repo_id INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    label_set INTEGER NOT NULL REFERENCES label_sets (id),
    queued_at INTEGER NOT NULL,
    ready BOOLEAN NOT NULL,
    not_before INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX queue_order ON queue (label_set, priority DESC, build, job_id) WHERE ready;
CREATE INDEX queue_by_build ON queue (build);

CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    build INTEGER NOT NULL,
    repo_id INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX events_by_build ON events (build, seq);

CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    repos TEXT NOT NULL,
    secret_sha256 BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER
);

CREATE TABLE sessions (
    secret_sha256 BLOB NOT NULL PRIMARY KEY,
    token_id INTEGER NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
);
CREATE INDEX sessions_by_token ON sessions (token_id);

CREATE TABLE sign_in_links (
    secret_sha256 BLOB NOT NULL PRIMARY KEY,
    token_id INTEGER NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
);
CREATE INDEX sign_in_links_by_token ON sign_in_links (token_id);

CREATE TABLE workers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- No reference: a worker stays visible when its token is revoked.
    token_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    slots INTEGER NOT NULL,
    version TEXT NOT NULL,
    sharing TEXT NOT NULL,
    last_seen_at INTEGER NOT NULL,
    connected BOOLEAN NOT NULL,
    UNIQUE (token_id, name)
);
