-- Groups of builds of which only so many go on at once. Who holds a place is told from the builds that are not over.
ALTER TABLE builds ADD COLUMN concurrency_group TEXT;
ALTER TABLE builds ADD COLUMN concurrency_limit INTEGER NOT NULL DEFAULT 1;
ALTER TABLE builds ADD COLUMN cancel_running BOOLEAN NOT NULL DEFAULT false;
-- False while it waits for a place in its group.
ALTER TABLE builds ADD COLUMN admitted BOOLEAN NOT NULL DEFAULT true;
CREATE INDEX builds_in_groups ON builds (repo_id, number) WHERE concurrency_group IS NOT NULL AND finished_at IS NULL;
