-- What software that is sold with an app needs: devices, variables, settings and offline files. And answers that claims are
-- prepared with.

ALTER TABLE licenses
  ADD COLUMN device_slots smallint,
  ADD COLUMN unlimited_devices boolean NOT NULL DEFAULT false,
  ADD COLUMN variables text,            -- JSON
  ADD COLUMN devices text,              -- JSON; NULL: none is bound
  ADD COLUMN devices_freed_at bigint;   -- when a device freed the slots of the others
CREATE INDEX licenses_with_devices ON licenses (app, id) WHERE devices IS NOT NULL;

ALTER TABLE claims ADD COLUMN prepared bytea;

CREATE TABLE app_settings (
  app      text PRIMARY KEY,
  number   bigint NOT NULL UNIQUE,      -- of the last change, in the order of commits
  settings text NOT NULL                -- JSON
);

CREATE TABLE offline_files (
  id           uuid PRIMARY KEY,
  license_id   uuid NOT NULL,
  activated_by text,                    -- NULL: the seller had it made
  devices      text,                    -- JSON; NULL: any
  issued_at    bigint NOT NULL,
  expires_at   bigint,
  sealed       bytea NOT NULL
);
CREATE INDEX offline_files_by_license ON offline_files (license_id, id);
CREATE UNIQUE INDEX offline_files_by_device ON offline_files (license_id, activated_by) WHERE activated_by IS NOT NULL;
