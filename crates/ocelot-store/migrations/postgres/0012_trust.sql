-- Where a build's commit comes from, and who let it start. What was built before came from the repository itself.
ALTER TABLE repos ADD COLUMN approvals TEXT NOT NULL DEFAULT 'forks';
ALTER TABLE builds ADD COLUMN origin TEXT NOT NULL DEFAULT 'repository';
-- What the origin means: only who may push to the repository can have made the commit.
ALTER TABLE builds ADD COLUMN trusted BOOLEAN NOT NULL DEFAULT true;
ALTER TABLE builds ADD COLUMN origin_account TEXT;
-- It must not start before someone approved of it.
ALTER TABLE builds ADD COLUMN needs_approval BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE builds ADD COLUMN approved_by TEXT;
ALTER TABLE builds ADD COLUMN approved_at BIGINT;

-- A job that its file wants a person to let start, and who did.
ALTER TABLE jobs ADD COLUMN needs_approval BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE jobs ADD COLUMN approved_by TEXT;
ALTER TABLE jobs ADD COLUMN approved_at BIGINT;
