//! Queries of usage and of calls, on the wire.

use std::fmt;
use std::str::FromStr;

use model::usage::UsageField;
use model::{AppName, Currency, LicenseId, Money, Timestamp};
use schemars::JsonSchema;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The fields to group usage by, each at most once: `license,day`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageBy(pub Vec<UsageField>);

/// The reason why a text is not a [`UsageBy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseUsageByError {
    /// A word is not a field.
    #[error(
        "`{0}` is not a field of usage: use license, app, route, method, status, outcome, mode, plan, day or hour"
    )]
    Unknown(String),
    /// A field stands twice.
    #[error("`{0}` stands twice")]
    Twice(String),
}

/// A selection of usage, and its groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageParameters {
    /// Only calls that this license pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<LicenseId>,
    /// Only calls to this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// Only calls that came at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only calls that came before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// The fields to group by.
    #[serde(default, skip_serializing_if = "UsageBy::is_empty")]
    #[schemars(with = "String")]
    pub by: UsageBy,
}

/// A selection of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallQuery {
    /// Only calls that this license pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<LicenseId>,
    /// Only calls to this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// Only calls that began at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only calls that began before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// The largest number of calls: of a page 1 to 1,000, of a stream any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The format. `jsonl`: all matches as a stream, one JSON object per line; absent: what `Accept` asks for, else a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A selection of calls to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowQuery {
    /// Only calls that this license pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<LicenseId>,
    /// Only calls to this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// Only calls that began at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only calls that began before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// The largest number of calls of a page; 1 to 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The `next` of the page before; absent: from the oldest record on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Calls that were closed since the page before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Followed{T}")]
pub struct FollowedCalls<T> {
    /// The calls: those of one worker of a gate in the order in which they were closed.
    pub items: Vec<T>,
    /// The `cursor` of the page that comes next, now or later; present on every page.
    pub next: String,
    /// Whether there may be more calls to read at once, even if `items` is empty; `false`: come back later.
    pub more: bool,
}

/// A call as it is answered. Its fields are texts where the domain has types: a client shows values that it does not know yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Call {
    /// The identity: a UUID.
    pub call_id: String,
    /// The license that pays; `null` on routes that are open to all.
    pub license_id: Option<String>,
    /// The app.
    pub app: String,
    /// The declared path of the route.
    pub route: String,
    /// The request method.
    pub method: String,
    /// The status sent to the caller; 0: none was.
    pub status: u16,
    /// The outcome.
    pub outcome: String,
    /// The mode of spending.
    pub mode: String,
    /// Whether the call is billed.
    pub billable: bool,
    /// The units of work that the call used.
    pub units: u64,
    /// The billed ones of these units.
    #[serde(default)]
    pub billed_units: u64,
    /// The price of the billed units, gross.
    #[serde(default)]
    pub amount: Money,
    /// The currency of the amount; `null`: the call has no plan.
    #[serde(default)]
    pub currency: Option<Currency>,
    /// The name of the plan.
    pub plan: Option<String>,
    /// The payload bytes of the request.
    pub request_bytes: u64,
    /// The payload bytes of the response.
    pub response_bytes: u64,
    /// The time from the request head to the end, in microseconds.
    pub duration_us: u64,
    /// The part of `duration_us` that the upstream took, in microseconds.
    pub upstream_us: u64,
    /// The number of connections to the upstream that were tried.
    pub attempts: u8,
    /// The time at which it came in.
    pub started_at: Timestamp,
    /// The label of the gate.
    pub node: String,
    /// The reason why it was refused, or the limit that it went beyond.
    #[serde(default)]
    pub refusal: Option<String>,
    /// The number of calls that the record stands for; above 1 for refusals in a flood.
    #[serde(default)]
    pub calls: u32,
    /// Whether the app is in test mode.
    #[serde(default)]
    pub test: bool,
    /// The reason why the units that the upstream named could not be read: `empty`, `several`, `negative`, `fraction` or `not_a_number`.
    #[serde(default)]
    pub units_unreadable: Option<String>,
}

// === impl UsageBy ===

impl UsageBy {
    /// Returns whether everything is summed up in one group.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for UsageBy {
    type Err = ParseUsageByError;

    fn from_str(text: &str) -> Result<Self, ParseUsageByError> {
        let mut fields = Vec::new();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            let deserializer: StrDeserializer<'_, ValueError> = word.into_deserializer();
            let clipped = || model::quoted(word, 40);
            let field = UsageField::deserialize(deserializer)
                .map_err(|_| ParseUsageByError::Unknown(clipped()))?;
            if fields.contains(&field) {
                return Err(ParseUsageByError::Twice(clipped()));
            }
            fields.push(field);
        }
        Ok(Self(fields))
    }
}

impl fmt::Display for UsageBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, field) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let word = serde_json::to_value(field).map_err(|_| fmt::Error)?;
            write!(f, "{comma}{}", word.as_str().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl Serialize for UsageBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UsageBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_survive_their_words_and_doubles_are_refused() {
        let by: UsageBy = "license,day,status".parse().expect("valid");
        assert_eq!(
            by.0,
            [UsageField::License, UsageField::Day, UsageField::Status]
        );
        assert_eq!(by.to_string(), "license,day,status");
        assert_eq!("".parse(), Ok(UsageBy::default()));
        assert!("license,license".parse::<UsageBy>().is_err());
        assert!("colour".parse::<UsageBy>().is_err());
    }
}
