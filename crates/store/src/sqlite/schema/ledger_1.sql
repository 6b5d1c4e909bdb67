-- Balances and leases; rollups, positions and the manifest of sealed files.
-- Ids are 16 bytes, big end first. Times are microseconds since the UNIX epoch, hours count from it.

-- Born at the first lease, from the limits that stand with the license; the stamps are compared with the license's.
CREATE TABLE balances (
  license          BLOB PRIMARY KEY,
  epoch            INTEGER NOT NULL,
  granted          INTEGER NOT NULL,
  settled          INTEGER NOT NULL,    -- spent in this epoch by instances that are settled
  balance_stamp    INTEGER NOT NULL,
  refill_stamp     INTEGER NOT NULL,
  refilled_through INTEGER NOT NULL     -- when the last refill that was claimed (or is past) fell due
) STRICT, WITHOUT ROWID;

-- spent + returned never exceed granted.
CREATE TABLE leases (
  license  BLOB NOT NULL,
  counter  INTEGER NOT NULL,            -- 0: the balance; else the seconds of a window
  period   INTEGER NOT NULL,
  instance BLOB NOT NULL,
  granted  INTEGER NOT NULL,
  returned INTEGER NOT NULL DEFAULT 0,
  spent    INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (license, counter, period, instance)
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_by_instance ON leases (instance, license);

-- Calls that settled instances spent in a window.
CREATE TABLE window_spent (
  license BLOB NOT NULL,
  counter INTEGER NOT NULL,
  period  INTEGER NOT NULL,
  spent   INTEGER NOT NULL,
  PRIMARY KEY (license, counter, period)
) STRICT, WITHOUT ROWID;

CREATE TABLE instances (
  id          BLOB PRIMARY KEY CHECK (length(id) = 16),
  node        TEXT NOT NULL,
  started_at  INTEGER NOT NULL,
  finished_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE lanes (
  instance BLOB NOT NULL,
  lane     INTEGER NOT NULL,
  rolled   INTEGER NOT NULL DEFAULT 0,
  sealed   INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (instance, lane)
) STRICT, WITHOUT ROWID;

-- Licenses that have rollups, by small numbers; 0 stands for none.
CREATE TABLE license_numbers (
  number INTEGER PRIMARY KEY,
  id     BLOB NOT NULL UNIQUE CHECK (length(id) = 16)
) STRICT;

-- What calls have in common apart from license and hour, by small numbers. Empty: none.
CREATE TABLE kinds (
  number   INTEGER PRIMARY KEY,
  account  TEXT NOT NULL,
  app      TEXT NOT NULL,
  route    TEXT NOT NULL,
  method   INTEGER NOT NULL,
  status   INTEGER NOT NULL,
  outcome  INTEGER NOT NULL,
  mode     INTEGER NOT NULL,
  test     INTEGER NOT NULL,
  plan     TEXT NOT NULL,
  revision BLOB NOT NULL,
  currency TEXT NOT NULL,
  UNIQUE (app, route, status, method, outcome, mode, test, plan, revision, currency, account)
) STRICT;

CREATE TABLE rollups (
  cursor         INTEGER PRIMARY KEY,
  hour           INTEGER NOT NULL,
  license        INTEGER NOT NULL,
  kind           INTEGER NOT NULL,
  calls          INTEGER NOT NULL,
  billable_calls INTEGER NOT NULL,
  units          INTEGER NOT NULL,
  amount         INTEGER NOT NULL,      -- 10^-9 of the kind's currency
  request_bytes  INTEGER NOT NULL,
  response_bytes INTEGER NOT NULL
) STRICT;
-- The hour comes first, so that all that is written lies together: an index that begins with the license costs a page for
-- each license in each batch. What one license used is looked up hour by hour.
CREATE UNIQUE INDEX rollups_by_key ON rollups (hour, license, kind);

CREATE TABLE seal_intents (
  instance BLOB NOT NULL,
  lane     INTEGER NOT NULL,
  start    INTEGER NOT NULL,
  through  INTEGER NOT NULL,
  PRIMARY KEY (instance, lane, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE sealed_files (
  instance         BLOB NOT NULL,
  lane             INTEGER NOT NULL,
  start            INTEGER NOT NULL,
  through          INTEGER NOT NULL,
  name             TEXT NOT NULL UNIQUE,
  bytes            INTEGER NOT NULL,
  records          INTEGER NOT NULL,
  calls            INTEGER NOT NULL,
  hash             BLOB NOT NULL,
  previous         BLOB NOT NULL,
  first_started_at INTEGER NOT NULL,
  last_started_at  INTEGER NOT NULL,
  sealed_at        INTEGER NOT NULL,
  removed_at       INTEGER,
  PRIMARY KEY (instance, lane, start)
) STRICT, WITHOUT ROWID;
