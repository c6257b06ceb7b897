-- Logs go before their builds do: what was looked at once is not looked at again.
ALTER TABLE builds ADD COLUMN logs_removed BOOLEAN NOT NULL DEFAULT false;
CREATE INDEX builds_with_logs ON builds (finished_at, number) WHERE logs_removed = false AND finished_at IS NOT NULL;
CREATE INDEX builds_by_end ON builds (finished_at, number) WHERE finished_at IS NOT NULL;
