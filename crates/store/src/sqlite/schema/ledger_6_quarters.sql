-- Rollups by the quarter of an hour, and amounts beyond 64 bits.

-- A row that is moved must not meet one that is still to be moved.
DROP INDEX rollups_by_key;
ALTER TABLE rollups RENAME COLUMN hour TO quarter;
-- `amount` is what is left of 10^18 times 10^-9 of the currency; both have one sign.
ALTER TABLE rollups ADD COLUMN amount_high INTEGER NOT NULL DEFAULT 0;
UPDATE rollups SET quarter = quarter * 4,
  amount_high = amount / 1000000000000000000, amount = amount % 1000000000000000000;
CREATE UNIQUE INDEX rollups_by_key ON rollups (quarter, license, kind);

-- Up to which quarter rows stand for a whole hour each: those that were there before this step.
CREATE TABLE rollups_by_hour (
  until INTEGER NOT NULL
) STRICT;
INSERT INTO rollups_by_hour SELECT max(quarter) + 4 FROM rollups HAVING count(*) > 0;
