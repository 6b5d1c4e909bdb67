-- The tokens of a license, to be listed.

CREATE INDEX IF NOT EXISTS tokens_by_license ON tokens (license, id);
