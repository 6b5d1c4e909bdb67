-- Instances are counted as they register, so that who follows the records knows which instances are new.
ALTER TABLE instances ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
UPDATE instances SET number = counted.number
  FROM (SELECT id, row_number() OVER (ORDER BY started_at, id) AS number FROM instances) AS counted
  WHERE counted.id = instances.id;
CREATE UNIQUE INDEX instances_by_number ON instances (number);
