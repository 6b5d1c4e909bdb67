//! API keys on the wire of the native API.
//!
//! Requests also take the names and units of better-auth for what that protocol keeps from its
//! clients, so that a server which used it can send the same fields here.

use std::borrow::Cow;
use std::fmt;

use model::{
    AccountName, ApiKeyPrefix, AppName, Digits, Interval, LicenseId, Metadata, RateLimit, Refill,
    ResourcePermissions, Timestamp,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use model::update::nullable;

/// A request to create an API key. No field is required.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CreateApiKey {
    /// The app that it opens; absent: that of the management key, or every app of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// The account, where the caller may choose it; absent: the seller of the app, or `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// The user that it is given to, by the seller's own name for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A label for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The text that the key begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<ApiKeyPrefix>,
    /// Data that the owner keeps with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// The actions that it permits, by resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<ResourcePermissions>,
    /// The time at which it ends; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The time after which it ends; instead of `expires_at`.
    #[serde(alias = "expiresIn", skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Lasting<1>>,
    /// The units given to start with; absent: not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = model::MAX_SAFE_INTEGER))]
    pub remaining: Option<u64>,
    /// The refill of the units, as in `5/1h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refill: Option<Refill>,
    /// The units of one refill; with `refill_interval`, instead of `refill`.
    #[serde(alias = "refillAmount", skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = model::MAX_SAFE_INTEGER))]
    pub refill_amount: Option<u64>,
    /// The time between refills; with `refill_amount`, instead of `refill`.
    #[serde(alias = "refillInterval", skip_serializing_if = "Option::is_none")]
    pub refill_interval: Option<Lasting<1_000>>,
    /// The rate limit, as in `10/1d`; absent: that of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// The calls of a rate window; alone or with `rate_limit_window`, instead of `rate_limit`.
    #[serde(alias = "rateLimitMax", skip_serializing_if = "Option::is_none")]
    pub rate_limit_max: Option<u32>,
    /// The length of a rate window; alone or with `rate_limit_max`, instead of `rate_limit`.
    #[serde(alias = "rateLimitTimeWindow", skip_serializing_if = "Option::is_none")]
    pub rate_limit_window: Option<Lasting<1_000>>,
    /// Whether the rate limit holds; absent: it does.
    #[serde(alias = "rateLimitEnabled", skip_serializing_if = "Option::is_none")]
    pub rate_limit_enabled: Option<bool>,
}

/// A change of an API key; absent fields stay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeApiKey {
    /// The name; `null`: none.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub name: Option<Option<String>>,
    /// Whether it may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The time at which it ends; `null`: never.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Option<Timestamp>>,
    /// The time from now after which it ends; instead of `expires_at`.
    #[serde(alias = "expiresIn", skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Lasting<1>>,
    /// Data that the owner keeps with it; `null`: none.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Option<Metadata>>,
    /// The actions that it permits, by resource; `null`: none.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Option<ResourcePermissions>>,
    /// The units that are left; `null`: not counted.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = model::MAX_SAFE_INTEGER))]
    pub remaining: Option<Option<u64>>,
    /// The refill of the units; `null`: none.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    pub refill: Option<Option<Refill>>,
    /// The units of one refill; with `refill_interval`, instead of `refill`.
    #[serde(alias = "refillAmount", skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = model::MAX_SAFE_INTEGER))]
    pub refill_amount: Option<u64>,
    /// The time between refills; with `refill_amount`, instead of `refill`.
    #[serde(alias = "refillInterval", skip_serializing_if = "Option::is_none")]
    pub refill_interval: Option<Lasting<1_000>>,
    /// The rate limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// The calls of a rate window; alone or with `rate_limit_window`, instead of `rate_limit`.
    #[serde(alias = "rateLimitMax", skip_serializing_if = "Option::is_none")]
    pub rate_limit_max: Option<u32>,
    /// The length of a rate window; alone or with `rate_limit_max`, instead of `rate_limit`.
    #[serde(alias = "rateLimitTimeWindow", skip_serializing_if = "Option::is_none")]
    pub rate_limit_window: Option<Lasting<1_000>>,
    /// Whether the rate limit holds.
    #[serde(alias = "rateLimitEnabled", skip_serializing_if = "Option::is_none")]
    pub rate_limit_enabled: Option<bool>,
}

/// A length of time: text such as `1h`, or a number of which `PER_SECOND` make a second, rounded up
/// to whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Lasting<const PER_SECOND: u64>(pub Interval);

/// A request to verify a key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyApiKey {
    /// The key.
    pub key: String,
    /// The actions that it must permit, by resource; absent: none in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<ResourcePermissions>,
}

/// The result of a verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerifiedApiKey {
    /// Whether the key is valid.
    pub valid: bool,
    /// The reason why the key is not valid: `unknown`, `disabled`, `expired`, `not_permitted`, `exhausted` or `rate_limited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The number of seconds after which another try may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The way in which a valid key was made: as an `api_key`, or with a `license`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The key after this use; a key that was made with a license shows what an API key would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ApiKey>,
}

/// The result of a deletion of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeletedApiKeys {
    /// The number of keys that were deleted.
    pub deleted: u64,
}

/// An API key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKey {
    /// The identity, also that of its license.
    pub id: LicenseId,
    /// The key, shown when it is made and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The account that owns it.
    pub account: AccountName,
    /// The app that it opens; `*`: every app of the account.
    pub app: AppName,
    /// The user that it was given to.
    pub user: Option<String>,
    /// A label for people.
    pub name: Option<String>,
    /// The first characters of the key.
    pub start: String,
    /// The text that the key was asked to begin with.
    pub prefix: Option<ApiKeyPrefix>,
    /// Whether it may be used.
    pub enabled: bool,
    /// The time at which it ends.
    pub expires_at: Option<Timestamp>,
    /// Data that the owner keeps with it.
    pub metadata: Option<Metadata>,
    /// The actions that it permits, by resource.
    pub permissions: Option<ResourcePermissions>,
    /// The units that are left; `null`: not counted.
    pub remaining: Option<u64>,
    /// The text of `remaining`, where that is above 9007199254740991.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_text: Option<Digits>,
    /// The refill of the units.
    pub refill: Option<Refill>,
    /// The time of the last refill.
    pub last_refill_at: Option<Timestamp>,
    /// The rate limit.
    pub rate_limit: Option<RateLimit>,
    /// Whether the rate limit holds.
    pub rate_limit_enabled: bool,
    /// The number of calls that passed in the present window.
    pub request_count: u32,
    /// The time of its last use.
    pub last_request: Option<Timestamp>,
    /// The time at which it was made.
    pub created_at: Timestamp,
    /// The time of its last change or use.
    pub updated_at: Timestamp,
}

impl<const PER_SECOND: u64> Lasting<PER_SECOND> {
    fn of(number: f64) -> Option<Self> {
        let seconds = (number / PER_SECOND as f64).ceil();
        // A float beyond the range of the integer becomes its end, which is no interval.
        (seconds >= 1.0)
            .then(|| Interval::from_seconds(seconds as u64))
            .flatten()
            .map(Self)
    }
}

impl<'de, const PER_SECOND: u64> Deserialize<'de> for Lasting<PER_SECOND> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        let unit = if PER_SECOND == 1 {
            "seconds"
        } else {
            "milliseconds"
        };
        let wrong = || {
            let text = format!("write a duration such as `1h`, or a number of {unit} above 0");
            serde::de::Error::custom(text)
        };
        match Written::deserialize(deserializer).map_err(|_| wrong())? {
            Written::Number(number) => Self::of(number).ok_or_else(wrong),
            Written::Text(text) => text.parse().map(Self).map_err(|_| wrong()),
        }
    }
}

impl<const PER_SECOND: u64> JsonSchema for Lasting<PER_SECOND> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Lasting{PER_SECOND}").into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = generator.subschema_for::<Interval>();
        json_schema!({"anyOf": [text, {"type": "number", "exclusiveMinimum": 0}]})
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for VerifyApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyApiKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_and_units_of_better_auth_are_understood() {
        let ours: CreateApiKey = serde_json::from_str(
            r#"{"refill_amount":5,"refill_interval":"1h","rate_limit_max":2,"rate_limit_window":"1m","expires_in":"1d"}"#,
        )
        .expect("valid");
        let theirs: CreateApiKey = serde_json::from_str(
            r#"{"refillAmount":5,"refillInterval":3600000,"rateLimitMax":2,"rateLimitTimeWindow":59001,"expiresIn":86400}"#,
        )
        .expect("valid");
        assert_eq!(ours, theirs);
        for wrong in ["0", "-1", "1e99", "\"1\"", "\"1y\"", "{}", "null_"] {
            let text = format!(r#"{{"refill_interval":{wrong}}}"#);
            assert!(
                serde_json::from_str::<CreateApiKey>(&text).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_key_never_shows_in_debug_output() {
        let verify = VerifyApiKey {
            key: "very-secret".to_owned(),
            permissions: None,
        };
        assert!(!format!("{verify:?}").contains("very-secret"));
    }
}
