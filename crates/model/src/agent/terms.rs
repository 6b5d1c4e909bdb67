//! What an app decides about agents in its configuration.

use super::decision::AgentDefault;

/// The terms of an app for agents, beside the rules of its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentTerms {
    /// What known agents get that no rule concerns.
    ///
    /// # Defaults
    /// They are let in.
    pub default: AgentDefault,
    /// What user agents get that are those of no known agent, where they are asked about.
    ///
    /// # Defaults
    /// They are let in.
    pub unknown: AgentDefault,
    /// Whether agents are let in while nobody can decide about them.
    ///
    /// # Defaults
    /// They are sent away.
    pub allows_on_failure: bool,
    /// Whether agents are let in by the policy on routes that want a license, too, whatever their
    /// rule says.
    ///
    /// # Defaults
    /// Their rule says so.
    pub instead_of_license: bool,
}

impl Default for AgentTerms {
    fn default() -> Self {
        Self {
            default: AgentDefault::Allow,
            unknown: AgentDefault::Allow,
            allows_on_failure: false,
            instead_of_license: false,
        }
    }
}
