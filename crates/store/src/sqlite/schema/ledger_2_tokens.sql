-- Request tokens. What they hold of balances stands in `leases`, under an instance of its own.

CREATE TABLE tokens (
  id               BLOB PRIMARY KEY CHECK (length(id) = 16),
  hash             BLOB NOT NULL CHECK (length(hash) = 32),
  license          BLOB NOT NULL CHECK (length(license) = 16),
  account          TEXT NOT NULL,
  app              TEXT NOT NULL,
  method           INTEGER NOT NULL,
  path             TEXT NOT NULL,
  units            INTEGER NOT NULL,
  epoch            INTEGER,             -- of the balance that holds the units; NULL: none do
  state            INTEGER NOT NULL,    -- 0 issued, 1 claimed, 2 consumed, 3 expired, 4 confirmed, 5 disputed
  issued_at        INTEGER NOT NULL,
  expires_at       INTEGER NOT NULL,
  call_id          BLOB,
  owner            BLOB,                -- the instance of that call
  consumed_at      INTEGER,
  status           INTEGER,
  confirmed_status INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tokens_by_hash ON tokens (hash);
CREATE INDEX tokens_by_end ON tokens (expires_at) WHERE state = 0;
CREATE INDEX tokens_by_age ON tokens (issued_at);
