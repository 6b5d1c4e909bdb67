-- Events of the ledger, until they are moved to those of changes, and what they are told once by.

CREATE TABLE ledger_events (
  number     INTEGER PRIMARY KEY AUTOINCREMENT,
  id         BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
  kind       INTEGER NOT NULL,
  at         INTEGER NOT NULL,
  account    TEXT NOT NULL,
  app        TEXT NOT NULL,
  license_id BLOB,
  data       TEXT NOT NULL              -- JSON object
) STRICT;

-- The licenses that were used. Those that have rollups were.
CREATE TABLE used_licenses (
  license BLOB PRIMARY KEY CHECK (length(license) = 16)
) STRICT, WITHOUT ROWID;
INSERT INTO used_licenses SELECT id FROM license_numbers ORDER BY id;

-- The thresholds of a quota that were told.
CREATE TABLE quota_noted (
  license BLOB PRIMARY KEY,
  epoch   INTEGER NOT NULL,             -- in which …
  level   INTEGER NOT NULL              -- … 1: 80 %, 2: 100 % of the units were told
) STRICT, WITHOUT ROWID;
