-- Who Ocelot is for the forge, sealed; NULL: nobody. And in a word, to be shown.
ALTER TABLE forges ADD COLUMN access BLOB;
ALTER TABLE forges ADD COLUMN access_kind TEXT;
-- What the forge signs with when it sends for all of its repositories, sealed.
ALTER TABLE forges ADD COLUMN hook_secret BLOB;
ALTER TABLE forges ADD COLUMN insecure_http BOOLEAN NOT NULL DEFAULT false;
-- Rises with every change, so that servers see what they have to read again.
ALTER TABLE forges ADD COLUMN version INTEGER NOT NULL DEFAULT 0;

-- Webhooks that Ocelot made at forges, one of a repository.
CREATE TABLE hooks (
    -- Random: it stands in the webhook's address.
    id TEXT NOT NULL PRIMARY KEY,
    repo_id INTEGER NOT NULL UNIQUE REFERENCES repos (id) ON DELETE CASCADE,
    -- Sealed.
    secret BLOB NOT NULL,
    -- What the forge calls it; NULL until it has made it.
    remote_id TEXT,
    created_at INTEGER NOT NULL
);
