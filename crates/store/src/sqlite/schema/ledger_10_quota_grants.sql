-- The grant that the thresholds of a quota are told of.

ALTER TABLE quota_noted ADD COLUMN granted INTEGER;                   -- the units granted then; NULL: noted before this step
ALTER TABLE quota_noted ADD COLUMN base INTEGER NOT NULL DEFAULT 0;   -- the units spent when units were granted last
