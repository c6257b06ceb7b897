-- The blob of the log store that a finished log was copied into; empty while all of it is here.
ALTER TABLE stage_logs ADD COLUMN blob TEXT;
-- The chunks of a copied log stay until then, for servers of the version before; empty when they are gone.
ALTER TABLE stage_logs ADD COLUMN hot_until INTEGER;
CREATE INDEX stage_logs_to_copy ON stage_logs (stage_id) WHERE complete AND NOT removed AND blob IS NULL AND bytes > 0;
CREATE INDEX stage_logs_hot ON stage_logs (hot_until) WHERE hot_until IS NOT NULL;

-- Every blob that may exist: its row comes before its bytes and goes after them. Names never repeat.
CREATE TABLE log_blobs (
    name TEXT PRIMARY KEY,
    stage_id INTEGER NOT NULL,
    -- True while a log lies in it. What is false and old is removed.
    stored BOOLEAN NOT NULL DEFAULT false,
    began_at INTEGER NOT NULL
);
CREATE INDEX log_blobs_by_stage ON log_blobs (stage_id);
CREATE INDEX log_blobs_to_remove ON log_blobs (began_at) WHERE NOT stored;
