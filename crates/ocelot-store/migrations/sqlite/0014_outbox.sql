-- What is owed to the world outside: one row for each thing there that shows how a build stands.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- What is for one place waits for no other: `forge:<id>`.
    lane TEXT NOT NULL,
    -- `status` (of a commit) or `comment` (of a pull request).
    kind TEXT NOT NULL,
    repo_id INTEGER NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    -- The commit, or the number of the pull request.
    subject TEXT NOT NULL,
    -- Of a status: `ocelot` or `ocelot/<job>`. Else empty.
    context TEXT NOT NULL,
    -- The newest build that it is about, and how that, or its job, stands.
    build INTEGER NOT NULL REFERENCES builds (number) ON DELETE CASCADE,
    status TEXT NOT NULL,
    -- Random: what a comment is found again by.
    mark TEXT NOT NULL,
    -- Rises when something else is to be said.
    version INTEGER NOT NULL DEFAULT 0,
    -- When it is to be sent; NULL when it was, or was given up.
    due_at INTEGER,
    -- A server is sending it, until then at the latest.
    busy_until INTEGER,
    -- How often that failed since it last went well, since when, and why.
    tries INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    error TEXT,
    UNIQUE (kind, repo_id, subject, context)
);
CREATE INDEX outbox_due ON outbox (lane, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_by_build ON outbox (build);
