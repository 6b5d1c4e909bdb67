-- Sessions of management keys, and what is counted of their calls.

CREATE TABLE sessions (
  id         BLOB PRIMARY KEY CHECK (length(id) = 16),
  key_id     BLOB NOT NULL CHECK (length(key_id) = 16),
  license_id BLOB CHECK (length(license_id) = 16),
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,          -- when its last token ends
  ended_at   INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_key ON sessions (key_id, created_at);
CREATE INDEX sessions_by_end ON sessions (expires_at);

CREATE TABLE refresh_tokens (
  hash       BLOB PRIMARY KEY CHECK (length(hash) = 32),
  session_id BLOB NOT NULL CHECK (length(session_id) = 16),
  issued_at  INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_by_end ON refresh_tokens (expires_at);

-- An access token is a credential of the license that its session draws on.
ALTER TABLE credentials ADD COLUMN session_id BLOB;
CREATE INDEX credentials_by_session ON credentials (session_id, expires_at) WHERE session_id IS NOT NULL;

ALTER TABLE management_keys ADD COLUMN allow_ips TEXT;     -- JSON list; NULL: empty
ALTER TABLE management_keys ADD COLUMN draws_on BLOB;      -- the license of a pair's tokens
UPDATE management_keys SET draws_on = license_id WHERE secret IS NOT NULL;

CREATE TABLE key_windows (
  key_id   BLOB NOT NULL CHECK (length(key_id) = 16),
  seconds  INTEGER NOT NULL,
  period   INTEGER NOT NULL,            -- number of the period since the UNIX epoch
  calls    INTEGER NOT NULL,
  PRIMARY KEY (key_id, seconds)
) STRICT, WITHOUT ROWID;
