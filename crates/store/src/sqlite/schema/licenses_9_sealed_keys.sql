-- Copies of keys that only the keyring opens, for apps that show keys again.

ALTER TABLE credentials ADD COLUMN sealed BLOB;
