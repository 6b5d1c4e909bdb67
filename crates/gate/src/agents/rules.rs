//! The rules of an app for AI agents.

use std::sync::Arc;

use model::agent::AgentTerms;

use super::shared::Agents;

/// The rules of an app for AI agents, beside those of its account.
#[derive(Clone, Debug)]
pub struct AgentRules {
    /// What the apps of the process share.
    pub shared: Arc<Agents>,
    /// The terms.
    pub terms: AgentTerms,
    /// Whether signatures of agents are looked at.
    pub web_bot_auth: bool,
}
