-- Units that were spent and that no lease holds. A store that was restored from a backup does not know the leases that were
-- taken after it, nor the epochs that began; the records of the gates do, and come in again. Such units count against the
-- balance itself, so that nobody is leased them a second time.

CREATE OR REPLACE FUNCTION spend_units(lessee uuid, licenses_spent uuid[], counters bigint[], periods bigint[], amounts bigint[])
RETURNS bigint
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  beyond record;
  total numeric := 0;
BEGIN
  -- Nearly always none. In the order of leases and of settlements, which lock licenses first.
  PERFORM FROM licenses WHERE id IN (
    SELECT s.license FROM unnest(licenses_spent, counters, periods, amounts) AS s (license, counter, period, amount)
    LEFT JOIN leases l ON l.license = s.license AND l.counter = 0 AND l.period = s.period AND l.instance = lessee
    WHERE s.counter = 0 GROUP BY s.license, s.period
    HAVING sum(s.amount) > coalesce(max(l.granted - l.returned - l.spent), 0)
  ) ORDER BY id FOR NO KEY UPDATE;
  FOR beyond IN
    WITH spent AS (
      SELECT s.license, s.counter, s.period, least(sum(s.amount), 9223372036854775807)::bigint AS amount
      FROM unnest(licenses_spent, counters, periods, amounts) AS s (license, counter, period, amount)
      GROUP BY s.license, s.counter, s.period
    ), held AS (
      SELECT l.license, l.counter, l.period, l.granted - l.returned - l.spent AS free
      FROM leases l JOIN spent s ON s.license = l.license AND s.counter = l.counter AND s.period = l.period
      WHERE l.instance = lessee
      ORDER BY l.license, l.counter, l.period
      FOR UPDATE OF l
    ), measured AS (
      SELECT s.license, s.counter, s.period, s.amount, least(coalesce(h.free, 0), s.amount) AS moved
      FROM spent s LEFT JOIN held h ON h.license = s.license AND h.counter = s.counter AND h.period = s.period
    ), moved AS (
      UPDATE leases l SET spent = l.spent + m.moved FROM measured m
      WHERE l.license = m.license AND l.counter = m.counter AND l.period = m.period AND l.instance = lessee
        AND m.moved > 0
    )
    SELECT m.license, m.counter, m.period, m.amount - m.moved AS units FROM measured m
    WHERE m.amount > m.moved ORDER BY m.license, m.counter, m.period
  LOOP
    IF beyond.counter = 0 AND NOT settle_beyond(beyond.license, beyond.period, beyond.units) THEN
      CONTINUE; -- of an epoch that is over
    END IF;
    total := total + beyond.units;
  END LOOP;
  RETURN least(total, 9223372036854775807)::bigint;
END
$$;

-- Counts units against a balance; whether they are of its epoch, or of one that the store does not know yet: then it goes on in
-- that, and refills that fell due until now are past.
CREATE FUNCTION settle_beyond(of_license uuid, in_epoch bigint, units bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  UPDATE balances b SET settled = capped_sum(b.settled, units) WHERE b.license = of_license AND b.epoch = in_epoch;
  IF FOUND THEN
    RETURN true;
  END IF;
  INSERT INTO balances AS kept
    SELECT l.id, in_epoch,
      unsigned(CASE WHEN in_epoch > 0 AND l.refill_adds IS FALSE THEN l.refill_amount ELSE l.remaining END),
      units, l.balance_stamp, l.refill_stamp,
      CASE WHEN in_epoch > 0 THEN micros_now() ELSE greatest(l.created_at, l.refill_stamp) END
    FROM licenses l WHERE l.id = of_license AND l.remaining IS NOT NULL
    ON CONFLICT (license) DO UPDATE SET epoch = excluded.epoch, settled = excluded.settled,
      refilled_through = greatest(kept.refilled_through, excluded.refilled_through),
      granted = CASE WHEN (SELECT l.refill_adds FROM licenses l WHERE l.id = kept.license) IS FALSE THEN excluded.granted
        ELSE kept.granted END
    WHERE kept.epoch < excluded.epoch;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM leases l WHERE l.license = of_license AND l.counter = 0 AND l.period < in_epoch;
  RETURN true;
END
$$;
