-- The tokens of a license, to be listed.

CREATE INDEX tokens_by_license ON tokens (license, id);
