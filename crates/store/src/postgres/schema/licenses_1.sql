-- Licenses, credentials and what changed; accounts, management keys, plan revisions, settings.
-- Times are microseconds since the UNIX epoch. Text that is sorted or compared is sorted by bytes.

CREATE TABLE licenses (
  id            uuid PRIMARY KEY,
  account       text COLLATE "C" NOT NULL,
  app           text COLLATE "C" NOT NULL,
  plan          text,
  "user"        text COLLATE "C",
  label         text,
  status        smallint NOT NULL,      -- 0 active, 1 disabled, 2 revoked
  created_at    bigint NOT NULL,
  expires_at    bigint,
  remaining     bigint,                 -- 64 bits without a sign
  refill_amount bigint,                 -- 64 bits without a sign
  refill_every  bigint,                 -- seconds
  refill_adds   boolean,
  rate_limits   text,                   -- JSON list; NULL: empty
  concurrency   bigint,
  permissions   text,                   -- JSON list; NULL: empty
  allow_ips     text,                   -- JSON list; NULL: empty
  version       bigint NOT NULL,        -- number of the last change
  balance_stamp bigint NOT NULL,        -- grows whenever what is left is set by hand
  refill_stamp  bigint NOT NULL         -- refills that fell due up to this time are past
) WITH (fillfactor = 80);
CREATE INDEX licenses_by_account ON licenses (account, id);
CREATE INDEX licenses_by_app ON licenses (app, id);
CREATE INDEX licenses_by_user ON licenses ("user", id) WHERE "user" IS NOT NULL;

CREATE TABLE credentials (
  cursor     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id         uuid NOT NULL,
  license_id uuid NOT NULL,
  hash       bytea NOT NULL CHECK (length(hash) = 32),
  kind       text NOT NULL,
  prefix     text NOT NULL,
  status     smallint NOT NULL,         -- 0 active, 1 revoked
  created_at bigint NOT NULL,
  expires_at bigint
);
CREATE UNIQUE INDEX credentials_by_hash ON credentials (hash);
CREATE INDEX credentials_by_license ON credentials (license_id, created_at);

-- The number of the last change. Its one row is the last that a transaction locks before it commits, so that numbers come
-- in commit order and without gaps: whoever sees a number sees all lower ones.
CREATE TABLE change_counter (
  one  boolean PRIMARY KEY DEFAULT true CHECK (one),
  last bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO change_counter (last) VALUES (0);

CREATE TABLE changes (
  number     bigint PRIMARY KEY,
  license_id uuid NOT NULL,
  added      bigint                     -- bits of the fingerprint of an added credential
);

CREATE TABLE accounts (
  name       text COLLATE "C" PRIMARY KEY,
  created_at bigint NOT NULL
);
INSERT INTO accounts VALUES ('default', (extract(epoch FROM now()) * 1000000)::bigint);

CREATE TABLE management_keys (
  id         uuid PRIMARY KEY,
  account    text COLLATE "C" NOT NULL,
  app        text,
  license_id uuid,
  name       text,
  scopes     text NOT NULL,             -- JSON list
  prefix     text NOT NULL,
  created_at bigint NOT NULL,
  expires_at bigint,
  revoked_at bigint,
  hash       bytea NOT NULL CHECK (length(hash) = 32),
  secret     bytea CHECK (length(secret) = 32)
);
CREATE UNIQUE INDEX management_keys_by_hash ON management_keys (hash);

CREATE TABLE plan_revisions (
  id    uuid PRIMARY KEY,
  terms text NOT NULL                   -- JSON
);

CREATE TABLE settings (
  name  text COLLATE "C" PRIMARY KEY,
  value bytea NOT NULL
);
