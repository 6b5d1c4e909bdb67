//! Tokens of agents: bought beforehand, and shown with each call.

use std::fmt;

use super::name::{AgentName, Operator};
use crate::id::{AgentTokenId, LicenseId};
use crate::key::{Credential, KeyHash};
use crate::name::AccountName;
use crate::time::Timestamp;
use crate::word_enum;

/// A token of an agent, without its secret: who shows it is let in where a policy wants one.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentToken {
    /// The id.
    pub id: AgentTokenId,
    /// The account whose apps it opens.
    pub account: AccountName,
    /// The hash of its secret.
    pub hash: KeyHash,
    /// Who operates the agent that it was given to.
    pub operator: Operator,
    /// The agent that alone may show it; `None`: every agent of the operator.
    pub agent: Option<AgentName>,
    /// The license that pays for calls with it; `None`: nobody pays.
    pub license_id: Option<LicenseId>,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The end of its life; `None`: it has none.
    pub expires_at: Option<Timestamp>,
    /// The time from which on it is disabled; `None`: it is not.
    pub disabled_at: Option<Timestamp>,
}

word_enum!(
    /// The state of a token of an agent.
    AgentTokenState: "Whether a token of an agent is good." {
        /// It is good.
        Active = 0 => "active",
        /// Somebody disabled it.
        Disabled = 1 => "disabled",
        /// Its life has ended.
        Expired = 2 => "expired",
    }
);

impl AgentToken {
    /// The beginning of every secret, by which the gate tells it from keys of licenses.
    pub const SECRET_PREFIX: &'static str = "atk_";
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

    /// Returns the state at a time. A token that was disabled and has ended is disabled.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> AgentTokenState {
        if self.disabled_at.is_some_and(|at| at <= now) {
            AgentTokenState::Disabled
        } else if self.expires_at.is_some_and(|at| at <= now) {
            AgentTokenState::Expired
        } else {
            AgentTokenState::Active
        }
    }

    /// Returns the whole seconds until the end of its life, 0 once it has ended; `None` if it has
    /// no end.
    #[must_use]
    pub fn seconds_left(&self, now: Timestamp) -> Option<u64> {
        self.expires_at.map(|at| at.since(now).as_secs())
    }

    /// Returns whether an agent may show the token.
    #[must_use]
    pub fn belongs_to(&self, operator: &Operator, agent: Option<&AgentName>) -> bool {
        self.operator == *operator && self.agent.as_ref().is_none_or(|own| Some(own) == agent)
    }
}

/// All but the hash.
impl fmt::Debug for AgentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentToken")
            .field("id", &self.id)
            .field("account", &self.account)
            .field("operator", &self.operator)
            .field("agent", &self.agent)
            .field("license_id", &self.license_id)
            .field("created_at", &self.created_at)
            .field("expires_at", &self.expires_at)
            .field("disabled_at", &self.disabled_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> AgentToken {
        AgentToken {
            id: AgentTokenId::from_u128(1),
            account: AccountName::default(),
            hash: KeyHash::from_bytes([7; 32]),
            operator: "OpenAI".parse().expect("valid"),
            agent: Some("GPTBot".parse().expect("valid")),
            license_id: None,
            created_at: Timestamp::from_micros(0),
            expires_at: Some(Timestamp::from_micros(90_000_000)),
            disabled_at: None,
        }
    }

    #[test]
    fn a_token_is_good_until_it_ends_or_is_disabled() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let mut token = token();
        assert_eq!(token.state(at(89)), AgentTokenState::Active);
        assert_eq!(token.seconds_left(at(80)), Some(10));
        assert_eq!(token.state(at(90)), AgentTokenState::Expired);
        assert_eq!(token.seconds_left(at(100)), Some(0));
        token.disabled_at = Some(at(50));
        assert_eq!(token.state(at(49)), AgentTokenState::Active);
        assert_eq!(token.state(at(99)), AgentTokenState::Disabled);
        token.expires_at = None;
        assert_eq!(token.seconds_left(at(100)), None);
    }

    #[test]
    fn a_token_belongs_to_its_agent_or_to_all_of_its_operator() {
        let mut token = token();
        let of = |text: &str| text.parse::<Operator>().expect("valid");
        let agent = |text: &str| text.parse::<AgentName>().expect("valid");
        assert!(token.belongs_to(&of("openai"), Some(&agent("gptbot"))));
        assert!(!token.belongs_to(&of("openai"), Some(&agent("ChatGPT-User"))));
        assert!(!token.belongs_to(&of("openai"), None));
        assert!(!token.belongs_to(&of("Anthropic"), Some(&agent("GPTBot"))));
        token.agent = None;
        assert!(token.belongs_to(&of("OpenAI"), None));
    }

    #[test]
    fn a_secret_is_random_and_nothing_shows_it_or_its_hash() {
        let (one, other) = (AgentToken::generate_secret(), AgentToken::generate_secret());
        assert_ne!(one.expose(), other.expose());
        assert!(one.expose().starts_with(AgentToken::SECRET_PREFIX));
        assert!(Credential::parse(one.expose()).is_ok());
        let shown = crate::masked(one.expose()).into_owned();
        assert!(!shown.contains(&one.expose()[10..]), "{shown}");
        assert!(!format!("{:?}", token()).contains("hash"));
    }
}
