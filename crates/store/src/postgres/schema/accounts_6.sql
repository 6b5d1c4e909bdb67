-- Since when an account is switched off. Gates of the version before let its keys in: bring all gates up before relying on it.

ALTER TABLE accounts ADD COLUMN disabled_at bigint;
