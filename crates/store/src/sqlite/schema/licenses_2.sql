-- Users of apps. A row is all that is known of a person; licenses name its login.

CREATE TABLE users (
  id         BLOB PRIMARY KEY CHECK (length(id) = 16),
  account    TEXT NOT NULL,
  app        TEXT NOT NULL,
  login      TEXT NOT NULL,
  alias      BLOB NOT NULL CHECK (length(alias) = 8),
  first_name TEXT,
  last_name  TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX users_by_login ON users (app, login);
CREATE INDEX users_by_app ON users (app, id);
