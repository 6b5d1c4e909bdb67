//! The answers of refusals: `{"error", "error_description"}` for all requests, as OAuth has it for
//! two of them (RFC 6749, section 5.2; RFC 7591, section 3.2.2).

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use model::masked;
use serde::Serialize;

use crate::http::body::Input;
use crate::http::fault::{Denied, Fault};

/// A refusal in the words of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// The time until another try may pass, in seconds.
    retry_after: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'static str,
    error_description: &'a str,
}

/// Returns an answer in JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let text = serde_json::to_vec(body).expect("an answer is plain data");
    let kind = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, kind)], text).into_response()
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    /// Returns the refusal of a field whose value cannot be used.
    pub(super) fn invalid(field: &str, detail: impl ToString) -> Self {
        Self::from(Input::invalid(field, detail))
    }

    /// Returns the refusal of what belongs to another account, there or not.
    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "access_denied", message)
    }

    /// Returns the refusal of what is not there.
    pub(super) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// Returns the refusal of a refresh token that is good for nothing, for whatever reason.
    pub(super) fn invalid_grant() -> Self {
        let message = "the refresh token is unknown, used or has ended: register the agent again";
        Self::new(StatusCode::BAD_REQUEST, "invalid_grant", message)
    }

    /// Returns the refusal of what cannot be done in time: another try may pass.
    pub(super) fn unavailable() -> Self {
        Self::from(Fault::Unavailable)
    }

    /// Returns the same refusal with another code.
    pub(super) fn with_code(self, code: &'static str) -> Self {
        Self { code, ..self }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let code = match &fault {
            Fault::Input(_) | Fault::MethodUnknown => "invalid_request",
            Fault::Denied(Denied::Missing | Denied::Wrong) => "invalid_token",
            Fault::Denied(Denied::Scope(_)) => "insufficient_scope",
            Fault::PlainHttp => "access_denied",
            Fault::Denied(Denied::Throttled { .. }) => "slow_down",
            Fault::Unavailable => "temporarily_unavailable",
            Fault::Internal => "server_error",
        };
        Self {
            retry_after: fault.retry_after_seconds(),
            ..Self::new(fault.status(), code, fault.to_string())
        }
    }
}

impl From<Input> for Failure {
    fn from(input: Input) -> Self {
        Fault::Input(input).into()
    }
}

impl From<licensing::Error> for Failure {
    fn from(error: licensing::Error) -> Self {
        match &error {
            licensing::Error::Invalid { field, reason } => Self::invalid(field, reason),
            error if error.blame() == model::Blame::Caller => Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                error.to_string(),
            ),
            _ => Fault::from(error).into(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Body {
            error: self.code,
            error_description: &masked(&self.message),
        };
        let mut response = json(self.status, &body);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
