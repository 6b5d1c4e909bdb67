//! The body of a problem (RFC 9457).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The body of a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProblemBody {
    /// The type, always `about:blank`: `code` tells the kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The sentence on the kind of problem.
    pub title: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The word for the kind of problem.
    pub code: String,
    /// The sentence on this case.
    pub detail: String,
    /// The field of the request that the problem is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}
