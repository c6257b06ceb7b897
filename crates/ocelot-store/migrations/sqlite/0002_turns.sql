-- Repositories take turns. One row for each set of labels and repository that ever had a job in the queue with them;
-- `waiting` counts the queue's ready rows. Triggers keep it, so that it is right whatever writes to the queue, a server
-- of the version before included.
CREATE TABLE queue_lines (
    label_set INTEGER NOT NULL REFERENCES label_sets (id),
    repo_id INTEGER NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    -- Rises with every claim; the line with the smallest one is next. No time: clocks may be set back. A new line
    -- begins with its repository's last one, so that new labels are no way to the front.
    turn INTEGER NOT NULL DEFAULT 0,
    waiting INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (label_set, repo_id)
);
CREATE INDEX queue_lines_next ON queue_lines (label_set, turn, repo_id) WHERE waiting > 0;
CREATE INDEX queue_lines_last ON queue_lines (turn);
CREATE INDEX queue_lines_by_repo ON queue_lines (repo_id, turn);

CREATE INDEX queue_line ON queue (label_set, repo_id, priority DESC, build, job_id) WHERE ready;
DROP INDEX queue_order;

INSERT INTO queue_lines (label_set, repo_id, waiting)
SELECT label_set, repo_id, count(*) FROM queue WHERE ready GROUP BY label_set, repo_id;

CREATE TRIGGER queue_line_begun AFTER INSERT ON queue WHEN NEW.ready BEGIN
    INSERT INTO queue_lines (label_set, repo_id, turn, waiting)
    VALUES (NEW.label_set, NEW.repo_id,
            (SELECT coalesce(max(turn), 0) FROM queue_lines WHERE repo_id = NEW.repo_id), 1)
    ON CONFLICT (label_set, repo_id) DO UPDATE SET waiting = waiting + 1;
END;
CREATE TRIGGER queue_line_joined AFTER UPDATE OF ready ON queue WHEN NEW.ready AND NOT OLD.ready BEGIN
    INSERT INTO queue_lines (label_set, repo_id, turn, waiting)
    VALUES (NEW.label_set, NEW.repo_id,
            (SELECT coalesce(max(turn), 0) FROM queue_lines WHERE repo_id = NEW.repo_id), 1)
    ON CONFLICT (label_set, repo_id) DO UPDATE SET waiting = waiting + 1;
END;
CREATE TRIGGER queue_line_stepped_back AFTER UPDATE OF ready ON queue WHEN OLD.ready AND NOT NEW.ready BEGIN
    UPDATE queue_lines SET waiting = waiting - 1 WHERE label_set = OLD.label_set AND repo_id = OLD.repo_id;
END;
CREATE TRIGGER queue_line_left AFTER DELETE ON queue WHEN OLD.ready BEGIN
    UPDATE queue_lines SET waiting = waiting - 1 WHERE label_set = OLD.label_set AND repo_id = OLD.repo_id;
END;
