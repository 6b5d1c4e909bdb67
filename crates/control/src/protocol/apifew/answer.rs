//! The Result object, which every answer is: `data`, `success_msg`, `error_msg`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{AmbiguousPath, Refusal};
use serde::Serialize;
use serde_json::{Value, json};

use crate::http::body::{Input, InputKind};
use crate::http::fault::{Denied, Fault};

/// The body of every answer. One of the two messages is empty.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ResultObject<T> {
    /// The result of the operation, or the details of the failure.
    data: Option<T>,
    /// The `INFO_*` code of a success; empty for a failure.
    success_msg: &'static str,
    /// The `ERROR_*` code of a failure; empty for a success.
    error_msg: String,
}

/// A success: its code and its `data`.
#[derive(Clone, Debug)]
pub(super) struct Success<T>(pub(super) &'static str, pub(super) T);

/// A failure.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// A refusal that is the same for every protocol.
    Fault(Fault),
    /// A refusal by the rules for licenses.
    Refused {
        /// The refusal.
        refusal: Refusal,
        /// The content of `data`.
        data: Option<Value>,
        /// The HTTP status, usually that of the refusal.
        status: StatusCode,
    },
    /// A refusal by a limit of a license, with the time until it may pass.
    Limited {
        /// The refusal.
        refusal: Refusal,
        /// The time until another try may pass, in seconds.
        retry_after: Option<u64>,
    },
    /// A failure that only this protocol knows.
    Protocol {
        /// The HTTP status.
        status: StatusCode,
        /// The code.
        code: &'static str,
        /// The content of `data`.
        data: Option<Value>,
    },
    /// The failure of a request whose like is being worked on: the client asks again in a second.
    InProgress(&'static str),
}

// === impl Failure ===

impl Failure {
    /// Returns a failure with a code of this protocol.
    pub(super) const fn with_code(status: StatusCode, code: &'static str) -> Self {
        let data = None;
        Self::Protocol { status, code, data }
    }

    /// Returns the failure of a field whose value cannot be used.
    pub(super) fn invalid(field: &str, detail: impl ToString) -> Self {
        Self::Fault(Input::invalid(field, detail).into())
    }

    /// Returns the answer to a question that a refusal answers; its status is 200.
    pub(super) fn answered(refusal: Refusal, data: Value) -> Self {
        let (data, status) = (Some(data), StatusCode::OK);
        Self::Refused {
            refusal,
            data,
            status,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Fault(fault) => fault.status(),
            Self::Limited { refusal, .. } => status(*refusal),
            Self::Refused { status, .. } | Self::Protocol { status, .. } => *status,
            Self::InProgress(_) => StatusCode::CONFLICT,
        }
    }

    fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::Fault(fault) => fault.retry_after_seconds(),
            Self::Refused { refusal, .. } => refusal.is_ours().then_some(1),
            Self::Limited {
                refusal,
                retry_after,
            } => retry_after.or_else(|| refusal.is_ours().then_some(1)),
            Self::Protocol { .. } => None,
            Self::InProgress(_) => Some(1),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused {
            refusal,
            data: None,
            status: status(refusal),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Input> for Failure {
    fn from(input: Input) -> Self {
        Self::Fault(input.into())
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        Self::Fault(denied.into())
    }
}

impl<T: Serialize> IntoResponse for Success<T> {
    fn into_response(self) -> Response {
        let Self(success_msg, data) = self;
        Json(ResultObject {
            data: Some(data),
            success_msg,
            error_msg: String::new(),
        })
        .into_response()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, wait) = (self.status(), self.retry_after_seconds());
        let (code, data) = match self {
            Self::Fault(fault) => (fault_code(&fault).to_owned(), Some(fault_data(&fault))),
            Self::Refused { refusal, data, .. } => (error_code(refusal.code()), data),
            Self::Limited { refusal, .. } => (error_code(refusal.code()), None),
            Self::Protocol { code, data, .. } => (code.to_owned(), data),
            Self::InProgress(code) => (code.to_owned(), None),
        };
        let mut response = (status, Json(ResultObject::failed(code, data))).into_response();
        if let Some(seconds) = wait {
            let value = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}

impl ResultObject<Value> {
    /// Returns the body of a failure with this code.
    pub(super) const fn failed(error_msg: String, data: Option<Value>) -> Self {
        Self {
            data,
            success_msg: "",
            error_msg,
        }
    }
}

/// Returns the failure of a field with a path that can be read in two ways.
pub(super) fn ambiguous_path(field: &str, reason: AmbiguousPath) -> Failure {
    Failure::Protocol {
        status: StatusCode::BAD_REQUEST,
        code: "ERROR_PATH_AMBIGUOUS",
        data: Some(json!({"field": field, "detail": reason.to_string()})),
    }
}

fn status(refusal: Refusal) -> StatusCode {
    StatusCode::from_u16(refusal.status()).expect("a refusal has a status")
}

/// Returns the code of this protocol for a code of the gate.
pub(super) fn error_code(code: &str) -> String {
    format!("ERROR_{}", code.to_ascii_uppercase())
}

const fn fault_code(fault: &Fault) -> &'static str {
    match fault {
        Fault::Input(input) => match input.kind {
            InputKind::TooLarge => "ERROR_BODY_TOO_LARGE",
            InputKind::TooSlow => "ERROR_BODY_TIMEOUT",
            InputKind::Malformed | InputKind::Broken => "ERROR_BODY_MALFORMED",
            InputKind::NotText => "ERROR_BODY_NOT_UTF8",
            InputKind::TooDeep => "ERROR_BODY_TOO_DEEP",
            InputKind::Missing => "ERROR_FIELD_MISSING",
            InputKind::Unknown => "ERROR_FIELD_UNKNOWN",
            InputKind::Invalid => "ERROR_FIELD_INVALID",
        },
        Fault::Denied(Denied::Missing) => "ERROR_KEY_MISSING",
        Fault::Denied(Denied::Wrong) => "ERROR_KEY_UNKNOWN",
        Fault::Denied(Denied::Scope(_)) => "ERROR_KEY_SCOPE",
        Fault::Denied(Denied::Throttled { .. }) => "ERROR_TOO_MANY_FAILURES",
        Fault::MethodUnknown => "ERROR_METHOD_NOT_ALLOWED",
        Fault::PlainHttp => "ERROR_HTTPS_REQUIRED",
        Fault::Unavailable => "ERROR_UNAVAILABLE",
        Fault::Internal => "ERROR_INTERNAL",
    }
}

/// Returns the `data` of a fault: the field that is wrong, and a sentence about the case.
fn fault_data(fault: &Fault) -> Value {
    match fault {
        Fault::Input(Input { field, detail, .. }) => json!({"field": field, "detail": detail}),
        fault => json!({"field": null, "detail": fault.to_string()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_says_its_code_its_field_and_when_to_come_back() {
        let response = Failure::invalid("METHOD", "no").into_response();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let body = axum::body::to_bytes(response.into_body(), 1_000).await;
        let body: Value = serde_json::from_slice(&body.expect("short")).expect("JSON");
        let expected = json!({"data": {"field": "METHOD", "detail": "no"}, "success_msg": "",
            "error_msg": "ERROR_FIELD_INVALID"});
        assert_eq!(body, expected);

        let response = Failure::from(Refusal::LicenseStoreUnavailable).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
