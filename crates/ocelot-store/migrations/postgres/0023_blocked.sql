-- What waits for a person, to be found among all jobs.
CREATE INDEX jobs_blocked ON jobs (build) WHERE status = 'blocked';
