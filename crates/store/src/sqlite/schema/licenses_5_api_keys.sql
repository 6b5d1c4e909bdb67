-- What API keys have beyond their licenses. Account and app are those of the license, for the index; they never change.

CREATE TABLE api_keys (
  license_id   BLOB PRIMARY KEY CHECK (length(license_id) = 16),
  account      TEXT NOT NULL,
  app          TEXT NOT NULL,           -- `*`: every app of the account
  name         TEXT,
  prefix       TEXT,
  metadata     TEXT,                    -- JSON object
  permissions  TEXT,                    -- JSON object of lists
  parked_rate  TEXT,                    -- as in `10/1d`
  updated_at   INTEGER NOT NULL,
  last_request INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX api_keys_by_account ON api_keys (account, license_id);
