//! Scopes: the rights of management keys.

use std::str::FromStr;

use crate::forms::text_form;
use crate::word_enum;

word_enum!(
    /// A right that a management key may be limited to. [`Scope::held`] alone decides which of them
    /// a key has.
    Scope {
        /// See the policy on agents.
        ReadAgents => "read:agents",
        /// See the audit log of the account.
        ReadAudit => "read:audit",
        /// See the records of calls.
        ReadCalls => "read:calls",
        /// See management keys.
        ReadKeys => "read:keys",
        /// See licenses.
        ReadLicenses => "read:licenses",
        /// See usage.
        ReadUsage => "read:usage",
        /// See webhooks and their deliveries.
        ReadWebhooks => "read:webhooks",
        /// Change the policy on agents.
        WriteAgents => "write:agents",
        /// Create, rotate and revoke management keys with no more rights than its own.
        WriteKeys => "write:keys",
        /// Create and change licenses.
        WriteLicenses => "write:licenses",
        /// Create, change, test and delete webhooks, and have events delivered again.
        WriteWebhooks => "write:webhooks",
    }
);

/// The error for a text that is not a [`Scope`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a scope: use one of {}", Scope::words())]
pub struct ParseScopeError {
    /// The text, shortened.
    given: String,
}

impl Scope {
    /// Returns whether the scope only reads, and changes nothing.
    #[must_use]
    pub const fn only_reads(self) -> bool {
        match self {
            Self::ReadAgents
            | Self::ReadAudit
            | Self::ReadCalls
            | Self::ReadKeys
            | Self::ReadLicenses
            | Self::ReadUsage
            | Self::ReadWebhooks => true,
            Self::WriteAgents | Self::WriteKeys | Self::WriteLicenses | Self::WriteWebhooks => {
                false
            }
        }
    }

    /// Returns the scopes that a management key has by those that it names: all, if it names none.
    /// A key for one license only reads, whatever it names: it is its holder's, who does not set
    /// their own limits. A word that is not a scope gives nothing.
    #[must_use]
    pub fn held(named: &[String], of_one_license: bool) -> Vec<Self> {
        let is_named = |scope: &Self| {
            named.is_empty() || named.iter().any(|word| word.as_str() == scope.as_str())
        };
        let may_be_had = |scope: &Self| !of_one_license || scope.only_reads();
        let all = Self::ALL.into_iter();
        all.filter(is_named).filter(may_be_had).collect()
    }

    fn words() -> String {
        Self::ALL.map(|scope| format!("`{scope}`")).join(", ")
    }
}

impl FromStr for Scope {
    type Err = ParseScopeError;

    fn from_str(text: &str) -> Result<Self, ParseScopeError> {
        Self::parse(text).ok_or_else(|| ParseScopeError {
            given: crate::quoted(text, 40),
        })
    }
}

text_form! { Scope {
    "description": "A scope of what a management key may do.",
    "enum": Scope::ALL.map(Scope::as_str),
} }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_survive_their_words_and_a_wrong_one_is_told_the_right_ones() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        let error = "licenses".parse::<Scope>().expect_err("not a scope");
        assert!(error.to_string().contains("`read:licenses`"), "{error}");
    }

    #[test]
    fn a_key_that_names_none_has_all_and_one_for_a_license_only_reads() {
        let named = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(Scope::held(&[], false), Scope::ALL);
        assert!(Scope::held(&[], true).into_iter().all(Scope::only_reads));
        assert_eq!(Scope::held(&[], true).len(), 7);
        let both = named(&["write:licenses", "read:usage"]);
        let held = [Scope::ReadUsage, Scope::WriteLicenses];
        assert_eq!(Scope::held(&both, false), held);
        assert_eq!(Scope::held(&both, true), [Scope::ReadUsage]);
        assert_eq!(Scope::held(&named(&["write:keys"]), true), []);
        assert_eq!(Scope::held(&named(&["read:nothing"]), false), []);
    }
}
