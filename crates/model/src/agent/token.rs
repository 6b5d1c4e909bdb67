//! Tokens of agents: licenses that are an agent's own, bought beforehand and shown with each call.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::name::{AgentName, Operator};
use crate::credential::CredentialStatus;
use crate::id::LicenseId;
use crate::key::Credential;
use crate::license::{License, LicenseStatus};
use crate::time::Timestamp;
use crate::word_enum;

/// The agent that a license was given to, which makes the license a token: only this agent may show
/// it, and it is good where a policy wants a token or a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentIdentity {
    /// Who operates the agent.
    pub operator: Operator,
    /// The agent that alone may show it; absent: every agent of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// The license that pays for calls with the token; absent: the token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<LicenseId>,
}

/// The names of the agent that calls, as far as they are known.
#[derive(Clone, Copy, Debug)]
pub struct CallingAgent<'a> {
    /// Who operates it.
    pub operator: &'a Operator,
    /// The agent; `None`: nobody knows.
    pub agent: Option<&'a AgentName>,
}

word_enum!(
    /// The state of a token of an agent.
    AgentTokenState: "Whether a token of an agent is good." {
        /// It is good.
        Active = 0 => "active",
        /// Somebody disabled or revoked it.
        Disabled = 1 => "disabled",
        /// Its life has ended.
        Expired = 2 => "expired",
    }
);

impl AgentIdentity {
    /// The kind of a credential that is the secret of a token.
    pub const KIND: &'static str = "agent";
    /// The beginning of every secret, by which the gate tells it from keys of other licenses.
    pub const SECRET_PREFIX: &'static str = "agt_";
    /// The number of characters of a secret that may be shown to tell tokens apart.
    pub const VISIBLE: usize = 8;
    /// The number of letters behind the prefix: more than 240 random bits.
    const SECRET_LETTERS: usize = 43;

    /// Generates a secret. Show it once; what is kept is its hash.
    ///
    /// # Panics
    /// If the operating system has no randomness to give.
    #[must_use]
    pub fn generate_secret() -> Credential {
        Credential::generate_letters(Self::SECRET_PREFIX, Self::SECRET_LETTERS)
    }

    /// Returns whether an agent may show the token.
    #[must_use]
    pub fn covers(&self, calling: CallingAgent<'_>) -> bool {
        let fits = |own: &AgentName| Some(own) == calling.agent;
        self.operator == *calling.operator && self.agent.as_ref().is_none_or(fits)
    }
}

impl AgentTokenState {
    /// Returns the state of a token by its license, and by the status and the end of the credential
    /// that was shown. One that was disabled and has ended is disabled.
    #[must_use]
    pub fn of(
        license: &License,
        (status, end): (CredentialStatus, Option<Timestamp>),
        now: Timestamp,
    ) -> Self {
        let has_ended = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        if license.status != LicenseStatus::Active || status == CredentialStatus::Revoked {
            Self::Disabled
        } else if has_ended(license.spec.expires_at) || has_ended(end) {
            Self::Expired
        } else {
            Self::Active
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license_spec::LicenseSpec;
    use crate::name::AccountName;

    fn identity(agent: Option<&str>) -> AgentIdentity {
        AgentIdentity {
            operator: "OpenAI".parse().expect("valid"),
            agent: agent.map(|agent| agent.parse().expect("valid")),
            payer: None,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_token_is_good_until_its_license_or_its_secret_ends() {
        let mut license = License {
            id: LicenseId::from_u128(1),
            account: AccountName::default(),
            app: "news".parse().expect("valid"),
            status: LicenseStatus::Active,
            created_at: at(0),
            spec: LicenseSpec {
                agent: Some(Box::new(identity(Some("GPTBot")))),
                expires_at: Some(at(90)),
                ..LicenseSpec::default()
            },
        };
        let active = CredentialStatus::Active;
        let state = |license: &License, status, seconds| {
            AgentTokenState::of(license, (status, Some(at(100))), at(seconds))
        };
        assert_eq!(state(&license, active, 89), AgentTokenState::Active);
        assert_eq!(state(&license, active, 90), AgentTokenState::Expired);
        license.spec.expires_at = None;
        assert_eq!(state(&license, active, 99), AgentTokenState::Active);
        assert_eq!(state(&license, active, 100), AgentTokenState::Expired);
        let revoked = CredentialStatus::Revoked;
        assert_eq!(state(&license, revoked, 0), AgentTokenState::Disabled);
        for status in [LicenseStatus::Disabled, LicenseStatus::Revoked] {
            license.status = status;
            assert_eq!(state(&license, active, 200), AgentTokenState::Disabled);
        }
    }

    #[test]
    fn a_token_belongs_to_its_agent_or_to_all_of_its_operator() {
        let covers = |identity: AgentIdentity, operator: &str, agent: Option<&str>| {
            let agent = agent.map(|agent| agent.parse().expect("valid"));
            identity.covers(CallingAgent {
                operator: &operator.parse().expect("valid"),
                agent: agent.as_ref(),
            })
        };
        let one = || identity(Some("GPTBot"));
        assert!(covers(one(), "openai", Some("gptbot")));
        assert!(!covers(one(), "openai", Some("ChatGPT-User")));
        assert!(!covers(one(), "openai", None));
        assert!(!covers(one(), "Anthropic", Some("GPTBot")));
        assert!(covers(identity(None), "OpenAI", None));
    }

    #[test]
    fn a_secret_is_random_and_nothing_shows_it() {
        let (one, other) = (
            AgentIdentity::generate_secret(),
            AgentIdentity::generate_secret(),
        );
        assert_ne!(one.expose(), other.expose());
        assert!(one.expose().starts_with(AgentIdentity::SECRET_PREFIX));
        assert!(Credential::parse(one.expose()).is_ok());
        let shown = crate::masked(one.expose()).into_owned();
        assert!(!shown.contains(&one.expose()[10..]), "{shown}");
    }
}
