-- True once a note stands in the place of a log: nothing is written to it any more.
ALTER TABLE stage_logs ADD COLUMN removed BOOLEAN NOT NULL DEFAULT false;
