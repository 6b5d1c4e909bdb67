//! The answers other than success that a request of the native API can have, for its document.

use axum::http::StatusCode;
use schemars::Schema;
use serde_json::{Map, Value, json};

use super::{Needs, Operation};
use crate::http::problem::Code;

/// Returns the refusals of a request, each by its status.
pub(super) fn refusals(
    method: &str,
    operation: &Operation,
    parameters: &[Value],
) -> Vec<(String, Value)> {
    if matches!(operation.needs, Needs::Nothing) {
        let response = json!({"description": "The head of the request cannot be read"});
        return vec![("400".to_owned(), response)];
    }
    let names_a_thing = |parameter: &Value| {
        ["app", "license", "key"]
            .iter()
            .any(|name| parameter["name"] == *name)
    };
    let body = operation.body.is_some();
    let finds =
        operation.path.is_some() || operation.idempotent || parameters.iter().any(names_a_thing);
    let kinds = [
        (StatusCode::BAD_REQUEST, true),
        (StatusCode::UNAUTHORIZED, true),
        (StatusCode::FORBIDDEN, true),
        (StatusCode::NOT_FOUND, finds),
        (StatusCode::REQUEST_TIMEOUT, body),
        (StatusCode::CONFLICT, method != "get"),
        (StatusCode::PAYLOAD_TOO_LARGE, body),
        (StatusCode::TOO_MANY_REQUESTS, true),
        (StatusCode::INTERNAL_SERVER_ERROR, true),
        (StatusCode::SERVICE_UNAVAILABLE, true),
    ];
    let kinds = kinds.into_iter().filter(|(_, can_be)| *can_be);
    let response = |(status, _): (StatusCode, bool)| {
        let reference = format!("#/components/responses/{}", name(status));
        (status.as_str().to_owned(), json!({ "$ref": reference }))
    };
    kinds.map(response).collect()
}

/// Returns the answers that requests refer to: one for each status of refusals, and one for
/// everything but success.
pub(super) fn responses(problem: &Schema) -> Map<String, Value> {
    let content = json!({"application/problem+json": {"schema": problem}});
    let mut responses = Map::new();
    // A path without the method is no request of the document.
    let codes = Code::ALL
        .iter()
        .filter(|code| **code != Code::MethodUnknown);
    for code in codes {
        let status = code.status();
        let said = format!("`{}`: {}", code.as_str(), code.title());
        let response = responses
            .entry(name(status))
            .or_insert_with(|| json!({ "description": "", "content": content }));
        let before = response["description"].as_str().unwrap_or_default();
        let separator = if before.is_empty() { "" } else { "; " };
        response["description"] = format!("{before}{separator}{said}").into();
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            response["headers"] = json!({"Retry-After": {
                "description": "Seconds until another try may pass",
                "schema": {"type": "integer", "minimum": 1},
            }});
        }
    }
    let any = json!({
        "description": "Everything but success (RFC 9457)",
        "content": content,
    });
    responses.insert("Problem".to_owned(), any);
    responses
}

/// Returns the name of the answers of a status, such as `NotFound`.
fn name(status: StatusCode) -> String {
    let words = status.canonical_reason().unwrap_or("Problem");
    words.split_whitespace().collect()
}
