-- When a job could first be claimed, so that it does not wait for ever. A version before this one leaves it empty.
ALTER TABLE jobs ADD COLUMN ready_at BIGINT;
ALTER TABLE queue ADD COLUMN ready_at BIGINT;
CREATE INDEX queue_by_age ON queue (coalesce(ready_at, queued_at)) WHERE ready;
