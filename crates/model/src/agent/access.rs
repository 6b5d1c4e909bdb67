//! What a rule gives to an agent.

use std::fmt;

use super::price::AgentPrice;
use crate::word_enum;

word_enum!(
    /// The kind of access that a rule gives.
    AccessKind: "What an agent gets: `allow`, it is let in; `deny`, it is sent away; `token`, it is let in with a token; \
                 `pay`, it is let in if it pays." {
        /// The agent is let in.
        Allow = 0 => "allow",
        /// The agent is sent away.
        Deny = 1 => "deny",
        /// The agent is let in with a token that is good.
        Token = 2 => "token",
        /// The agent is let in if it pays a price for each call.
        Pay = 3 => "pay",
    }
);

/// The access that a rule gives: its kind, and for [`AccessKind::Pay`] the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// The agent is let in.
    Allow,
    /// The agent is sent away.
    Deny,
    /// The agent is let in with a token that is good.
    Token,
    /// The agent is let in if it pays this for each call.
    Pay(AgentPrice),
}

impl Access {
    /// Returns the kind.
    #[must_use]
    pub const fn kind(&self) -> AccessKind {
        match self {
            Self::Allow => AccessKind::Allow,
            Self::Deny => AccessKind::Deny,
            Self::Token => AccessKind::Token,
            Self::Pay(_) => AccessKind::Pay,
        }
    }

    /// Returns the price of a call; `None` where it has none.
    #[must_use]
    pub const fn price(&self) -> Option<AgentPrice> {
        match self {
            Self::Pay(price) => Some(*price),
            _ => None,
        }
    }

    /// Returns the access of a kind; `None` if a price is lacking, or there is one too many.
    #[must_use]
    pub const fn of(kind: AccessKind, price: Option<AgentPrice>) -> Option<Self> {
        match (kind, price) {
            (AccessKind::Allow, None) => Some(Self::Allow),
            (AccessKind::Deny, None) => Some(Self::Deny),
            (AccessKind::Token, None) => Some(Self::Token),
            (AccessKind::Pay, Some(price)) => Some(Self::Pay(price)),
            _ => None,
        }
    }
}

/// The word, and the price behind it: `pay USD 0.01`.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().as_str())?;
        match self.price() {
            Some(price) => write!(f, " {price}"),
            None => Ok(()),
        }
    }
}
