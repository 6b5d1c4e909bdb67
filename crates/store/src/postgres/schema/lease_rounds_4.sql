-- A gate asks for units and gives units back in rounds, one after the other. The answer of its last round is kept, so that
-- a round whose answer was lost on the way can be asked again: it is done once.

CREATE TABLE lease_rounds (
  instance  uuid PRIMARY KEY,
  number    bigint NOT NULL,
  -- The answer, column by column: which wish, and what it was granted.
  places    bigint[] NOT NULL DEFAULT '{}',
  leased_in bigint[] NOT NULL DEFAULT '{}',
  granted   bigint[] NOT NULL DEFAULT '{}',
  free      bigint[] NOT NULL DEFAULT '{}',
  next_at   bigint[] NOT NULL DEFAULT '{}'
);

-- One round: takes back, then leases as lease_units does. Done anew only if its number is higher than that of the last.
CREATE FUNCTION lease_round(
  lessee uuid, round bigint, at bigint,
  licenses_back uuid[], counters_back bigint[], periods_back bigint[], units_back bigint[],
  licenses_asked uuid[], counters bigint[], periods bigint[], wants bigint[], capacities bigint[]
) RETURNS TABLE (place bigint, leased_in bigint, units bigint, free_after bigint, next_at bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  ended bigint;
BEGIN
  SELECT finished_at INTO ended FROM instances WHERE id = lessee FOR SHARE;
  IF ended IS NOT NULL THEN
    RETURN;
  END IF;
  -- Whoever asks the same again waits here until the first has come to its end.
  INSERT INTO lease_rounds AS kept (instance, number) VALUES (lessee, round)
    ON CONFLICT (instance) DO UPDATE SET number = excluded.number WHERE kept.number < excluded.number;
  IF FOUND THEN
    PERFORM FROM licenses WHERE id = ANY (licenses_back || licenses_asked) ORDER BY id FOR NO KEY UPDATE;
    UPDATE leases l SET returned = l.returned + least(l.granted - l.returned - l.spent, g.units)
      FROM (
        SELECT b.license, b.counter, b.period, least(sum(b.units), 9223372036854775807)::bigint AS units
        FROM unnest(licenses_back, counters_back, periods_back, units_back) AS b (license, counter, period, units)
        GROUP BY b.license, b.counter, b.period
      ) g
      WHERE l.license = g.license AND l.counter = g.counter AND l.period = g.period AND l.instance = lessee;
    UPDATE lease_rounds kept SET places = a.places, leased_in = a.leased_in, granted = a.granted, free = a.free,
        next_at = a.next_at
      FROM (
        SELECT coalesce(array_agg(u.place ORDER BY u.place), '{}') AS places,
          coalesce(array_agg(u.leased_in ORDER BY u.place), '{}') AS leased_in,
          coalesce(array_agg(u.units ORDER BY u.place), '{}') AS granted,
          coalesce(array_agg(u.free_after ORDER BY u.place), '{}') AS free,
          coalesce(array_agg(u.next_at ORDER BY u.place), '{}') AS next_at
        FROM lease_units(lessee, at, licenses_asked, counters, periods, wants, capacities) u
      ) a
      WHERE kept.instance = lessee;
  END IF;
  RETURN QUERY SELECT a.* FROM lease_rounds kept,
    unnest(kept.places, kept.leased_in, kept.granted, kept.free, kept.next_at) AS a
    WHERE kept.instance = lessee;
END
$$;
