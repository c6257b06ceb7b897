-- Repositories that are looked at from time to time, for hosts that send no webhooks.
CREATE TABLE polls (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    repo_id INTEGER NOT NULL UNIQUE REFERENCES repos (id) ON DELETE CASCADE,
    cron TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    branches TEXT NOT NULL,
    -- Branch to commit, as they were at the last look; NULL before the first one.
    heads TEXT,
    next_at INTEGER NOT NULL,
    last_at INTEGER,
    outcome TEXT,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX polls_due ON polls (next_at);

CREATE TABLE schedules (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    repo_id INTEGER NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    -- It stands in the file of the default branch, and goes when it goes from there.
    from_file BOOLEAN NOT NULL,
    cron TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    -- NULL for the default branch.
    branch TEXT,
    next_at INTEGER NOT NULL,
    last_at INTEGER,
    outcome TEXT,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX schedules_due ON schedules (next_at);
CREATE INDEX schedules_by_repo ON schedules (repo_id);
