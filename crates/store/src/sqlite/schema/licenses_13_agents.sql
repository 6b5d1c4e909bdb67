-- Policies on AI agents, and licenses that are an agent's token.

ALTER TABLE licenses ADD COLUMN agent TEXT;              -- JSON; NULL: it is no agent's
CREATE INDEX licenses_of_agents ON licenses (id) WHERE agent IS NOT NULL;

CREATE TABLE agent_rules (
  account TEXT NOT NULL,
  place   INTEGER NOT NULL,            -- of the rule in the policy of its account
  number  INTEGER NOT NULL UNIQUE,     -- of the last change, in the order of commits
  rule    TEXT,                        -- JSON; NULL: removed, the place is free
  PRIMARY KEY (account, place)
) STRICT;
CREATE INDEX agent_rules_by_number ON agent_rules (account, number);
