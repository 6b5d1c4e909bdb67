//! What is asked of the ledger, and what it answers.

use std::path::PathBuf;

use model::{AppName, InstanceId, LicenseId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The header of an answer that lacks records: how many. Those of earlier starts are still being read, others the disk of the
/// journal has not taken in time.
pub const RECORDS_BEHIND: &str = "tallygate-records-behind";

/// The result of counting everything again; all numbers are calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verification {
    /// Whether every call is there once, and nothing else is wrong.
    pub clean: bool,
    /// Calls that were taken into the journal.
    pub accepted: u64,
    /// Calls in the rollups.
    pub stored: u64,
    /// Calls closed and not rolled up yet.
    pub pending: u64,
    /// Calls that should be there and are not.
    pub lost: u64,
    /// Calls that are there more than once.
    pub duplicated: u64,
    /// What is wrong, and where.
    pub problems: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The word for it.
    pub fault: String,
    /// The instance, where it is one's.
    pub instance: Option<InstanceId>,
    /// The lane, where it is one's.
    pub lane: Option<u32>,
    /// The file, where it is one's.
    pub file: Option<String>,
    /// The first and the last record, where it is about a range.
    pub range: Option<(u64, u64)>,
    /// What was found, for people.
    pub detail: String,
    /// Whether a rebuild may heal it.
    pub rebuild_heals: bool,
}

/// What to ship.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ship {
    /// The journal directory of a dead instance; absent: what is pending here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
}

/// What was shipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shipped {
    /// Whether something came in that was not there before.
    pub anew: bool,
    /// Records of this gate that are closed and not rolled up: those of calls that ended meanwhile.
    pub pending: u64,
}

/// What was made anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rebuilt {
    /// Files in the new manifest.
    pub files: usize,
    /// Files that were written again from the journal.
    pub remade: Vec<String>,
    /// Files that are gone or changed and could not be made again: restore them from a copy.
    pub missing: Vec<String>,
    /// Rows of the new rollups.
    pub rows: usize,
}

/// Which calls to export, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportQuery {
    /// `jsonl`, `csv` or `parquet`.
    pub format: String,
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
}
