-- The grant that the thresholds of a quota are told of.

ALTER TABLE quota_noted
  ADD COLUMN granted bigint,                      -- the units granted then; NULL: noted before this step
  ADD COLUMN base    bigint NOT NULL DEFAULT 0;   -- the units spent when units were granted last
