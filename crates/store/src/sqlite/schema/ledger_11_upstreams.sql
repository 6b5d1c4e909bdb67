-- The upstreams that gates find down, with who finds them so.

CREATE TABLE upstreams_down (
  app      TEXT NOT NULL,
  upstream TEXT NOT NULL,               -- by the name of the configuration file
  node     TEXT NOT NULL,
  account  TEXT NOT NULL,               -- that sells the app
  since    INTEGER NOT NULL,            -- by the finding of this node
  PRIMARY KEY (app, upstream, node)
) STRICT, WITHOUT ROWID;
