-- Request tokens. What they hold of balances stands in `leases`, under an instance of its own.

CREATE TABLE tokens (
  id               uuid PRIMARY KEY,
  hash             bytea NOT NULL CHECK (length(hash) = 32),
  license          uuid NOT NULL,
  account          text NOT NULL,
  app              text NOT NULL,
  method           smallint NOT NULL,
  path             text NOT NULL,
  units            bigint NOT NULL,
  epoch            bigint,              -- of the balance that holds the units; NULL: none do
  state            smallint NOT NULL,   -- 0 issued, 1 claimed, 2 consumed, 3 expired, 4 confirmed, 5 disputed
  issued_at        bigint NOT NULL,
  expires_at       bigint NOT NULL,
  call_id          uuid,
  owner            uuid,                -- the instance of that call
  consumed_at      bigint,
  status           integer,
  confirmed_status integer
);
CREATE UNIQUE INDEX tokens_by_hash ON tokens (hash);
CREATE INDEX tokens_by_end ON tokens (expires_at) WHERE state = 0;
CREATE INDEX tokens_by_age ON tokens (issued_at);

-- Moves units of a balance from the lease of one instance to that of another; whether the first held so many that are not
-- spent. The lease of an epoch that is over is gone.
CREATE FUNCTION move_units(owner_of_balance uuid, epoch bigint, giver uuid, taker uuid, amount bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  -- In one order, whichever way they move.
  PERFORM FROM leases l WHERE l.license = owner_of_balance AND l.counter = 0 AND l.period = epoch
    AND l.instance IN (giver, taker) ORDER BY l.instance FOR UPDATE;
  UPDATE leases l SET returned = l.returned + amount
    WHERE l.license = owner_of_balance AND l.counter = 0 AND l.period = epoch AND l.instance = giver
    AND l.granted - l.returned - l.spent >= amount;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO leases AS kept (license, counter, period, instance, granted)
    VALUES (owner_of_balance, 0, epoch, taker, amount)
    ON CONFLICT (license, counter, period, instance) DO UPDATE SET
      granted = excluded.granted
        + CASE WHEN kept.granted > 9223372036854775807 - excluded.granted THEN kept.granted - kept.returned
          ELSE kept.granted END,
      returned = CASE WHEN kept.granted > 9223372036854775807 - excluded.granted THEN 0 ELSE kept.returned END;
  RETURN true;
END
$$;
