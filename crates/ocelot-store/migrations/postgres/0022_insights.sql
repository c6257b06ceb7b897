-- The shapes of the lines of the newest passed runs of each stage: 8 bytes each, little-endian, in order. A run's row
-- outlives its build, so no reference to that.
CREATE TABLE stage_shapes (
    stage_id BIGINT NOT NULL PRIMARY KEY,
    repo_id BIGINT NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    job TEXT NOT NULL,
    stage TEXT NOT NULL,
    build BIGINT NOT NULL,
    shapes BYTEA NOT NULL
);
CREATE INDEX stage_shapes_by_name ON stage_shapes (repo_id, job, stage, build);

-- Which lines of a stage's log no passed run had. Only where they stand: the words stay in the log alone.
CREATE TABLE stage_novel (
    stage_id BIGINT NOT NULL PRIMARY KEY REFERENCES stages (id) ON DELETE CASCADE,
    -- JSON: [{number, offset, count}, …], the ones that say most first.
    lines TEXT NOT NULL,
    -- New shapes in all.
    novel BIGINT NOT NULL,
    -- Passed runs that the log was compared with.
    compared BIGINT NOT NULL
);
