-- The last round in which an instance asked for units and gave units back, and what it was answered: it is done once,
-- however often it is asked.
CREATE TABLE lease_rounds (
  instance BLOB PRIMARY KEY CHECK (length(instance) = 16),
  number   INTEGER NOT NULL,
  answer   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
