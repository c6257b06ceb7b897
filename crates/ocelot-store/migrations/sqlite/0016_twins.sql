-- Two processes with one worker's identity. A version before this one leaves it empty.
ALTER TABLE workers ADD COLUMN process TEXT;
-- The process whose place that one took while it was connected.
ALTER TABLE workers ADD COLUMN former TEXT;
-- One that came beside the process, and when it was last refused.
ALTER TABLE workers ADD COLUMN twin TEXT;
ALTER TABLE workers ADD COLUMN twin_at INTEGER;
