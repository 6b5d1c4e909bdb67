-- Webhooks, the events that they are told, and the deliveries of these.

CREATE TABLE webhooks (
  id               uuid PRIMARY KEY,
  account          text COLLATE "C" NOT NULL,
  app              text COLLATE "C",    -- NULL: every app of the account
  url              text NOT NULL,
  events           text,                -- JSON list of types; NULL: all
  form             smallint NOT NULL,
  state            smallint NOT NULL,   -- 0 active, 1 paused, 2 disabled, 3 unproven
  created_at       bigint NOT NULL,
  last_delivery_at bigint,
  due_at           bigint               -- the earliest next_at of its heads; NULL: none waits
) WITH (fillfactor = 50);
CREATE INDEX webhooks_by_account ON webhooks (account);
CREATE INDEX webhooks_due ON webhooks (due_at) WHERE state = 0;

CREATE TABLE webhook_secrets (
  webhook_id uuid NOT NULL,
  number     bigint NOT NULL,           -- the newest has the greatest
  sealed     bytea NOT NULL,
  ends_at    bigint,
  PRIMARY KEY (webhook_id, number)
);

-- The events of changes are written here by their transactions; those of the ledger are moved here. Transactions that
-- write events of one license wait for each other, so that numbers are in the order of its changes.
CREATE TABLE events (
  number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id         uuid NOT NULL UNIQUE,
  kind       smallint NOT NULL,
  at         bigint NOT NULL,
  account    text COLLATE "C" NOT NULL,
  app        text COLLATE "C" NOT NULL,
  license_id uuid,
  data       text NOT NULL,             -- JSON object
  fanned_out smallint NOT NULL DEFAULT 0
);
CREATE INDEX events_to_fan_out ON events (number) WHERE fanned_out = 0;
CREATE INDEX events_by_time ON events (at);

CREATE TABLE deliveries (
  number      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  webhook_id  uuid NOT NULL,
  event       bigint NOT NULL,          -- the number of the event
  source      smallint NOT NULL,        -- of the event: 0 a change, 1 the ledger
  license_id  uuid NOT NULL,            -- of the event; where it is about an app, a number of the app
  state       smallint NOT NULL,        -- 0 waiting, 1 delivered, 2 failed
  -- 1: it waits, and no older event of the same webhook, source and license does.
  head        smallint NOT NULL DEFAULT 0,
  attempts    bigint NOT NULL DEFAULT 0,
  next_at     bigint,                   -- NULL unless it waits
  tried_at    bigint,
  duration_us bigint,
  status      integer,
  answer      text
);
CREATE UNIQUE INDEX deliveries_by_event ON deliveries (event, webhook_id);
CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, number);
CREATE INDEX deliveries_waiting ON deliveries (webhook_id, source, license_id, event) WHERE state = 0;
CREATE INDEX deliveries_due ON deliveries (webhook_id, next_at, event) WHERE head = 1;
CREATE INDEX deliveries_tried ON deliveries (webhook_id) WHERE head = 1 AND attempts > 0;
CREATE INDEX deliveries_failed ON deliveries (webhook_id, number) WHERE state = 2;

CREATE TABLE leases_by_name (
  name     text COLLATE "C" PRIMARY KEY,
  instance uuid NOT NULL,
  ends_at  bigint NOT NULL
);

-- How far the ends of licenses were told, by type of event and days before the end.
CREATE TABLE ends_noted (
  kind    smallint NOT NULL,
  days    smallint NOT NULL,
  through bigint NOT NULL,              -- the end that was looked at last …
  license uuid NOT NULL,                -- … and the last of the licenses with this end
  PRIMARY KEY (kind, days)
);
CREATE INDEX licenses_by_end ON licenses (expires_at, id) WHERE expires_at IS NOT NULL;

-- Events of the ledger, until they are moved to those of changes, and what they are told once by.
CREATE TABLE ledger_events (
  number     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id         uuid NOT NULL UNIQUE,
  kind       smallint NOT NULL,
  at         bigint NOT NULL,
  account    text COLLATE "C" NOT NULL,
  app        text COLLATE "C" NOT NULL,
  license_id uuid,
  data       text NOT NULL              -- JSON object
);

-- The licenses that were used. Those that have rollups were.
CREATE TABLE used_licenses (
  license uuid PRIMARY KEY
);
INSERT INTO used_licenses
  SELECT license FROM quarter_rollups UNION SELECT license FROM rollups ON CONFLICT DO NOTHING;

-- The thresholds of a quota that were told.
CREATE TABLE quota_noted (
  license uuid PRIMARY KEY,
  epoch   bigint NOT NULL,              -- in which …
  level   smallint NOT NULL             -- … 1: 80 %, 2: 100 % of the units were told
);
