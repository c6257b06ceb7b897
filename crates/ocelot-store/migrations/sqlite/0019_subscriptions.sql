-- Which repository is built after which other one, as the newest file of the default branch says.
CREATE TABLE active_subscriptions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Who is built.
    repo_id INTEGER NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    alias TEXT NOT NULL,
    -- After whom, by name: it need not be here yet.
    subscribed_to_forge TEXT NOT NULL,
    subscribed_to_acct_repo TEXT NOT NULL,
    -- Branch there to branch here.
    branch_queue_map TEXT NOT NULL,
    -- Why it is not in force.
    refused TEXT,
    -- The build whose file says so. No reference: it may be removed first.
    stored_by INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    -- What came of it last.
    last_at INTEGER,
    outcome TEXT,
    UNIQUE (repo_id, alias)
);
CREATE INDEX active_subscriptions_by_upstream ON active_subscriptions (subscribed_to_forge, subscribed_to_acct_repo);
CREATE INDEX active_subscriptions_by_build ON active_subscriptions (stored_by);

-- Builds that passed and of which a build is to follow: of each branch the newest.
CREATE TABLE subscription_passes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    subscription_id INTEGER NOT NULL REFERENCES active_subscriptions (id) ON DELETE CASCADE,
    upstream_branch TEXT NOT NULL,
    upstream_build INTEGER NOT NULL REFERENCES builds (number) ON DELETE CASCADE,
    next_at INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    UNIQUE (subscription_id, upstream_branch)
);
CREATE INDEX subscription_passes_due ON subscription_passes (next_at);
CREATE INDEX subscription_passes_by_build ON subscription_passes (upstream_build);

-- Which build a build follows. No references to the other one: it may be removed first.
CREATE TABLE subscription_data (
    build INTEGER PRIMARY KEY REFERENCES builds (number) ON DELETE CASCADE,
    subscription_id INTEGER NOT NULL,
    alias TEXT NOT NULL,
    upstream_build INTEGER NOT NULL,
    upstream_repo_id INTEGER NOT NULL,
    upstream_branch TEXT NOT NULL,
    upstream_commit TEXT NOT NULL
);
CREATE INDEX subscription_data_by_upstream ON subscription_data (upstream_build);
CREATE INDEX subscription_data_by_subscription ON subscription_data (subscription_id, build);

-- It is what a branch of the repository holds: no pull request, no tag, no commit of others. Only then builds follow it.
ALTER TABLE builds ADD COLUMN of_branch BOOLEAN NOT NULL DEFAULT false;
-- Rises with each build of the default branch that has a valid file, and with each time that what the file says beside the
-- build was taken: so that an older file, worked on late, takes the place of no newer one.
ALTER TABLE repos ADD COLUMN file_builds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repos ADD COLUMN file_changes INTEGER NOT NULL DEFAULT 0;
