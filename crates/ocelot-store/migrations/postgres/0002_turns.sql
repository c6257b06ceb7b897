-- Repositories take turns. One row for each set of labels and repository that ever had a job in the queue with them;
-- `waiting` counts the queue's ready rows. A trigger keeps it, so that it is right whatever writes to the queue, a
-- server of the version before included.
CREATE TABLE queue_lines (
    label_set BIGINT NOT NULL REFERENCES label_sets (id),
    repo_id BIGINT NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    -- Rises with every claim; the line with the smallest one is next. No time: clocks may be set back. A new line
    -- begins with its repository's last one, so that new labels are no way to the front.
    turn BIGINT NOT NULL DEFAULT 0,
    waiting BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (label_set, repo_id)
) WITH (fillfactor = 50);
CREATE INDEX queue_lines_next ON queue_lines (label_set, turn, repo_id) WHERE waiting > 0;
CREATE INDEX queue_lines_last ON queue_lines (turn);
CREATE INDEX queue_lines_by_repo ON queue_lines (repo_id, turn);

CREATE INDEX queue_line ON queue (label_set, repo_id, priority DESC, build, job_id) WHERE ready;
DROP INDEX queue_order;

CREATE FUNCTION queue_line_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.ready THEN
        UPDATE queue_lines SET waiting = waiting - 1 WHERE label_set = OLD.label_set AND repo_id = OLD.repo_id;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.ready THEN
        INSERT INTO queue_lines (label_set, repo_id, turn, waiting)
        VALUES (NEW.label_set, NEW.repo_id,
                (SELECT coalesce(max(turn), 0) FROM queue_lines WHERE repo_id = NEW.repo_id), 1)
        ON CONFLICT (label_set, repo_id) DO UPDATE SET waiting = queue_lines.waiting + 1;
    END IF;
    RETURN NULL;
END $$;
-- First the trigger, which locks the queue, then the count of what stands in it.
CREATE TRIGGER queue_line_count AFTER INSERT OR DELETE OR UPDATE OF ready ON queue
    FOR EACH ROW EXECUTE FUNCTION queue_line_count();
INSERT INTO queue_lines (label_set, repo_id, waiting)
SELECT label_set, repo_id, count(*) FROM queue WHERE ready GROUP BY label_set, repo_id;
