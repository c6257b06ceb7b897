-- When the first of its jobs could be claimed: from then on a build waits for a worker, and not for a person or a place.
ALTER TABLE builds ADD COLUMN free_at INTEGER;
