-- Webhooks, the events that they are told, and the deliveries of these.

CREATE TABLE webhooks (
  id               BLOB PRIMARY KEY CHECK (length(id) = 16),
  account          TEXT NOT NULL,
  app              TEXT,                -- NULL: every app of the account
  url              TEXT NOT NULL,
  events           TEXT,                -- JSON list of types; NULL: all
  form             INTEGER NOT NULL,
  state            INTEGER NOT NULL,    -- 0 active, 1 paused, 2 disabled, 3 unproven
  created_at       INTEGER NOT NULL,
  last_delivery_at INTEGER,
  due_at           INTEGER              -- the earliest next_at of its heads; NULL: none waits
) STRICT, WITHOUT ROWID;
CREATE INDEX webhooks_by_account ON webhooks (account);
CREATE INDEX webhooks_due ON webhooks (due_at) WHERE state = 0;

CREATE TABLE webhook_secrets (
  webhook_id BLOB NOT NULL,
  number     INTEGER NOT NULL,          -- the newest has the greatest
  sealed     BLOB NOT NULL,
  ends_at    INTEGER,
  PRIMARY KEY (webhook_id, number)
) STRICT, WITHOUT ROWID;

-- The events of changes are written here by their transactions; those of the ledger are moved here.
CREATE TABLE events (
  number     INTEGER PRIMARY KEY AUTOINCREMENT,
  id         BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
  kind       INTEGER NOT NULL,
  at         INTEGER NOT NULL,
  account    TEXT NOT NULL,
  app        TEXT NOT NULL,
  license_id BLOB,
  data       TEXT NOT NULL,             -- JSON object
  fanned_out INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX events_to_fan_out ON events (number) WHERE fanned_out = 0;
CREATE INDEX events_by_time ON events (at);

CREATE TABLE deliveries (
  number      INTEGER PRIMARY KEY AUTOINCREMENT,
  webhook_id  BLOB NOT NULL,
  event       INTEGER NOT NULL,         -- the number of the event
  source      INTEGER NOT NULL,         -- of the event: 0 a change, 1 the ledger
  license_id  BLOB NOT NULL,            -- of the event; where it is about an app, a number of the app
  state       INTEGER NOT NULL,         -- 0 waiting, 1 delivered, 2 failed
  -- 1: it waits, and no older event of the same webhook, source and license does.
  head        INTEGER NOT NULL DEFAULT 0,
  attempts    INTEGER NOT NULL DEFAULT 0,
  next_at     INTEGER,                  -- NULL unless it waits
  tried_at    INTEGER,
  duration_us INTEGER,
  status      INTEGER,
  answer      TEXT
) STRICT;
CREATE UNIQUE INDEX deliveries_by_event ON deliveries (event, webhook_id);
CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, number);
CREATE INDEX deliveries_waiting ON deliveries (webhook_id, source, license_id, event) WHERE state = 0;
CREATE INDEX deliveries_due ON deliveries (webhook_id, next_at, event) WHERE head = 1;
CREATE INDEX deliveries_tried ON deliveries (webhook_id) WHERE head = 1 AND attempts > 0;
CREATE INDEX deliveries_failed ON deliveries (webhook_id, number) WHERE state = 2;

CREATE TABLE leases_by_name (
  name     TEXT PRIMARY KEY,
  instance BLOB NOT NULL,
  ends_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How far the ends of licenses were told, by type of event and days before the end.
CREATE TABLE ends_noted (
  kind    INTEGER NOT NULL,
  days    INTEGER NOT NULL,
  through INTEGER NOT NULL,             -- the end that was looked at last …
  license BLOB NOT NULL,                -- … and the last of the licenses with this end
  PRIMARY KEY (kind, days)
) STRICT, WITHOUT ROWID;
CREATE INDEX licenses_by_end ON licenses (expires_at, id) WHERE expires_at IS NOT NULL;
