-- What a balance has applied of the credits and debits of its license, and what the debits really took.

ALTER TABLE balances ADD COLUMN credited INTEGER NOT NULL DEFAULT 0;
ALTER TABLE balances ADD COLUMN debited INTEGER NOT NULL DEFAULT 0;
ALTER TABLE balances ADD COLUMN debits_taken INTEGER NOT NULL DEFAULT 0;
