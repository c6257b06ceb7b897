-- Secrets and credentials. One name is there once in a scope.
CREATE TABLE secrets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The one repository that may have it; NULL: those whose handle begins with prefix.
    repo_id INTEGER REFERENCES repos (id) ON DELETE CASCADE,
    -- `github/acme/`; empty for all repositories, and with repo_id.
    prefix TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- What is not secret, as JSON: address, user.
    fields TEXT NOT NULL,
    -- Events, branches and stages, as JSON.
    limits TEXT NOT NULL,
    -- Sealed.
    value BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    changed_by TEXT NOT NULL
);
CREATE UNIQUE INDEX secrets_scope ON secrets (coalesce(repo_id, 0), prefix, name);
