//! API keys: licenses with additional fields for the tools of their owners.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::forms::{schema, text_form};
use crate::id::LicenseId;
use crate::limit::RateLimit;
use crate::time::Timestamp;

/// The fields of an API key beyond those of its license, which has its account, app, status, end
/// and limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// The license, whose id is also the key's id.
    pub license_id: LicenseId,
    /// A name for people.
    pub name: Option<String>,
    /// The prefix of the key, if its owner chose one.
    pub prefix: Option<ApiKeyPrefix>,
    /// The metadata that the owner keeps with the key.
    pub metadata: Option<Metadata>,
    /// The permissions of the key; `None` if none were ever set.
    pub permissions: Option<ResourcePermissions>,
    /// The rate limit that holds again when rate limiting is switched on. While it is on, the rate
    /// limit is a limit of the license.
    pub parked_rate: Option<RateLimit>,
    /// The time of the last change by its owner.
    pub updated_at: Timestamp,
    /// The time of the last use, as far as it was written down.
    pub last_request: Option<Timestamp>,
}

/// The beginning of a key: 1 to 32 of `a-z A-Z 0-9 _ -`, but not `tg_`, by which the gate's own
/// keys are known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ApiKeyPrefix(String);

/// A JSON object of at most [`Metadata::MAX_BYTES`] bytes, to which the gate gives no meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata(serde_json::Map<String, serde_json::Value>);

/// Actions by resource. Each text has 1 to 64 bytes without control characters; there are at most
/// 64 resources and 64 actions of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ResourcePermissions(BTreeMap<String, Vec<String>>);

/// A rule of API keys that a request breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyRule {
    /// The name is too short or too long.
    #[error("a name has 1 to 32 characters, none of them a control character")]
    NameLength,
    /// The name is missing, and names are required here.
    #[error("a name is required")]
    NameRequired,
    /// The prefix is too short or too long.
    #[error("a prefix has 1 to 32 characters")]
    PrefixLength,
    /// The prefix has characters that are not allowed, or is that of the gate's own keys.
    #[error("a prefix has letters, digits, `_` and `-` only, and is not `tg_`")]
    PrefixCharacters,
    /// Metadata are switched off.
    #[error("metadata is switched off, see `[better_auth] metadata`")]
    MetadataDisabled,
    /// The metadata are too large.
    #[error("metadata have at most 4096 bytes as JSON")]
    MetadataLength,
    /// The key would end sooner than is allowed.
    #[error("the end is sooner than a key may end")]
    EndTooSoon,
    /// The key would end later than is allowed.
    #[error("the end is later than a key may end")]
    EndTooLate,
    /// There is an amount to refill without an interval.
    #[error("an amount to refill needs an interval")]
    RefillInterval,
    /// There is an interval of refills without an amount.
    #[error("an interval of refills needs an amount")]
    RefillAmount,
    /// The request changes nothing.
    #[error("name something to change")]
    NothingToChange,
    /// There are too many permissions, or one is too long.
    #[error(
        "permissions have at most 64 resources of 64 actions, each of 1 to 64 bytes without control characters"
    )]
    Permissions,
}

impl ApiKeyRule {
    /// Returns the field that the rule is about, by its name in the native API.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::NameLength | Self::NameRequired => "name",
            Self::PrefixLength | Self::PrefixCharacters => "prefix",
            Self::MetadataDisabled | Self::MetadataLength => "metadata",
            Self::EndTooSoon | Self::EndTooLate => "expires_at",
            Self::RefillInterval => "refill_interval",
            Self::RefillAmount => "refill_amount",
            Self::NothingToChange => "body",
            Self::Permissions => "permissions",
        }
    }
}

impl ApiKey {
    /// The kind of the credentials that open the license of an API key.
    pub const KIND: &str = "api_key";
    /// The number of characters of a key that are shown to tell keys apart.
    pub const START: usize = 6;
}

impl ApiKeyPrefix {
    /// The highest number of characters in a prefix.
    pub const MAX_LENGTH: usize = 32;

    /// Returns the prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ApiKeyPrefix {
    type Err = ApiKeyRule;

    fn from_str(text: &str) -> Result<Self, ApiKeyRule> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if !(1..=Self::MAX_LENGTH).contains(&text.len()) {
            return Err(ApiKeyRule::PrefixLength);
        }
        if !text.bytes().all(plain) || text.starts_with("tg_") {
            return Err(ApiKeyRule::PrefixCharacters);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ApiKeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

text_form! { ApiKeyPrefix {
    "description": "The text that an API key begins with; not `tg_`.",
    "pattern": "^[A-Za-z0-9_-]{1,32}$",
    "examples": ["pk_"],
} }

impl Metadata {
    /// The highest number of bytes that metadata have as JSON.
    pub const MAX_BYTES: usize = 4_096;

    /// Takes a JSON object as metadata.
    ///
    /// # Errors
    /// [`ApiKeyRule::MetadataLength`].
    pub fn new(object: serde_json::Map<String, serde_json::Value>) -> Result<Self, ApiKeyRule> {
        let metadata = Self(object);
        if metadata.to_string().len() > Self::MAX_BYTES {
            return Err(ApiKeyRule::MetadataLength);
        }
        Ok(metadata)
    }

    /// Returns the JSON object.
    #[must_use]
    pub const fn as_object(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.0
    }
}

impl fmt::Display for Metadata {
    /// Writes compact JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(&self.0).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl FromStr for Metadata {
    type Err = serde_json::Error;

    /// Reads the text that a store kept, without a check of its length.
    fn from_str(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self)
    }
}

impl Serialize for Metadata {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = serde_json::Map::deserialize(deserializer)?;
        Self::new(object).map_err(serde::de::Error::custom)
    }
}

schema! { Metadata {
    "type": "object",
    "description": "Data that the owner keeps; at most 4,096 bytes.",
} }

impl ResourcePermissions {
    const MAX_RESOURCES: usize = 64;

    /// Takes actions by resource.
    ///
    /// # Errors
    /// [`ApiKeyRule::Permissions`].
    pub fn new(permissions: BTreeMap<String, Vec<String>>) -> Result<Self, ApiKeyRule> {
        let word = |word: &String| {
            (1..=Self::MAX_RESOURCES).contains(&word.len()) && !word.contains(char::is_control)
        };
        let entry = |(resource, actions): (&String, &Vec<String>)| {
            word(resource) && actions.len() <= Self::MAX_RESOURCES && actions.iter().all(word)
        };
        if permissions.len() <= Self::MAX_RESOURCES && permissions.iter().all(entry) {
            Ok(Self(permissions))
        } else {
            Err(ApiKeyRule::Permissions)
        }
    }

    /// Returns whether all that is asked for is permitted. Asking for nothing, or for no action of
    /// a resource, is not.
    #[must_use]
    pub fn covers(&self, asked: &Self) -> bool {
        let covered = |(resource, actions): (&String, &Vec<String>)| {
            let given = self.0.get(resource).map_or(&[][..], Vec::as_slice);
            !actions.is_empty() && actions.iter().all(|action| given.contains(action))
        };
        !asked.0.is_empty() && asked.0.iter().all(covered)
    }

    /// Returns the actions by resource.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0
            .iter()
            .map(|(resource, actions)| (resource.as_str(), actions.as_slice()))
    }
}

impl fmt::Display for ResourcePermissions {
    /// Writes compact JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(&self.0).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl FromStr for ResourcePermissions {
    type Err = serde_json::Error;

    /// Reads the text that a store kept, or that a client sent.
    fn from_str(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

impl<'de> Deserialize<'de> for ResourcePermissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let permissions = BTreeMap::deserialize(deserializer)?;
        Self::new(permissions).map_err(serde::de::Error::custom)
    }
}

schema! { ResourcePermissions {
    "type": "object",
    "description": "The permitted actions, by resource.",
    "additionalProperties": {"type": "array", "items": {"type": "string"}},
} }

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions(text: &str) -> ResourcePermissions {
        text.parse().expect(text)
    }

    #[test]
    fn every_action_of_every_resource_must_be_given_and_something_must_be_asked_for() {
        let own = permissions(r#"{"files":["read","write"],"users":[]}"#);
        for covered in [r#"{"files":["read"]}"#, r#"{"files":["write","read"]}"#] {
            assert!(own.covers(&permissions(covered)), "{covered}");
        }
        for refused in [
            r#"{"files":["delete"]}"#,
            r#"{"files":["read","delete"]}"#,
            r#"{"users":["read"]}"#,
            r#"{"files":["read"],"other":["read"]}"#,
            "{}",
            r#"{"files":[]}"#,
            r#"{"users":[]}"#,
        ] {
            assert!(!own.covers(&permissions(refused)), "{refused}");
        }
    }

    #[test]
    fn a_prefix_is_short_plain_and_not_that_of_our_own_keys() {
        assert!("pk_live-1".parse::<ApiKeyPrefix>().is_ok());
        assert_eq!("".parse::<ApiKeyPrefix>(), Err(ApiKeyRule::PrefixLength));
        let long = "x".repeat(33);
        assert_eq!(long.parse::<ApiKeyPrefix>(), Err(ApiKeyRule::PrefixLength));
        for wrong in ["a b", "é", "a.b", "tg_x"] {
            let parsed = wrong.parse::<ApiKeyPrefix>();
            assert_eq!(parsed, Err(ApiKeyRule::PrefixCharacters), "{wrong}");
        }
    }

    #[test]
    fn metadata_and_permissions_are_bounded() {
        let object = |text: &str| serde_json::from_str::<Metadata>(text);
        assert_eq!(
            object(r#"{"a": 1}"#).expect("valid").to_string(),
            r#"{"a":1}"#
        );
        assert!(object("[]").is_err());
        assert!(object(&format!(r#"{{"a":"{}"}}"#, "x".repeat(4_096))).is_err());
        let many: BTreeMap<String, Vec<String>> =
            (0..65).map(|n| (n.to_string(), Vec::new())).collect();
        assert_eq!(ResourcePermissions::new(many), Err(ApiKeyRule::Permissions));
        assert!(r#"{"a":[""]}"#.parse::<ResourcePermissions>().is_err());
    }
}
