//! Usage: sums over calls, their keys, and the rows of reports.

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exact::Digits;
use crate::id::{LicenseId, PlanRevisionId};
use crate::money::{Currency, Money};
use crate::name::{AccountName, AppName, PlanName};
use crate::outcome::{Method, Mode, Outcome};
use crate::time::Timestamp;

/// The key of a rollup row: what its calls have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UsageKey {
    /// The account that sells the app.
    pub account: AccountName,
    /// The app.
    pub app: AppName,
    /// The license that pays; `None`: calls of open routes.
    pub license_id: Option<LicenseId>,
    /// The declared path of the route.
    pub route: String,
    /// The method.
    pub method: Method,
    /// The status; 0: none was sent.
    pub status: u16,
    /// The outcome.
    pub outcome: Outcome,
    /// The mode.
    pub mode: Mode,
    /// Whether the app was in test mode.
    pub test: bool,
    /// The plan and its revision; `None`: no plan.
    pub plan: Option<(PlanName, PlanRevisionId)>,
    /// The currency that the plan prices in.
    pub currency: Option<Currency>,
    /// The start of the quarter of an hour (UTC) in which the calls began; in rollups of version 1,
    /// of the hour.
    pub start: Timestamp,
}

/// The sums over the calls of a rollup row, or of a group of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "WrittenSums", into = "WrittenSums")]
pub struct UsageSums {
    /// Calls.
    pub calls: u64,
    /// Calls that are billed.
    pub billable_calls: u64,
    /// Units of billed calls.
    pub units: u64,
    /// Price of those units, gross.
    pub amount: Money,
    /// Payload bytes of requests.
    pub request_bytes: u64,
    /// Payload bytes of responses.
    pub response_bytes: u64,
}

/// The form of [`UsageSums`] in JSON.
#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "UsageSums")]
struct WrittenSums {
    /// Calls.
    calls: u64,
    /// Calls that are billed.
    billable_calls: u64,
    /// Units of billed calls.
    units: u64,
    /// The same as text, where it is above 9007199254740991.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    units_text: Option<Digits>,
    /// Price of those units, gross.
    amount: Money,
    /// Payload bytes of requests.
    request_bytes: u64,
    /// The same as text, where it is above 9007199254740991.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_bytes_text: Option<Digits>,
    /// Payload bytes of responses.
    response_bytes: u64,
    /// The same as text, where it is above 9007199254740991.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response_bytes_text: Option<Digits>,
}

impl From<UsageSums> for WrittenSums {
    fn from(sums: UsageSums) -> Self {
        Self {
            calls: sums.calls,
            billable_calls: sums.billable_calls,
            units: sums.units,
            units_text: Digits::beyond(sums.units),
            amount: sums.amount,
            request_bytes: sums.request_bytes,
            request_bytes_text: Digits::beyond(sums.request_bytes),
            response_bytes: sums.response_bytes,
            response_bytes_text: Digits::beyond(sums.response_bytes),
        }
    }
}

impl From<WrittenSums> for UsageSums {
    fn from(written: WrittenSums) -> Self {
        Self {
            calls: written.calls,
            billable_calls: written.billable_calls,
            units: written.units,
            amount: written.amount,
            request_bytes: written.request_bytes,
            response_bytes: written.response_bytes,
        }
    }
}

impl UsageSums {
    /// Adds other sums to these, kept within range.
    pub fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.billable_calls = self.billable_calls.saturating_add(other.billable_calls);
        self.units = self.units.saturating_add(other.units);
        self.amount = self.amount.saturating_add(other.amount);
        self.request_bytes = self.request_bytes.saturating_add(other.request_bytes);
        self.response_bytes = self.response_bytes.saturating_add(other.response_bytes);
    }
}

/// A field by which usage can be grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UsageField {
    /// The app.
    App,
    /// The day (UTC).
    Day,
    /// The hour (UTC).
    Hour,
    /// The license.
    License,
    /// The method.
    Method,
    /// The mode.
    Mode,
    /// The outcome.
    Outcome,
    /// The plan's name.
    Plan,
    /// The route.
    Route,
    /// The status.
    Status,
}

/// The filter and the grouping of a usage report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageQuery {
    /// The only account; `None`: all.
    pub account: Option<AccountName>,
    /// The only app; `None`: all.
    pub app: Option<AppName>,
    /// The only license; `None`: all.
    pub license_id: Option<LicenseId>,
    /// The earliest start of calls, inclusive.
    pub from: Option<Timestamp>,
    /// The end of the starts of calls, exclusive.
    pub to: Option<Timestamp>,
    /// The fields of a group, each at most once. Amounts of different currencies are never added
    /// up.
    pub by: Vec<UsageField>,
}

/// A row of a usage report: the fields of its group and the sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageRow {
    /// Start of the day, where grouped by day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<Timestamp>,
    /// Start of the hour, where grouped by hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hour: Option<Timestamp>,
    /// The app, where grouped by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// The license, where grouped by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_id: Option<LicenseId>,
    /// The route, where grouped by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The method, where grouped by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// The status, where grouped by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The outcome, where grouped by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The mode, where grouped by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The plan's name, where grouped by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// Calls, units, amount.
    #[serde(flatten)]
    pub sums: UsageSums,
    /// The currency of the amount; `None` where nothing was priced.
    pub currency: Option<Currency>,
}

impl UsageRow {
    /// Returns the row of the group that a key belongs to, without sums.
    #[must_use]
    pub fn group(key: &UsageKey, by: &[UsageField]) -> Self {
        let mut row = Self {
            currency: key.currency,
            ..Self::default()
        };
        for field in by {
            match field {
                UsageField::App => row.app = Some(key.app.clone()),
                UsageField::Day => row.day = Some(key.start.day()),
                UsageField::Hour => row.hour = Some(key.start.hour()),
                UsageField::License => row.license_id = key.license_id,
                UsageField::Method => row.method = Some(key.method),
                UsageField::Mode => row.mode = Some(key.mode),
                UsageField::Outcome => row.outcome = Some(key.outcome),
                UsageField::Plan => row.plan = key.plan.as_ref().map(|(name, _)| name.clone()),
                UsageField::Route => row.route = Some(key.route.clone()),
                UsageField::Status => row.status = Some(key.status),
            }
        }
        row
    }

    /// Returns the order of two groups: by their fields as the query lists them, then by currency,
    /// none first.
    #[must_use]
    pub fn order(&self, other: &Self, by: &[UsageField]) -> Ordering {
        let field = |field: &UsageField| match field {
            UsageField::App => self.app.cmp(&other.app),
            UsageField::Day => self.day.cmp(&other.day),
            UsageField::Hour => self.hour.cmp(&other.hour),
            UsageField::License => self.license_id.cmp(&other.license_id),
            UsageField::Method => self.method.cmp(&other.method),
            UsageField::Mode => self.mode.cmp(&other.mode),
            UsageField::Outcome => self.outcome.cmp(&other.outcome),
            UsageField::Plan => self.plan.cmp(&other.plan),
            UsageField::Route => self.route.cmp(&other.route),
            UsageField::Status => self.status.cmp(&other.status),
        };
        let differing = by.iter().map(field).find(|order| order.is_ne());
        differing.unwrap_or_else(|| self.currency.cmp(&other.currency))
    }

    /// Merges rows of several reports: sorts them and adds up those of one group.
    #[must_use]
    pub fn merge(mut rows: Vec<Self>, by: &[UsageField]) -> Vec<Self> {
        rows.sort_by(|one, other| one.order(other, by));
        rows.dedup_by(|row, before| {
            let same = row.order(before, by).is_eq();
            if same {
                before.sums.add(&row.sums);
            }
            same
        });
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_a_double_does_not_hold_are_text_too() {
        let row = UsageRow {
            sums: UsageSums {
                calls: 2,
                units: (1 << 53) + 1,
                response_bytes: (1 << 53) - 1,
                ..UsageSums::default()
            },
            ..UsageRow::default()
        };
        let json = serde_json::to_value(&row).expect("plain data");
        assert_eq!(json["units"], 9_007_199_254_740_993_u64);
        assert_eq!(json["units_text"], "9007199254740993");
        assert_eq!(json.get("response_bytes_text"), None);
        let read: UsageRow = serde_json::from_value(json).expect("its own form");
        assert_eq!(read, row);
    }
}
