-- Deliveries that were never tried are found beside those that were.

DROP INDEX deliveries_due;
CREATE INDEX deliveries_untried ON deliveries (webhook_id, next_at, event) WHERE head = 1 AND tried_at IS NULL;
CREATE INDEX deliveries_retried ON deliveries (webhook_id, next_at, event) WHERE head = 1 AND tried_at IS NOT NULL;

-- Copies of keys that events tell although their licenses are gone, until the events are.
CREATE TABLE told_keys (
  license_id uuid NOT NULL,
  id         uuid NOT NULL,             -- of the credential
  sealed     bytea NOT NULL,
  at         bigint NOT NULL,           -- when the license went
  PRIMARY KEY (license_id, id)
);
CREATE INDEX told_keys_by_time ON told_keys (at);
