-- When a worker took the attempt. A version before this one leaves it empty.
ALTER TABLE attempts ADD COLUMN started_at INTEGER;

-- Lists of builds: one index for each thing that they are chosen by.
CREATE INDEX builds_by_branch_name ON builds (branch, number);
CREATE INDEX builds_by_event ON builds (event, number);
CREATE INDEX builds_by_repo_status ON builds (repo_id, status, number);
CREATE INDEX builds_by_repo_event ON builds (repo_id, event, number);

-- Builds that lie together, by number: what cannot be among them is not looked for there. Written when they are complete.
CREATE TABLE build_blocks (
    block INTEGER NOT NULL PRIMARY KEY,
    -- The earliest and the latest time at which one of them was queued.
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL
);
-- For every three characters, as a number, a bit for each block of a part in which they occur in a message, author or branch.
CREATE TABLE build_grams (
    part INTEGER NOT NULL,
    gram INTEGER NOT NULL,
    blocks BLOB NOT NULL,
    PRIMARY KEY (gram, part)
) WITHOUT ROWID;

-- Whether an ended build is in the tallies.
ALTER TABLE builds ADD COLUMN counted BOOLEAN NOT NULL DEFAULT false;
CREATE INDEX builds_to_count ON builds (number) WHERE counted = false AND finished_at IS NOT NULL;
-- What is counted together; empty text: all branches; the build and not a job of it; the job and not a stage of it.
CREATE TABLE series (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- 0: all repositories. No reference: what a repository had is taken out of that row, too, when it is removed.
    repo_id INTEGER NOT NULL,
    branch TEXT NOT NULL,
    job TEXT NOT NULL,
    stage TEXT NOT NULL,
    UNIQUE (repo_id, branch, job, stage)
);
-- How those of a series ended within a period: `hours` says how long it is, `period` is its number since 1970.
CREATE TABLE tallies (
    series_id INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    hours INTEGER NOT NULL,
    period INTEGER NOT NULL,
    tally BLOB NOT NULL,
    PRIMARY KEY (series_id, hours, period)
) WITHOUT ROWID;
CREATE INDEX tallies_by_age ON tallies (period) WHERE hours = 1;

-- Who has the key of a badge may see how a repository stands that not everyone may read.
CREATE TABLE badge_keys (
    repo_id INTEGER NOT NULL PRIMARY KEY REFERENCES repos (id) ON DELETE CASCADE,
    -- Sealed.
    secret BLOB NOT NULL,
    created_at INTEGER NOT NULL
);
