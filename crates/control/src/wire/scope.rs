//! What a management key may do.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One thing that a management key may be limited to. A key without scopes may do all of them.
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
            given: text.chars().take(40).collect(),
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

impl JsonSchema for Scope {
    fn schema_name() -> Cow<'static, str> {
        "Scope".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": "What a management key may do.", "enum": Self::ALL})
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
}
