-- Credits and debits by hand, in which no epoch begins: a license holds the sums of all that there were, its balance what it has
-- applied of them, and what its debits really took. And the license that holds the credits of an account.

ALTER TABLE licenses ADD COLUMN credited bigint NOT NULL DEFAULT 0;
ALTER TABLE licenses ADD COLUMN debited bigint NOT NULL DEFAULT 0;
ALTER TABLE balances ADD COLUMN credited bigint NOT NULL DEFAULT 0;
ALTER TABLE balances ADD COLUMN debited bigint NOT NULL DEFAULT 0;
ALTER TABLE balances ADD COLUMN debits_taken bigint NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN wallet uuid;

-- The balance as it is at a time, with what was written down last (of which all columns may be NULL). The same rules as in
-- the embedded store, which has them in Rust.
CREATE OR REPLACE FUNCTION present_balance(l licenses, written balances, at bigint) RETURNS balances
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
  b balances := written;
  period bigint;
  due_at bigint;
  held numeric;
  taken bigint;
BEGIN
  IF l.remaining IS NULL THEN
    RETURN NULL;
  END IF;
  IF b.license IS NULL THEN
    b := ROW(l.id, 0, unsigned(l.remaining), 0, l.balance_stamp, -9223372036854775808, l.created_at, 0, 0, 0)::balances;
  ELSIF l.balance_stamp > b.balance_stamp THEN
    b.epoch := least(b.epoch + 1, 4294967295);
    b.granted := unsigned(l.remaining);
    b.settled := 0;
    b.balance_stamp := l.balance_stamp;
  END IF;
  IF l.refill_stamp > b.refill_stamp THEN
    b.refill_stamp := l.refill_stamp;
    b.refilled_through := greatest(b.refilled_through, least(l.refill_stamp, at));
  END IF;
  IF l.refill_every IS NOT NULL THEN
    period := refill_period(l, at);
    due_at := l.created_at + period * l.refill_every * 1000000;
    IF period >= 1 AND due_at > b.refilled_through THEN
      b.refilled_through := due_at;
      IF l.refill_adds THEN
        b.granted := capped_sum(b.granted, unsigned(l.refill_amount));
      ELSE
        b.epoch := least(b.epoch + 1, 4294967295);
        b.granted := unsigned(l.refill_amount);
        b.settled := 0;
      END IF;
    END IF;
  END IF;
  -- Credits before debits, which take only what is neither spent nor leased.
  IF l.credited > b.credited THEN
    b.granted := capped_sum(b.granted, l.credited - b.credited);
    b.credited := l.credited;
  END IF;
  IF l.debited > b.debited THEN
    SELECT coalesce(sum(h.granted - h.returned), 0) INTO held FROM leases h
      WHERE h.license = l.id AND h.counter = 0 AND h.period = b.epoch;
    taken := least(l.debited - b.debited, greatest(b.granted::numeric - b.settled - held, 0));
    b.granted := b.granted - taken;
    b.debits_taken := capped_sum(b.debits_taken, taken);
    b.debited := l.debited;
  END IF;
  RETURN b;
END
$$;

-- Leases units to an instance: all its wishes at once, each as far as it can be fulfilled. A row for each wish that can be
-- answered, with its place in the arrays. `at`: the time; NULL: that of the server.
CREATE OR REPLACE FUNCTION lease_units(
  lessee uuid, at bigint, licenses_asked uuid[], counters bigint[], periods bigint[], wants bigint[], capacities bigint[]
) RETURNS TABLE (place bigint, leased_in bigint, units bigint, free_after bigint, next_at bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  ended bigint;
BEGIN
  at := coalesce(at, micros_now());
  -- The fence: locked against the end of the instance, after which nobody would settle what it leases.
  SELECT finished_at INTO ended FROM instances WHERE id = lessee FOR SHARE;
  IF ended IS NOT NULL THEN
    RETURN;
  END IF;
  -- One after the other for each license, in an order that is the same for all gates. What stands below is read after
  -- this, by statements of their own, and so is what the gates before left.
  PERFORM FROM licenses WHERE id = ANY (licenses_asked) ORDER BY id FOR NO KEY UPDATE;

  WITH counted AS (
    SELECT DISTINCT a.license FROM unnest(licenses_asked, counters) AS a (license, counter) WHERE a.counter = 0
  ), fresh AS MATERIALIZED (
    SELECT b AS written, present_balance(l, b, at) AS present
    FROM counted c JOIN licenses l ON l.id = c.license LEFT JOIN balances b ON b.license = c.license
    WHERE l.remaining IS NOT NULL
  ), kept AS (
    INSERT INTO balances AS kept
    SELECT (f.present).* FROM fresh f WHERE f.present IS DISTINCT FROM f.written
    ON CONFLICT (license) DO UPDATE SET epoch = excluded.epoch, granted = excluded.granted, settled = excluded.settled,
      balance_stamp = excluded.balance_stamp, refill_stamp = excluded.refill_stamp,
      refilled_through = excluded.refilled_through, credited = excluded.credited, debited = excluded.debited,
      debits_taken = excluded.debits_taken
    RETURNING kept.license, kept.epoch
  )
  -- The leases of older epochs are void: what is reported for them later finds no row and is ignored.
  DELETE FROM leases l USING kept k WHERE l.license = k.license AND l.counter = 0 AND l.period < k.epoch;

  -- Periods before the previous one are over. The previous one stays for gates whose clocks are behind.
  DELETE FROM leases l USING unnest(licenses_asked, counters, periods) AS a (license, counter, period)
    WHERE a.counter > 0 AND l.license = a.license AND l.counter = a.counter
    AND l.period < least(a.period, at / 1000000 / a.counter) - 1;
  DELETE FROM window_spent w USING unnest(licenses_asked, counters, periods) AS a (license, counter, period)
    WHERE a.counter > 0 AND w.license = a.license AND w.counter = a.counter
    AND w.period < least(a.period, at / 1000000 / a.counter) - 1;

  RETURN QUERY
  WITH asked AS (
    SELECT a.place, a.license, a.counter, a.want, a.capacity,
      CASE WHEN a.counter = 0 THEN b.epoch ELSE a.period END AS period,
      CASE WHEN a.counter = 0 THEN b.granted - b.settled ELSE a.capacity - coalesce(w.spent, 0) END AS whole,
      CASE WHEN a.counter = 0 THEN next_refill(l, at) END AS next_at
    FROM unnest(licenses_asked, counters, periods, wants, capacities) WITH ORDINALITY
      AS a (license, counter, period, want, capacity, place)
    JOIN licenses l ON l.id = a.license
    LEFT JOIN balances b ON a.counter = 0 AND b.license = a.license AND l.remaining IS NOT NULL
    LEFT JOIN window_spent w ON w.license = a.license AND w.counter = a.counter AND w.period = a.period
    WHERE CASE WHEN a.counter = 0 THEN b.license IS NOT NULL ELSE a.period + 1 >= at / 1000000 / a.counter END
  ), measured AS (
    SELECT a.*,
      greatest(a.whole - (
        SELECT coalesce(sum(h.granted - h.returned), 0) FROM leases h
        WHERE h.license = a.license AND h.counter = a.counter AND h.period = a.period
      ), 0) AS free,
      coalesce(sum(a.want) OVER (
        PARTITION BY a.license, a.counter, a.period ORDER BY a.place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
      ), 0) AS before
    FROM asked a
  ), granted AS (
    SELECT m.*, greatest(m.free - m.before, 0) AS rest, least(m.want, greatest(m.free - m.before, 0))::bigint AS grant_now
    FROM measured m
  ), written AS (
    INSERT INTO leases AS kept (license, counter, period, instance, granted)
    SELECT g.license, g.counter, g.period, lessee, sum(g.grant_now)::bigint FROM granted g
    GROUP BY g.license, g.counter, g.period HAVING sum(g.grant_now) > 0
    ORDER BY g.license, g.counter, g.period
    -- What was given back is taken off both sides where the column would overflow: only the difference counts.
    ON CONFLICT (license, counter, period, instance) DO UPDATE SET
      granted = excluded.granted
        + CASE WHEN kept.granted > 9223372036854775807 - excluded.granted THEN kept.granted - kept.returned
          ELSE kept.granted END,
      returned = CASE WHEN kept.granted > 9223372036854775807 - excluded.granted THEN 0 ELSE kept.returned END
  )
  SELECT g.place, g.period, g.grant_now, (g.rest - g.grant_now)::bigint, g.next_at FROM granted g;
END
$$;

-- Brings the balance of a license up to date, whose row is locked: what its debits took so far. NULL: nothing is counted.
CREATE FUNCTION refresh_balance(of_license uuid, at bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  fresh balances;
BEGIN
  at := coalesce(at, micros_now());
  fresh := (SELECT present_balance(l, b, at) FROM licenses l LEFT JOIN balances b ON b.license = l.id WHERE l.id = of_license);
  IF fresh.license IS NULL THEN
    RETURN NULL;
  END IF;
  INSERT INTO balances AS kept SELECT fresh.*
    ON CONFLICT (license) DO UPDATE SET epoch = excluded.epoch, granted = excluded.granted, settled = excluded.settled,
      balance_stamp = excluded.balance_stamp, refill_stamp = excluded.refill_stamp,
      refilled_through = excluded.refilled_through, credited = excluded.credited, debited = excluded.debited,
      debits_taken = excluded.debits_taken;
  DELETE FROM leases l WHERE l.license = of_license AND l.counter = 0 AND l.period < fresh.epoch;
  RETURN fresh.debits_taken;
END
$$;
