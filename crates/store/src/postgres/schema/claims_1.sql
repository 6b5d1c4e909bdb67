-- One-use claims, and the audit log.

CREATE TABLE claims (
  kind       smallint NOT NULL,
  digest     bytea NOT NULL CHECK (length(digest) = 32),
  content    bytea NOT NULL CHECK (length(content) = 32),
  owner      uuid NOT NULL,
  reference  uuid NOT NULL,
  attempt    bigint NOT NULL DEFAULT 0,
  answer     bytea,                     -- NULL: not finished
  claimed_at bigint NOT NULL,
  expires_at bigint NOT NULL,
  PRIMARY KEY (kind, digest)
);
CREATE INDEX claims_by_end ON claims (expires_at);

-- The place of the last line. As with changes, lines become visible in the order of their places.
CREATE TABLE audit_counter (
  one  boolean PRIMARY KEY DEFAULT true CHECK (one),
  last bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO audit_counter (last) VALUES (0);

CREATE TABLE audit (
  number  bigint PRIMARY KEY,
  id      uuid NOT NULL UNIQUE,
  at      bigint NOT NULL,
  account text COLLATE "C",
  who     text COLLATE "C" NOT NULL,
  address text,
  action  text COLLATE "C" NOT NULL,
  subject text COLLATE "C" NOT NULL,
  before  text,                         -- JSON
  after   text,                         -- JSON
  count   bigint NOT NULL
);
CREATE INDEX audit_by_account ON audit (account, number);
CREATE INDEX audit_by_subject ON audit (subject, number);

CREATE FUNCTION audit_stays() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit log is never changed';
END
$$;
CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
  FOR EACH STATEMENT EXECUTE FUNCTION audit_stays();
