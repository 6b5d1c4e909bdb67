//! Requests to the ledger and its answers, on the wire.

use std::path::PathBuf;

use model::{AppName, InstanceId, LicenseId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The header that holds the number of records that an answer lacks: records of earlier starts are
/// still being read, and others the disk of the journal has not taken in time.
pub const RECORDS_BEHIND: &str = "tallygate-records-behind";

/// The result of counting everything again; all numbers are calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verification {
    /// Whether every call is there once, and nothing else is wrong.
    pub clean: bool,
    /// The calls that were taken into the journal.
    pub accepted: u64,
    /// The calls in the rollups.
    pub stored: u64,
    /// The calls that are closed and not rolled up yet.
    pub pending: u64,
    /// The calls that should be there and are not.
    pub lost: u64,
    /// The calls that are there more than once.
    pub duplicated: u64,
    /// The faults, and where they are.
    pub problems: Vec<Finding>,
}

/// A fault in the records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The word of the fault.
    pub fault: String,
    /// The instance, if the fault is in the records of one.
    pub instance: Option<InstanceId>,
    /// The lane, if the fault is in the records of one.
    pub lane: Option<u32>,
    /// The file, if the fault is in one.
    pub file: Option<String>,
    /// The first and the last record, if the fault is in a range of records.
    pub range: Option<(u64, u64)>,
    /// A sentence on what was found, for people.
    pub detail: String,
    /// Whether a rebuild may heal it.
    pub rebuild_heals: bool,
}

/// A request to ship records into the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ship {
    /// The journal directory of a dead instance; absent: the pending records of this gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
}

/// The result of shipping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shipped {
    /// Whether records were shipped that were not in the store before.
    pub anew: bool,
    /// The records of this gate that are closed and not rolled up: those of calls that ended meanwhile.
    pub pending: u64,
}

/// The result of a rebuild.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rebuilt {
    /// The number of files in the new manifest.
    pub files: usize,
    /// The files that were written again from the journal.
    pub remade: Vec<String>,
    /// The files that are gone or changed and could not be made again: restore them from a copy.
    pub missing: Vec<String>,
    /// The number of rows of the new rollups.
    pub rows: usize,
}

/// A selection of calls to export, and its format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportQuery {
    /// The format: `jsonl`, `csv` or `parquet`.
    pub format: String,
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
}
