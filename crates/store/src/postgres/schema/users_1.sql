-- Users of apps. A row is all that is known of a person; licenses name its login.

CREATE TABLE users (
  id         uuid PRIMARY KEY,
  account    text COLLATE "C" NOT NULL,
  app        text COLLATE "C" NOT NULL,
  login      text COLLATE "C" NOT NULL,
  alias      bigint NOT NULL,           -- 64 bits without a sign
  first_name text,
  last_name  text,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL
);
CREATE UNIQUE INDEX users_by_login ON users (app, login);
CREATE INDEX users_by_app ON users (app, id);
