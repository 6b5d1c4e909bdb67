-- Balances and leases; rollups, positions, the manifest of sealed files and the files themselves.
-- Times are microseconds since the UNIX epoch, hours count from it.

-- Born at the first lease, from the limits that stand with the license; the stamps are compared with the license's.
CREATE TABLE balances (
  license          uuid PRIMARY KEY,
  epoch            bigint NOT NULL,
  granted          bigint NOT NULL,
  settled          bigint NOT NULL,     -- spent in this epoch by instances that are settled
  balance_stamp    bigint NOT NULL,
  refill_stamp     bigint NOT NULL,
  refilled_through bigint NOT NULL      -- when the last refill that was claimed (or is past) fell due
);

-- spent + returned never exceed granted.
CREATE TABLE leases (
  license  uuid NOT NULL,
  counter  bigint NOT NULL,             -- 0: the balance; else the seconds of a window
  period   bigint NOT NULL,
  instance uuid NOT NULL,
  granted  bigint NOT NULL,
  returned bigint NOT NULL DEFAULT 0,
  spent    bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (license, counter, period, instance)
) WITH (fillfactor = 70);
CREATE INDEX leases_by_instance ON leases (instance, license);

-- Calls that settled instances spent in a window.
CREATE TABLE window_spent (
  license uuid NOT NULL,
  counter bigint NOT NULL,
  period  bigint NOT NULL,
  spent   bigint NOT NULL,
  PRIMARY KEY (license, counter, period)
);

CREATE TABLE instances (
  id          uuid PRIMARY KEY,
  node        text NOT NULL,
  started_at  bigint NOT NULL,
  finished_at bigint
);

CREATE TABLE lanes (
  instance uuid NOT NULL,
  lane     bigint NOT NULL,
  rolled   bigint NOT NULL DEFAULT 0,
  sealed   bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (instance, lane)
) WITH (fillfactor = 50);

-- What calls have in common apart from license and hour, by small numbers. Empty: none.
CREATE TABLE kinds (
  number   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  account  text COLLATE "C" NOT NULL,
  app      text COLLATE "C" NOT NULL,
  route    text COLLATE "C" NOT NULL,
  method   smallint NOT NULL,
  status   integer NOT NULL,
  outcome  smallint NOT NULL,
  mode     smallint NOT NULL,
  test     boolean NOT NULL,
  plan     text COLLATE "C" NOT NULL,
  revision uuid NOT NULL,
  currency text COLLATE "C" NOT NULL,
  UNIQUE (app, route, status, method, outcome, mode, test, plan, revision, currency, account)
);

CREATE TABLE rollups (
  cursor         bigint GENERATED ALWAYS AS IDENTITY,
  hour           integer NOT NULL,
  license        uuid NOT NULL,         -- all zeros: none
  kind           integer NOT NULL,
  calls          bigint NOT NULL,
  billable_calls bigint NOT NULL,
  units          bigint NOT NULL,
  amount         bigint NOT NULL,       -- 10^-9 of the kind's currency
  request_bytes  bigint NOT NULL,
  response_bytes bigint NOT NULL,
  -- The hour comes first, so that all that is written lies together. What one license used is looked up hour by hour.
  PRIMARY KEY (hour, license, kind)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX rollups_by_cursor ON rollups (cursor);

CREATE TABLE seal_intents (
  instance uuid NOT NULL,
  lane     bigint NOT NULL,
  start    bigint NOT NULL,
  through  bigint NOT NULL,
  PRIMARY KEY (instance, lane, start)
);

CREATE TABLE sealed_files (
  instance         uuid NOT NULL,
  lane             bigint NOT NULL,
  start            bigint NOT NULL,
  through          bigint NOT NULL,
  name             text COLLATE "C" NOT NULL UNIQUE,
  bytes            bigint NOT NULL,
  records          bigint NOT NULL,
  calls            bigint NOT NULL,
  hash             bytea NOT NULL,
  previous         bytea NOT NULL,
  first_started_at bigint NOT NULL,
  last_started_at  bigint NOT NULL,
  sealed_at        bigint NOT NULL,
  removed_at       bigint,
  PRIMARY KEY (instance, lane, start)
);

-- Sealed files as they are. They are compressed already.
CREATE TABLE sealed_bytes (
  name    text COLLATE "C" PRIMARY KEY,
  content bytea NOT NULL
);
ALTER TABLE sealed_bytes ALTER COLUMN content SET STORAGE EXTERNAL;
