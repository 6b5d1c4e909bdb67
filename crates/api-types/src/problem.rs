//! The body of a problem (RFC 9457).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The body of a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProblemBody {
    /// `about:blank`: the kind is told by `code`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The sentence of the kind.
    pub title: String,
    /// The HTTP status again.
    pub status: u16,
    /// The word of the kind.
    pub code: String,
    /// This case.
    pub detail: String,
    /// The field of the request that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}
