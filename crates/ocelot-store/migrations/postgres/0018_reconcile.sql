-- Repositories whose forge tells of pushes, each with what is known to be there: what a forge never told is found by it.
CREATE TABLE reconciled (
    repo_id BIGINT PRIMARY KEY REFERENCES repos (id) ON DELETE CASCADE,
    -- Branch to commit, and number of an open pull request to commit, as they were at the last look; NULL before the first.
    heads TEXT,
    pulls TEXT,
    next_at BIGINT NOT NULL,
    last_at BIGINT,
    outcome TEXT
);
CREATE INDEX reconciled_due ON reconciled (next_at);
INSERT INTO reconciled (repo_id, next_at) SELECT repo_id, 0 FROM hooks WHERE remote_id IS NOT NULL;
