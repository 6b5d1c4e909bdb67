//! The bodies of requests. Unknown fields are refused: a misspelt limit that was ignored would be
//! no limit.

use std::time::Duration;

use licensing::KeyEnd;
use model::update::nullable;
use model::{ApiKeyPrefix, ApiKeyRule, Metadata, ResourcePermissions};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::refusal::{KeyCode, Refused};
use crate::http::field::not_null;

/// The body of `POST /create`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "BetterAuthCreate")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Create {
    #[serde(default, deserialize_with = "not_null")]
    config_id: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) expires_in: Option<Seconds>,
    #[serde(default, deserialize_with = "not_null")]
    pub(super) prefix: Option<String>,
    #[serde(default)]
    pub(super) metadata: Option<Value>,
    #[serde(default, deserialize_with = "not_null")]
    pub(super) user_id: Option<Coerced>,
    #[serde(default, deserialize_with = "not_null")]
    organization_id: Option<Coerced>,
    #[serde(default)]
    remaining: Option<NotNegative>,
    #[serde(default, deserialize_with = "not_null")]
    refill_amount: Option<AtLeastOne>,
    #[serde(default, deserialize_with = "not_null")]
    refill_interval: Option<f64>,
    #[serde(default, deserialize_with = "not_null")]
    rate_limit_time_window: Option<f64>,
    #[serde(default, deserialize_with = "not_null")]
    rate_limit_max: Option<f64>,
    #[serde(default, deserialize_with = "not_null")]
    rate_limit_enabled: Option<bool>,
    #[serde(default, deserialize_with = "not_null")]
    permissions: Option<Permissions>,
}

/// The body of `POST /update`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "BetterAuthUpdate")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Update {
    #[serde(default, deserialize_with = "not_null")]
    pub(super) config_id: Option<String>,
    pub(super) key_id: String,
    #[serde(default, deserialize_with = "not_null")]
    pub(super) user_id: Option<Coerced>,
    #[serde(default, deserialize_with = "not_null")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    pub(super) enabled: Option<bool>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) expires_in: Option<Option<Seconds>>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) metadata: Option<Option<Value>>,
    #[serde(default, deserialize_with = "not_null")]
    remaining: Option<AtLeastOne>,
    #[serde(default, deserialize_with = "not_null")]
    refill_amount: Option<f64>,
    #[serde(default, deserialize_with = "not_null")]
    refill_interval: Option<f64>,
    #[serde(default, deserialize_with = "not_null")]
    rate_limit_time_window: Option<f64>,
    #[serde(default, deserialize_with = "not_null")]
    rate_limit_max: Option<f64>,
    #[serde(default, deserialize_with = "not_null")]
    rate_limit_enabled: Option<bool>,
    #[serde(default, deserialize_with = "nullable")]
    permissions: Option<Option<Permissions>>,
}

/// The body of `POST /verify`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "BetterAuthVerify")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Verify {
    #[serde(default, deserialize_with = "not_null")]
    pub(super) config_id: Option<String>,
    pub(super) key: String,
    #[serde(default, deserialize_with = "not_null")]
    pub(super) permissions: Option<Permissions>,
}

/// The body of `POST /delete`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "BetterAuthDelete")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Delete {
    #[serde(default, deserialize_with = "not_null")]
    pub(super) config_id: Option<String>,
    pub(super) key_id: String,
}

/// The body of `POST /delete-all-expired-api-keys`, which has no fields.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "BetterAuthNothing")]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// A length of time in seconds, of at least 1; fractions are kept.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
pub(super) struct Seconds(Duration);

/// A number of at least 0. Its value is not kept: clients may not set it.
#[derive(Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
struct NotNegative;

/// A number of at least 1. Its value is not kept: clients may not set it.
#[derive(Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
struct AtLeastOne;

/// A text, or a number that stands for it.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Coerced {
    Text(String),
    Number(serde_json::Number),
}

/// Permissions, sent as an object or, by older clients, as the text of one.
#[derive(JsonSchema)]
pub(super) struct Permissions(pub(super) ResourcePermissions);

impl Create {
    /// Refuses fields that clients may not set.
    pub(super) const fn check(&self) -> Result<(), KeyCode> {
        let server_only = self.remaining.is_some()
            || self.refill_amount.is_some()
            || self.refill_interval.is_some()
            || self.rate_limit_time_window.is_some()
            || self.rate_limit_max.is_some()
            || self.rate_limit_enabled.is_some()
            || self.permissions.is_some();
        if server_only {
            return Err(KeyCode::ServerOnly);
        }
        // The owner of the key is the caller's account. There is one configuration, in which keys
        // belong to accounts.
        let _ = (&self.config_id, &self.organization_id);
        if self.user_id.is_some() {
            return Err(KeyCode::Unauthorized);
        }
        Ok(())
    }

    /// Returns the metadata; `None` for a value that JavaScript takes for false.
    pub(super) fn metadata(&self, enabled: bool) -> Result<Option<Metadata>, Refused> {
        match &self.metadata {
            None | Some(Value::Bool(false)) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::Number(number)) if number.as_f64() == Some(0.0) => Ok(None),
            Some(_) if !enabled => Err(KeyCode::MetadataDisabled.into()),
            Some(value) => object(value).map(Some),
        }
    }

    pub(super) fn prefix(&self) -> Result<Option<ApiKeyPrefix>, Refused> {
        let parse = |text: &String| match text.parse() {
            Err(ApiKeyRule::PrefixLength) if text.is_empty() => {
                Err(Refused::invalid("body.prefix", ApiKeyRule::PrefixLength))
            }
            parsed => Ok(parsed?),
        };
        self.prefix.as_ref().map(parse).transpose()
    }
}

impl Update {
    /// Refuses fields that clients may not set.
    pub(super) fn check(&self, account: &str) -> Result<(), KeyCode> {
        if self.user_id.as_ref().is_some_and(|id| !id.is(account)) {
            return Err(KeyCode::Unauthorized);
        }
        let server_only = self.remaining.is_some()
            || self.refill_amount.is_some()
            || self.refill_interval.is_some()
            || self.rate_limit_time_window.is_some()
            || self.rate_limit_max.is_some()
            || self.rate_limit_enabled.is_some()
            || self.permissions.is_some();
        if server_only {
            return Err(KeyCode::ServerOnly);
        }
        Ok(())
    }

    /// Returns the metadata to set, which `Some(None)` removes. Where keys have no metadata the
    /// field is ignored, as the original does.
    pub(super) fn metadata(&self, enabled: bool) -> Result<Option<Option<Metadata>>, Refused> {
        match &self.metadata {
            Some(given) if enabled => {
                let object = given.as_ref().map(object).transpose()?;
                Ok(Some(object))
            }
            _ => Ok(None),
        }
    }
}

fn object(value: &Value) -> Result<Metadata, Refused> {
    match value {
        Value::Object(object) => Ok(Metadata::new(object.clone())?),
        _ => Err(KeyCode::InvalidMetadata.into()),
    }
}

impl Seconds {
    pub(super) const fn end(self) -> KeyEnd {
        KeyEnd::In(self.0)
    }
}

impl TryFrom<f64> for Seconds {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Self, Self::Error> {
        // Longer than any key may last, and short enough for every clock.
        const MAX_SECONDS: f64 = 1e10;
        if seconds >= 1.0 {
            Ok(Self(Duration::from_secs_f64(seconds.min(MAX_SECONDS))))
        } else {
            Err("expected a number of seconds of at least 1")
        }
    }
}

impl TryFrom<f64> for NotNegative {
    type Error = &'static str;

    fn try_from(number: f64) -> Result<Self, Self::Error> {
        if number >= 0.0 {
            Ok(Self)
        } else {
            Err("expected a number of at least 0")
        }
    }
}

impl TryFrom<f64> for AtLeastOne {
    type Error = &'static str;

    fn try_from(number: f64) -> Result<Self, Self::Error> {
        if number >= 1.0 {
            Ok(Self)
        } else {
            Err("expected a number of at least 1")
        }
    }
}

impl Coerced {
    fn is(&self, text: &str) -> bool {
        match self {
            Self::Text(own) => own == text,
            Self::Number(number) => number.to_string() == text,
        }
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let value = Value::deserialize(deserializer)?;
        let read = match &value {
            Value::String(text) => text.parse(),
            _ => ResourcePermissions::deserialize(&value),
        };
        read.map(Self).map_err(D::Error::custom)
    }
}

/// Returns the id of a key; a text that is no id is refused as that of a key that does not exist.
pub(super) fn key_id(text: &str) -> Result<model::LicenseId, KeyCode> {
    text.parse().map_err(|_| KeyCode::KeyNotFound)
}
