-- Instances are counted as they register, so that who follows the records knows which instances are new. Whoever registers one
-- locks the counter until then, so that numbers come to sight in their order: also those of gates of earlier versions.
ALTER TABLE instances ADD COLUMN number bigint;
UPDATE instances SET number = counted.number
  FROM (SELECT id, row_number() OVER (ORDER BY started_at, id) AS number FROM instances) AS counted
  WHERE counted.id = instances.id;
ALTER TABLE instances ALTER COLUMN number SET NOT NULL;
CREATE UNIQUE INDEX instances_by_number ON instances (number);

CREATE TABLE instance_counter (last bigint NOT NULL);
INSERT INTO instance_counter (last) SELECT coalesce(max(number), 0) FROM instances;

CREATE FUNCTION number_instance() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  UPDATE instance_counter SET last = last + 1 RETURNING last INTO NEW.number;
  RETURN NEW;
END
$$;
CREATE TRIGGER number_instance BEFORE INSERT ON instances FOR EACH ROW EXECUTE FUNCTION number_instance();
