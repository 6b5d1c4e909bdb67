//! Credits and debits of what is left, on the wire.

use model::MAX_SAFE_INTEGER;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::license::Balance;

/// A request to credit or debit units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Adjust {
    /// The number of units.
    #[schemars(range(min = 1, max = MAX_SAFE_INTEGER))]
    pub units: u64,
    /// The reason, for the audit log: 1 to 200 bytes without control characters.
    pub reason: String,
}

/// The answer to a credit or a debit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Adjusted {
    /// The units that were added or taken. A debit takes what is left: fewer than were asked for,
    /// where the others are spent, or leased to gates that have not used them yet.
    pub units: u64,
    /// What is left after it.
    pub balance: Balance,
}
