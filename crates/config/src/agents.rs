//! `[app.agents]`: what an app decides about AI agents, beside the rules of its account.

use crate::reader::Section;
use crate::value::words;

/// `[app.agents]`: the terms of an app for AI agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agents {
    /// What known agents get that no rule concerns \[they are let in\].
    pub default: AgentAccess,
    /// What user agents of no known agent get, where they are asked about as agents \[they are let
    /// in\].
    pub unknown: AgentAccess,
    /// What happens to agents while nobody can decide about them \[they are sent away\].
    pub on_failure: AgentsOnFailure,
    /// Whether the policy lets agents in on routes that want a license, too, whatever their rule
    /// says \[false\].
    pub instead_of_license: bool,
    /// Whether signatures of agents are looked at \[true\].
    pub web_bot_auth: bool,
}

words! {
    /// What agents get that no rule concerns. Nobody is asked to pay by default.
    AgentAccess {
        /// They are let in.
        #[default]
        Allow = "allow",
        /// They are sent away.
        Deny = "deny",
    }
}

words! {
    /// What happens to agents while nobody can decide about them.
    AgentsOnFailure {
        /// They are sent away.
        #[default]
        Deny = "deny",
        /// They are let in by what is known of them.
        Allow = "allow",
    }
}

impl Default for Agents {
    fn default() -> Self {
        Self {
            default: AgentAccess::default(),
            unknown: AgentAccess::default(),
            on_failure: AgentsOnFailure::default(),
            instead_of_license: false,
            web_bot_auth: true,
        }
    }
}

impl Agents {
    pub(crate) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let agents = Self {
            default: section.value("default", default.default),
            unknown: section.value("unknown", default.unknown),
            on_failure: section.value("on_failure", default.on_failure),
            instead_of_license: section.value("instead_of_license", default.instead_of_license),
            web_bot_auth: section.value("web_bot_auth", default.web_bot_auth),
        };
        section.finish();
        agents
    }
}
