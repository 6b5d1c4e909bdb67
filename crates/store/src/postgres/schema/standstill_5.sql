-- Who has asked all gates to keep their positions, and until when: one row at most.
CREATE TABLE standstill (
  one      boolean PRIMARY KEY DEFAULT true CHECK (one),
  instance uuid NOT NULL,
  until    timestamptz NOT NULL
);

-- What retention looks for.
CREATE INDEX sealed_files_kept ON sealed_files (last_started_at) WHERE removed_at IS NULL;
