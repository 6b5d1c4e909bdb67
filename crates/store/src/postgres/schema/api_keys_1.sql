-- What API keys have beyond their licenses. Account and app are those of the license, for the index; they never change.

CREATE TABLE api_keys (
  license_id   uuid PRIMARY KEY,
  account      text COLLATE "C" NOT NULL,
  app          text COLLATE "C" NOT NULL, -- `*`: every app of the account
  name         text COLLATE "C",
  prefix       text COLLATE "C",
  metadata     text,                      -- JSON object
  permissions  text,                      -- JSON object of lists
  parked_rate  text,                      -- as in `10/1d`
  updated_at   bigint NOT NULL,
  last_request bigint
);
CREATE INDEX api_keys_by_account ON api_keys (account, license_id);
