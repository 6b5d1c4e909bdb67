-- Policies on AI agents, and licenses that are an agent's token.

ALTER TABLE licenses ADD COLUMN agent text;              -- JSON; NULL: it is no agent's
CREATE INDEX licenses_of_agents ON licenses (id) WHERE agent IS NOT NULL;

CREATE TABLE agent_rules (
  account text NOT NULL,
  place   bigint NOT NULL,             -- of the rule in the policy of its account
  number  bigint NOT NULL UNIQUE,      -- of the last change, in the order of commits
  rule    text,                        -- JSON; NULL: removed, the place is free
  PRIMARY KEY (account, place)
);
CREATE INDEX agent_rules_by_number ON agent_rules (account, number);
