//! Requests as clients send them. Unknown fields are refused, since a misspelt limit would be no limit.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use axum::http::Uri;
use licensing::KeyEnd;
use model::{ApiKeyPrefix, ApiKeyRule, Metadata, ResourcePermissions};
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use store::{ApiKeyPage, ApiKeySort};

use super::refusal::{KeyCode, Refused};
use crate::http::body::Input;

/// `POST /create`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "BetterAuthCreate")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Create {
    #[serde(default, deserialize_with = "present")]
    config_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) expires_in: Option<Seconds>,
    #[serde(default, deserialize_with = "present")]
    pub(super) prefix: Option<String>,
    #[serde(default)]
    pub(super) metadata: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    pub(super) user_id: Option<Coerced>,
    #[serde(default, deserialize_with = "present")]
    organization_id: Option<Coerced>,
    #[serde(default)]
    remaining: Option<NotNegative>,
    #[serde(default, deserialize_with = "present")]
    refill_amount: Option<AtLeastOne>,
    #[serde(default, deserialize_with = "present")]
    refill_interval: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    rate_limit_time_window: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    rate_limit_max: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    rate_limit_enabled: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    permissions: Option<Permissions>,
}

/// `POST /update`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "BetterAuthUpdate")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Update {
    #[serde(default, deserialize_with = "present")]
    pub(super) config_id: Option<String>,
    pub(super) key_id: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) user_id: Option<Coerced>,
    #[serde(default, deserialize_with = "present")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) enabled: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    pub(super) expires_in: Option<Option<Seconds>>,
    #[serde(default, deserialize_with = "given")]
    pub(super) metadata: Option<Option<Value>>,
    #[serde(default, deserialize_with = "present")]
    remaining: Option<AtLeastOne>,
    #[serde(default, deserialize_with = "present")]
    refill_amount: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    refill_interval: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    rate_limit_time_window: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    rate_limit_max: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    rate_limit_enabled: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    permissions: Option<Option<Permissions>>,
}

/// `POST /verify`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "BetterAuthVerify")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Verify {
    #[serde(default, deserialize_with = "present")]
    pub(super) config_id: Option<String>,
    pub(super) key: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) permissions: Option<Permissions>,
}

/// `POST /delete`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "BetterAuthDelete")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Delete {
    #[serde(default, deserialize_with = "present")]
    pub(super) config_id: Option<String>,
    pub(super) key_id: String,
}

/// `POST /delete-all-expired-api-keys`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "BetterAuthNothing")]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// The query of `GET /get`.
pub(super) struct Show {
    pub(super) id: String,
    pub(super) config_id: Option<String>,
}

/// The query of `GET /list`.
#[derive(Default)]
pub(super) struct List {
    pub(super) limit: Option<u64>,
    pub(super) offset: Option<u64>,
    pub(super) sort: ApiKeySort,
    pub(super) descending: bool,
    pub(super) config_id: Option<String>,
}

/// A length of time in seconds, at least one; a part of one counts.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
pub(super) struct Seconds(Duration);

/// A number that is not negative; only whether it is one matters.
#[derive(Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
struct NotNegative;

/// A number of at least 1; only whether it is one matters.
#[derive(Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
struct AtLeastOne;

/// Text, or a number in its place.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Coerced {
    Text(String),
    Number(serde_json::Number),
}

/// Permissions as an object or, as older clients send them, as the text of one.
#[derive(JsonSchema)]
pub(super) struct Permissions(pub(super) ResourcePermissions);

impl Create {
    /// Refuses what clients may not set.
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
        // Who owns the key is told by who asks. There is one configuration, in which keys belong to accounts.
        let _ = (&self.config_id, &self.organization_id);
        if self.user_id.is_some() {
            return Err(KeyCode::Unauthorized);
        }
        Ok(())
    }

    /// What `metadata` says; what is false in the original's language says nothing.
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
    /// Refuses what clients may not set.
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

    /// What `metadata` is to become. Where keys carry none it is ignored, as the original does.
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

impl Show {
    pub(super) fn read(uri: &Uri) -> Result<Self, Refused> {
        let (mut id, mut config_id) = (None, None);
        for (name, value) in query(uri)? {
            match name.as_str() {
                "id" => id = Some(value),
                "configId" => config_id = Some(value),
                _ => return Err(unknown(&name)),
            }
        }
        let id = id.ok_or_else(|| Refused::invalid("query.id", "expected the id of an API key"))?;
        Ok(Self { id, config_id })
    }
}

impl List {
    /// Keys of a page where the client names no number.
    const LIMIT: u64 = 100;

    pub(super) fn read(uri: &Uri) -> Result<Self, Refused> {
        let mut list = Self::default();
        for (name, value) in query(uri)? {
            let number = || -> Result<u64, Refused> {
                let expected = "expected a whole number of at least 0";
                let parsed = value.parse();
                parsed.map_err(|_| Refused::invalid(&format!("query.{name}"), expected))
            };
            match name.as_str() {
                "limit" => list.limit = Some(number()?),
                "offset" => list.offset = Some(number()?),
                "sortBy" => list.sort = sort(&value)?,
                "sortDirection" => list.descending = descending(&value)?,
                "configId" => list.config_id = Some(value),
                "organizationId" => return Err(KeyCode::OrganizationsUnknown.into()),
                _ => return Err(unknown(&name)),
            }
        }
        Ok(list)
    }

    pub(super) fn page(&self) -> ApiKeyPage {
        ApiKeyPage {
            sort: self.sort,
            descending: self.descending,
            offset: self.offset.unwrap_or(0),
            limit: usize::try_from(self.limit.unwrap_or(Self::LIMIT)).unwrap_or(usize::MAX),
        }
    }
}

fn sort(by: &str) -> Result<ApiKeySort, Refused> {
    Ok(match by {
        "createdAt" | "id" => ApiKeySort::CreatedAt,
        "updatedAt" => ApiKeySort::UpdatedAt,
        "lastRequest" => ApiKeySort::LastRequest,
        "expiresAt" => ApiKeySort::ExpiresAt,
        "name" => ApiKeySort::Name,
        "prefix" => ApiKeySort::Prefix,
        "enabled" => ApiKeySort::Enabled,
        _ => {
            let expected = "expected one of createdAt, updatedAt, lastRequest, expiresAt, name, prefix, enabled, id";
            return Err(Refused::invalid("query.sortBy", expected));
        }
    })
}

fn descending(direction: &str) -> Result<bool, Refused> {
    match direction {
        "asc" => Ok(false),
        "desc" => Ok(true),
        _ => Err(Refused::invalid(
            "query.sortDirection",
            "expected one of asc, desc",
        )),
    }
}

fn query(uri: &Uri) -> Result<Vec<(String, String)>, Refused> {
    let read = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    let axum::extract::Query(pairs) =
        read.map_err(|_| Refused::invalid("query", "expected UTF-8 text"))?;
    for (at, (name, _)) in pairs.iter().enumerate() {
        if pairs[..at].iter().any(|(other, _)| other == name) {
            let field = format!("query.{}", shortened(name));
            return Err(Refused::invalid(&field, "expected once"));
        }
    }
    Ok(pairs)
}

fn unknown(name: &str) -> Refused {
    let field = format!("query.{}", shortened(name));
    Refused::invalid(&field, "unknown parameter")
}

fn shortened(name: &str) -> String {
    model::quoted(name, 80)
}

/// Refuses `null` where the original does.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Tells `null` (`Some(None)`) from absent (`None`, by `default`).
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The id of a key; what cannot be one names none.
pub(super) fn key_id(text: &str) -> Result<model::LicenseId, KeyCode> {
    text.parse().map_err(|_| KeyCode::KeyNotFound)
}

/// A JSON body, or what is wrong with it.
pub(super) async fn read<T: serde::de::DeserializeOwned>(
    body: axum::body::Body,
) -> Result<T, Input> {
    /// No request of this protocol is longer.
    const LIMIT: usize = 64 << 10;
    let Object(request) = crate::http::body::read_json(body, LIMIT).await?;
    Ok(request)
}

/// An object and nothing else: a list would be read as the fields in their order.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}
