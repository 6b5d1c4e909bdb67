//! The words of decisions on agents: for what they come, what is known of them, and why they were
//! let in or sent away.

use crate::word_enum;

word_enum!(
    /// The purpose for which an agent fetches.
    Purpose: "For what an agent fetches." {
        /// To train models.
        Training = 0 => "training",
        /// To build an index that answers are looked up in.
        Search = 1 => "search",
        /// To read a page that a person asked about just now.
        UserFetch = 2 => "user_fetch",
        /// To act in a browser on behalf of a person.
        UserAction = 3 => "user_action",
        /// To collect data that is given or sold to others.
        Data = 4 => "data",
        /// For something else, or nobody says for what.
        Other = 5 => "other",
    }
);

word_enum!(
    /// What is known of an agent beyond what it says of itself.
    #[derive(Default)]
    Verification: "What is known of an agent: `verified`, its signature holds; `invalid`, its signature does not hold; \
                   `unverified`, nothing." {
        /// Its signature holds, by a key of its directory.
        Verified = 0 => "verified",
        /// It came with a signature that does not hold.
        Invalid = 1 => "invalid",
        /// It came without a signature, or with one that could not be judged.
        #[default]
        Unverified = 2 => "unverified",
    }
);

word_enum!(
    /// The reason of a decision on an agent, in the words of paywalls.net.
    AgentReason: "Why an agent was let in or sent away." {
        /// A token or a payment is wanted, and none was shown.
        TokenNotProvided = 0 => "token_not_provided",
        /// The token that was shown is unknown.
        TokenNotFound = 1 => "token_not_found",
        /// The token that was shown was disabled.
        TokenDisabled = 2 => "token_disabled",
        /// The token that was shown has ended.
        TokenExpired = 3 => "token_expired",
        /// The token that was shown is good.
        TokenActive = 4 => "token_active",
        /// The policy lets the agent in.
        UsageAllowed = 5 => "usage_allowed",
        /// The policy sends the agent away.
        UsageNotAllowed = 6 => "usage_not_allowed",
        /// Nobody could decide.
        UnknownError = 7 => "unknown_error",
        /// The agent is not known, and what is so for such was applied.
        UserAgentUnrecognized = 8 => "user_agent_unrecognized",
        /// The request has no `User-Agent`. A client of the service says so by itself.
        MissingUserAgent = 9 => "missing_user_agent",
        /// The agent is one that is known. A client of the service says so by itself.
        KnownBot = 10 => "known_bot",
    }
);

impl Purpose {
    /// Returns whether a person waits for what the agent fetches.
    #[must_use]
    pub const fn is_user_initiated(self) -> bool {
        matches!(self, Self::UserFetch | Self::UserAction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_wire() {
        let words: Vec<&str> = AgentReason::ALL.map(AgentReason::as_str).into();
        assert_eq!(
            words.join(" "),
            "token_not_provided token_not_found token_disabled token_expired token_active usage_allowed \
             usage_not_allowed unknown_error user_agent_unrecognized missing_user_agent known_bot"
        );
        for reason in AgentReason::ALL {
            assert_eq!(AgentReason::from_number(reason as u8), Some(reason));
        }
        assert_eq!(Verification::default(), Verification::Unverified);
        let waiting = Purpose::ALL.into_iter().filter(|p| p.is_user_initiated());
        assert!(waiting.eq([Purpose::UserFetch, Purpose::UserAction]));
    }
}
