-- One-use claims, and the audit log.

CREATE TABLE claims (
  kind       INTEGER NOT NULL,
  digest     BLOB NOT NULL CHECK (length(digest) = 32),
  content    BLOB NOT NULL CHECK (length(content) = 32),
  owner      BLOB NOT NULL CHECK (length(owner) = 16),
  reference  BLOB NOT NULL CHECK (length(reference) = 16),
  attempt    INTEGER NOT NULL DEFAULT 0,
  answer     BLOB,                      -- NULL: not finished
  claimed_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX claims_by_key ON claims (kind, digest);
CREATE INDEX claims_by_end ON claims (expires_at);

CREATE TABLE audit (
  number  INTEGER PRIMARY KEY AUTOINCREMENT,
  id      BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
  at      INTEGER NOT NULL,
  account TEXT,
  who     TEXT NOT NULL,
  address TEXT,
  action  TEXT NOT NULL,
  subject TEXT NOT NULL,
  before  TEXT,                         -- JSON
  after   TEXT,                         -- JSON
  count   INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_by_account ON audit (account, number);
CREATE INDEX audit_by_subject ON audit (subject, number);
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
  BEGIN SELECT raise(ABORT, 'the audit log is never changed'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
  BEGIN SELECT raise(ABORT, 'the audit log is never deleted from'); END;
