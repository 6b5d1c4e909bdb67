//! Lines of the audit log on the wire.

use model::{AccountName, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which lines are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Only things of this account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// Only what was done by this one: `operator`, `gate`, `unknown`, or an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Only this action, as in `license.create`; with a dot at its end all of that kind (`license.`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Only what was done to this id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Only at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Lines of a page at most; 1 to 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// What `next` of the page before said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A line of the audit log as it is answered. Texts where the domain has types: a client shows what it does not know yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditLine {
    /// Identity.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// The account whose things it is about; `null`: none, or not known.
    pub account: Option<AccountName>,
    /// Who: `operator` (on the gate's own host), `gate`, `unknown`, or the id of a management key or a license.
    pub actor: String,
    /// From where; `null` on the gate's own host.
    pub address: Option<String>,
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub subject: String,
    /// What was there before and is not any more.
    pub before: Option<Value>,
    /// What is there now and was not before.
    pub after: Option<Value>,
    /// How often, where a flood was folded into one line; else 1.
    pub count: u32,
}
