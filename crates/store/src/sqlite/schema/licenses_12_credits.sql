-- The sums of what was ever credited and debited by hand; and the license that holds the credits of an account.

ALTER TABLE licenses ADD COLUMN credited INTEGER NOT NULL DEFAULT 0;
ALTER TABLE licenses ADD COLUMN debited INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN wallet BLOB;
