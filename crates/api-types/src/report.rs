//! Questions about usage and calls.

use std::fmt;
use std::str::FromStr;

use model::usage::UsageField;
use model::{AppName, Currency, LicenseId, Money, Timestamp};
use schemars::JsonSchema;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Fields to group usage by, each at most once: `license,day`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageBy(pub Vec<UsageField>);

/// Why a text is not a [`UsageBy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseUsageByError {
    /// Not a field.
    #[error(
        "`{0}` is not a field of usage: use license, app, route, method, status, outcome, mode, plan, day or hour"
    )]
    Unknown(String),
    /// The same field twice.
    #[error("`{0}` stands twice")]
    Twice(String),
}

/// Which usage is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageParameters {
    /// Only this license.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<LicenseId>,
    /// Only this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// Only calls that came at or after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only calls that came before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// By what to group.
    #[serde(default, skip_serializing_if = "UsageBy::is_empty")]
    #[schemars(with = "String")]
    pub by: UsageBy,
}

/// Which calls are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallQuery {
    /// Only this license.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<LicenseId>,
    /// Only this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// Only calls that began at or after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only calls that began before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Calls at most: of a page 1 to 1,000, of a stream any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// `jsonl`: all matches as a stream, one JSON object per line; absent: what `Accept` asks for, else a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// What `next` of the page before said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Which calls are followed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowQuery {
    /// Only this license.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<LicenseId>,
    /// Only this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// Only calls that began at or after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only calls that began before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Calls of a page at most; 1 to 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// What `next` of the page before said; absent: from the oldest record on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Calls that were closed since the page before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Followed{T}")]
pub struct FollowedCalls<T> {
    /// The calls: those of one worker of a gate in the order in which they were closed.
    pub items: Vec<T>,
    /// Keep it, and give it as `cursor` for what comes next, now or later. It is there on every page.
    pub next: String,
    /// Whether there may be more to read at once, even where no items are; `false`: come back later.
    pub more: bool,
}

/// One call as it is answered. Texts where the domain has types: a client shows what it does not know yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Call {
    /// Identity: a UUID.
    pub call_id: String,
    /// The license that pays; `null` on routes that are open to all.
    pub license_id: Option<String>,
    /// The app.
    pub app: String,
    /// Declared path of the route.
    pub route: String,
    /// Request method.
    pub method: String,
    /// Status sent to the caller; 0: none was.
    pub status: u16,
    /// How it ended.
    pub outcome: String,
    /// Way of spending.
    pub mode: String,
    /// Whether it is billed.
    pub billable: bool,
    /// Units of work that it used.
    pub units: u64,
    /// Those of them that are billed.
    #[serde(default)]
    pub billed_units: u64,
    /// Their price, gross.
    #[serde(default)]
    pub amount: Money,
    /// The currency of the amount; `null`: it has no plan.
    #[serde(default)]
    pub currency: Option<Currency>,
    /// The plan's name.
    pub plan: Option<String>,
    /// Payload bytes of the request.
    pub request_bytes: u64,
    /// Payload bytes of the response.
    pub response_bytes: u64,
    /// Time from request head to end, in microseconds.
    pub duration_us: u64,
    /// Time that the upstream took of it, in microseconds.
    pub upstream_us: u64,
    /// Connections to the upstream that were tried.
    pub attempts: u8,
    /// When it came in.
    pub started_at: Timestamp,
    /// The label of the gate.
    pub node: String,
    /// Why it was refused, or which limit it went beyond.
    #[serde(default)]
    pub refusal: Option<String>,
    /// Calls that the record stands for: above 1 for refusals in a flood.
    #[serde(default)]
    pub calls: u32,
    /// Whether its app is in test mode.
    #[serde(default)]
    pub test: bool,
    /// Why the units that the upstream named could not be read: `empty`, `several`, `negative`, `fraction` or `not_a_number`.
    #[serde(default)]
    pub units_unreadable: Option<String>,
}

// === impl UsageBy ===

impl UsageBy {
    /// Whether everything is summed up in one group.
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
