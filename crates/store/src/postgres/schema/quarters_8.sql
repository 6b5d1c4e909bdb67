-- Rollups by the quarter of an hour, with amounts beyond 64 bits. Gates of the version before go on writing `rollups`, whose rows
-- stand for an hour each; readers add both up.

CREATE TABLE quarter_rollups (
  cursor         bigint NOT NULL DEFAULT nextval('rollups_cursor_seq'),
  quarter        integer NOT NULL,
  license        uuid NOT NULL,         -- all zeros: none
  kind           integer NOT NULL,
  calls          bigint NOT NULL,
  billable_calls bigint NOT NULL,
  units          bigint NOT NULL,
  amount         numeric NOT NULL,      -- of the kind's currency, in the major unit
  request_bytes  bigint NOT NULL,
  response_bytes bigint NOT NULL,
  -- The quarter comes first, so that all that is written lies together. What one license used is looked up quarter by quarter.
  PRIMARY KEY (quarter, license, kind)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX quarter_rollups_by_cursor ON quarter_rollups (cursor);
