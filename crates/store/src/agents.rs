//! The store of policies on AI agents: the rules of accounts.
//!
//! As SQL, for whoever writes another store:
//!
//! ```sql
//! CREATE TABLE agent_rules (account, place, number UNIQUE, rule, PRIMARY KEY (account, place));
//! -- Numbers are given in the order of commits, as with changes of licenses.
//! -- rule: JSON, NULL where it was removed. Its place is taken by a later rule, so that an account has no more rows than its
//! -- policy may have rules, and whoever follows the numbers misses no removal.
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use model::AccountName;
use model::agent::AgentRule;

use crate::audit::AuditEntries;
use crate::error::Error;

/// A place in the policy of an account, as the store holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAgentRule {
    /// The account.
    pub account: AccountName,
    /// The place, from 0; what is at a place replaces what was there before.
    pub place: u32,
    /// The number of its last change, in commit order over all accounts.
    pub number: u64,
    /// The rule; `None`: it was removed.
    pub rule: Option<Arc<AgentRule>>,
}

/// The store of policies on agents.
#[async_trait]
pub trait AgentStore: Send + Sync + 'static {
    /// Returns up to `limit` places with numbers above `number`, in their order.
    async fn agent_rules_after(
        &self,
        number: u64,
        limit: usize,
    ) -> Result<Vec<StoredAgentRule>, Error>;

    /// Puts a rule at a place in the policy of an account, or none, if the last change of the policy
    /// is the one with this number (0: there was none). Returns the number of this change; `None`:
    /// another came first, and nothing was done.
    async fn put_agent_rule(
        &self,
        account: &AccountName,
        in_place_of: u64,
        place: u32,
        rule: Option<Arc<AgentRule>>,
        entries: AuditEntries<()>,
    ) -> Result<Option<u64>, Error>;
}
