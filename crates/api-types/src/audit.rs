//! Lines of the audit log on the wire.

use model::{AccountName, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A selection of lines of the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Only lines on things of this account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// Only lines on actions of this actor: `operator`, `gate`, `unknown`, or an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Only lines on this action, as in `license.create`; with a dot at its end, on all actions of that kind (`license.`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Only lines on the thing of this id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Only lines of this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only lines from before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// The largest number of lines of a page; 1 to 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A line of the audit log as it is answered. Its fields are texts where the domain has types: a client shows values that it does not know yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditLine {
    /// The identity.
    pub id: String,
    /// The time of the action.
    pub at: Timestamp,
    /// The account whose things it is about; `null`: none, or not known.
    pub account: Option<AccountName>,
    /// The actor: `operator` (on the gate's own host), `gate`, `unknown`, or the id of a management key or a license.
    pub actor: String,
    /// The address of the actor; `null` on the gate's own host.
    pub address: Option<String>,
    /// The action, as in `license.create`.
    pub action: String,
    /// The id or name of the thing that it was done to.
    pub subject: String,
    /// The values before the action, of what it changed.
    pub before: Option<Value>,
    /// The values after the action, of what it changed.
    pub after: Option<Value>,
    /// The number of times, where a flood was folded into one line; else 1.
    pub count: u32,
}
