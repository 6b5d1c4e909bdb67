//! What a management key may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One thing that a management key may be limited to. Which of them a key has is said by [`Scope::held`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// See the audit log of the account.
    ReadAudit,
    /// See the records of calls.
    ReadCalls,
    /// See management keys.
    ReadKeys,
    /// See licenses.
    ReadLicenses,
    /// See usage.
    ReadUsage,
    /// Make, rotate and revoke management keys with no more rights than its own.
    WriteKeys,
    /// Make and change licenses.
    WriteLicenses,
}

/// Why a text is not a [`Scope`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a scope: use one of {}", Scope::words())]
pub struct ParseScopeError {
    /// What was given, shortened.
    given: String,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 7] = [
        Self::ReadAudit,
        Self::ReadCalls,
        Self::ReadKeys,
        Self::ReadLicenses,
        Self::ReadUsage,
        Self::WriteKeys,
        Self::WriteLicenses,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadAudit => "read:audit",
            Self::ReadCalls => "read:calls",
            Self::ReadKeys => "read:keys",
            Self::ReadLicenses => "read:licenses",
            Self::ReadUsage => "read:usage",
            Self::WriteKeys => "write:keys",
            Self::WriteLicenses => "write:licenses",
        }
    }

    /// Whether whoever has it sees things only, and changes none.
    #[must_use]
    pub const fn only_reads(self) -> bool {
        match self {
            Self::ReadAudit
            | Self::ReadCalls
            | Self::ReadKeys
            | Self::ReadLicenses
            | Self::ReadUsage => true,
            Self::WriteKeys | Self::WriteLicenses => false,
        }
    }

    /// The scopes that a management key has by those that it names: all, if it names none. A key for one license only
    /// reads, whatever it names: it is its holder's, who does not set their own limits. A word that is no scope gives
    /// nothing.
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

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = ParseScopeError;

    fn from_str(text: &str) -> Result<Self, ParseScopeError> {
        let named = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        named.ok_or_else(|| ParseScopeError {
            given: crate::quoted(text, 40),
        })
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

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
        assert_eq!(Scope::held(&[], true).len(), 5);
        let both = named(&["write:licenses", "read:usage"]);
        let held = [Scope::ReadUsage, Scope::WriteLicenses];
        assert_eq!(Scope::held(&both, false), held);
        assert_eq!(Scope::held(&both, true), [Scope::ReadUsage]);
        assert_eq!(Scope::held(&named(&["write:keys"]), true), []);
        assert_eq!(Scope::held(&named(&["read:nothing"]), false), []);
    }
}
