-- One row that is written again and again, to see whether logs can be written.
CREATE TABLE probe (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL
);
