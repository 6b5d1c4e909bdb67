-- Units of an epoch of a balance that other instances hold and are not known to have spent, but for those that are held for
-- request tokens. Volatile, so that it sees what a lease in the same statement has waited for.
CREATE FUNCTION held_elsewhere(lessee uuid, tokens uuid, license_asked uuid, epoch bigint) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
  SELECT least(coalesce(sum(granted - returned - spent), 0), 9223372036854775807)::bigint FROM leases
    WHERE license = license_asked AND counter = 0 AND period = epoch AND instance NOT IN (lessee, tokens)
$$;
