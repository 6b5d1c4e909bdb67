-- Who has asked all gates to keep their positions, and until when in milliseconds since the UNIX epoch: one row at most.
CREATE TABLE standstill (
  one      INTEGER PRIMARY KEY CHECK (one = 1),
  instance BLOB NOT NULL CHECK (length(instance) = 16),
  until    INTEGER NOT NULL
) STRICT;

-- What retention looks for.
CREATE INDEX sealed_files_kept ON sealed_files (last_started_at) WHERE removed_at IS NULL;
