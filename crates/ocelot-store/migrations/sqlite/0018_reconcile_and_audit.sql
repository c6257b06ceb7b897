-- Repositories whose forge tells of pushes, each with what is known to be there: what a forge never told is found by it.
CREATE TABLE reconciled (
    repo_id INTEGER PRIMARY KEY REFERENCES repos (id) ON DELETE CASCADE,
    -- Branch to commit, and number of an open pull request to commit, as they were at the last look; NULL before the first.
    heads TEXT,
    pulls TEXT,
    next_at INTEGER NOT NULL,
    last_at INTEGER,
    outcome TEXT
);
CREATE INDEX reconciled_due ON reconciled (next_at);
INSERT INTO reconciled (repo_id, next_at) SELECT repo_id, 0 FROM hooks WHERE remote_id IS NOT NULL;

-- Who changed what, let whose commit start, and which builds got secrets.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    -- What it was done to: the name of a token, the handle of a repository, `build 7`.
    subject TEXT NOT NULL,
    -- In words; never a secret.
    detail TEXT NOT NULL
);
CREATE INDEX audit_by_time ON audit (at);
