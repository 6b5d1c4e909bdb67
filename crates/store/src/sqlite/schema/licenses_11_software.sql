-- What software that is sold with an app needs: devices, variables, settings and offline files. And answers that claims are
-- prepared with.

ALTER TABLE licenses ADD COLUMN device_slots INTEGER;
ALTER TABLE licenses ADD COLUMN unlimited_devices INTEGER NOT NULL DEFAULT 0;
ALTER TABLE licenses ADD COLUMN variables TEXT;          -- JSON
ALTER TABLE licenses ADD COLUMN devices TEXT;            -- JSON; NULL: none is bound
ALTER TABLE licenses ADD COLUMN devices_freed_at INTEGER; -- when a device freed the slots of the others
CREATE INDEX licenses_with_devices ON licenses (app, id) WHERE devices IS NOT NULL;

ALTER TABLE claims ADD COLUMN prepared BLOB;

CREATE TABLE app_settings (
  app      TEXT NOT NULL PRIMARY KEY,
  number   INTEGER NOT NULL UNIQUE,     -- of the last change, in the order of commits
  settings TEXT NOT NULL                -- JSON
) STRICT;

CREATE TABLE offline_files (
  id           BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  license_id   BLOB NOT NULL CHECK (length(license_id) = 16),
  activated_by TEXT,                    -- NULL: the seller had it made
  devices      TEXT,                    -- JSON; NULL: any
  issued_at    INTEGER NOT NULL,
  expires_at   INTEGER,
  sealed       BLOB NOT NULL
) STRICT;
CREATE INDEX offline_files_by_license ON offline_files (license_id, id);
CREATE UNIQUE INDEX offline_files_by_device ON offline_files (license_id, activated_by) WHERE activated_by IS NOT NULL;
