-- Licenses, credentials and what changed; accounts, management keys, plan revisions, settings.
-- Ids are 16 bytes, big end first, so that they sort as numbers. Times are microseconds since the UNIX epoch.

CREATE TABLE licenses (
  id            BLOB PRIMARY KEY CHECK (length(id) = 16),
  account       TEXT NOT NULL,
  app           TEXT NOT NULL,
  plan          TEXT,
  user          TEXT,
  label         TEXT,
  status        INTEGER NOT NULL,       -- 0 active, 1 disabled, 2 revoked
  created_at    INTEGER NOT NULL,
  expires_at    INTEGER,
  remaining     INTEGER,                -- 64 bits without a sign
  refill        TEXT,                   -- as in `5/1h,add`
  rate_limits   TEXT,                   -- JSON list; NULL: empty
  concurrency   INTEGER,
  permissions   TEXT,                   -- JSON list; NULL: empty
  allow_ips     TEXT,                   -- JSON list; NULL: empty
  version       INTEGER NOT NULL,       -- number of the last change
  balance_stamp INTEGER NOT NULL,       -- grows whenever what is left is set by hand
  refill_stamp  INTEGER NOT NULL        -- refills that fell due up to this time are past
) STRICT, WITHOUT ROWID;
CREATE INDEX licenses_by_account ON licenses (account, id);
CREATE INDEX licenses_by_app ON licenses (app, id);
CREATE INDEX licenses_by_user ON licenses (user, id) WHERE user IS NOT NULL;

CREATE TABLE credentials (
  cursor     INTEGER PRIMARY KEY AUTOINCREMENT,
  id         BLOB NOT NULL CHECK (length(id) = 16),
  license_id BLOB NOT NULL CHECK (length(license_id) = 16),
  hash       BLOB NOT NULL CHECK (length(hash) = 32),
  kind       TEXT NOT NULL,
  prefix     TEXT NOT NULL,
  status     INTEGER NOT NULL,          -- 0 active, 1 revoked
  created_at INTEGER NOT NULL,
  expires_at INTEGER
) STRICT;
CREATE UNIQUE INDEX credentials_by_hash ON credentials (hash);
CREATE INDEX credentials_by_license ON credentials (license_id, created_at);

-- The last row is never pruned, so the next number is always one more than the last.
CREATE TABLE changes (
  number     INTEGER PRIMARY KEY,
  license_id BLOB NOT NULL,
  added      INTEGER                    -- bits of the fingerprint of an added credential
) STRICT;

CREATE TABLE accounts (
  name       TEXT PRIMARY KEY,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO accounts VALUES ('default', unixepoch() * 1000000);

CREATE TABLE management_keys (
  id         BLOB PRIMARY KEY CHECK (length(id) = 16),
  account    TEXT NOT NULL,
  app        TEXT,
  license_id BLOB,
  name       TEXT,
  scopes     TEXT NOT NULL,             -- JSON list
  prefix     TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER,
  hash       BLOB NOT NULL CHECK (length(hash) = 32),
  secret     BLOB CHECK (length(secret) = 32)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX management_keys_by_hash ON management_keys (hash);

CREATE TABLE plan_revisions (
  id    BLOB PRIMARY KEY CHECK (length(id) = 16),
  terms TEXT NOT NULL                   -- JSON
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
  name  TEXT PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
