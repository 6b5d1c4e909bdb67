-- Since when an account is switched off.

ALTER TABLE accounts ADD COLUMN disabled_at INTEGER;
