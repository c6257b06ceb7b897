-- How a worker's machine is. A version before this one leaves it empty.
ALTER TABLE workers ADD COLUMN disk_free INTEGER;
ALTER TABLE workers ADD COLUMN disk_total INTEGER;
-- Why it takes no jobs.
ALTER TABLE workers ADD COLUMN unwell TEXT;
