-- Sessions of management keys, and what is counted of their calls.

CREATE TABLE sessions (
  id         uuid PRIMARY KEY,
  key_id     uuid NOT NULL,
  license_id uuid,
  created_at bigint NOT NULL,
  expires_at bigint NOT NULL,           -- when its last token ends
  ended_at   bigint
);
CREATE INDEX sessions_by_key ON sessions (key_id, created_at);
CREATE INDEX sessions_by_end ON sessions (expires_at);

CREATE TABLE refresh_tokens (
  hash       bytea PRIMARY KEY CHECK (length(hash) = 32),
  session_id uuid NOT NULL,
  issued_at  bigint NOT NULL,
  expires_at bigint NOT NULL,
  used_at    bigint
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_by_end ON refresh_tokens (expires_at);

-- An access token is a credential of the license that its session draws on.
ALTER TABLE credentials ADD COLUMN session_id uuid;
CREATE INDEX credentials_by_session ON credentials (session_id, expires_at) WHERE session_id IS NOT NULL;

ALTER TABLE management_keys ADD COLUMN allow_ips text;     -- JSON list; NULL: empty
ALTER TABLE management_keys ADD COLUMN draws_on uuid;      -- the license of a pair's tokens
UPDATE management_keys SET draws_on = license_id WHERE secret IS NOT NULL;

CREATE TABLE key_windows (
  key_id  uuid NOT NULL,
  seconds bigint NOT NULL,
  period  bigint NOT NULL,              -- number of the period since the UNIX epoch
  calls   bigint NOT NULL,
  PRIMARY KEY (key_id, seconds)
);
