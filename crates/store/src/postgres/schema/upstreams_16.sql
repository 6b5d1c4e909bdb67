-- The upstreams that gates find down, with who finds them so.

CREATE TABLE upstreams_down (
  app      text COLLATE "C" NOT NULL,
  upstream text COLLATE "C" NOT NULL,   -- by the name of the configuration file
  node     text COLLATE "C" NOT NULL,
  account  text COLLATE "C" NOT NULL,   -- that sells the app
  since    bigint NOT NULL,             -- by the finding of this node
  PRIMARY KEY (app, upstream, node)
);
