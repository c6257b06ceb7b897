-- Logs live in a file of their own, so that their many writes never hold up the state.
CREATE TABLE stage_logs (
    stage_id INTEGER PRIMARY KEY,
    bytes INTEGER NOT NULL,
    complete BOOLEAN NOT NULL DEFAULT false,
    sha256 BLOB
);

CREATE TABLE log_chunks (
    stage_id INTEGER NOT NULL,
    start_at INTEGER NOT NULL,
    len INTEGER NOT NULL,
    marks BLOB NOT NULL,
    data BLOB NOT NULL
);
CREATE UNIQUE INDEX log_chunks_order ON log_chunks (stage_id, start_at);
