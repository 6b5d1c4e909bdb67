//! The answers of refusals: `{"error","message"}` with the documented codes.

use std::time::Duration;

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use model::masked;
use serde::Serialize;

use crate::http::body::Input;
use crate::http::fault::{Denied, Fault};
use crate::protocol::authforge::names::{in_its_names, name_of};

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
    message: &'a str,
}

impl Failure {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    /// Returns whether it is our doing.
    pub(super) fn is_ours(&self) -> bool {
        self.status.is_server_error()
    }

    /// Returns the refusal of a field whose value cannot be used.
    pub(super) fn invalid(field: &str, detail: impl ToString) -> Self {
        Self::of_fault(&Input::invalid(field, detail).into())
    }

    /// Returns the refusal of an app or a license of somebody else, there or not.
    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// Returns the refusal of a license or a path that is not there. It repeats nothing of what was
    /// asked for, which may be a key.
    pub(super) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// Returns the refusal of work that the account has no credits for.
    pub(super) fn no_credits() -> Self {
        let message = "the account has no credits left for this";
        Self::new(StatusCode::PAYMENT_REQUIRED, "no_credits", message)
    }

    /// Returns the refusal of more requests than a key may send.
    pub(super) fn too_many(wait: Duration) -> Self {
        let message = "this key sends too many requests, retry later";
        Self::later(wait, message)
    }

    /// Returns the refusal of a request while the same one is carried out.
    pub(super) fn in_progress(message: &str) -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(StatusCode::CONFLICT, "in_progress", message)
        }
    }

    fn later(wait: Duration, message: &str) -> Self {
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message);
        Self {
            retry_after: Some(model::retry_after_seconds(wait)),
            ..refusal
        }
    }

    /// Returns the refusal for a fault that is the same for every protocol.
    pub(super) fn of_fault(fault: &Fault) -> Self {
        let code = match fault {
            Fault::Input(_) | Fault::MethodUnknown => "bad_request",
            Fault::Denied(Denied::Missing | Denied::Wrong) => "invalid_api_key",
            Fault::Denied(Denied::Scope(_)) | Fault::PlainHttp => "forbidden",
            Fault::Denied(Denied::Throttled { .. }) => "rate_limited",
            Fault::Unavailable | Fault::Internal => "internal_error",
        };
        let refusal = Self::new(fault.status(), code, fault.to_string());
        Self {
            retry_after: fault.retry_after_seconds(),
            ..refusal
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::of_fault(&fault)
    }
}

impl From<Input> for Failure {
    fn from(input: Input) -> Self {
        Self::of_fault(&input.into())
    }
}

/// Converts the errors of operations, with the fields by the protocol's names.
impl From<licensing::Error> for Failure {
    fn from(error: licensing::Error) -> Self {
        match error {
            licensing::Error::Invalid { field, reason } => {
                Self::invalid(name_of(field), in_its_names(&reason))
            }
            licensing::Error::LicenseUnknown(_) | licensing::Error::LicenseRevoked(_) => {
                Self::not_found("there is no such license")
            }
            licensing::Error::AppUnknown(_) => {
                Self::forbidden("the app is not one of this account")
            }
            licensing::Error::PlanUnknown(_) => Self::invalid("appId", error),
            error @ licensing::Error::SettingsBusy(_) => {
                Self::later(Duration::from_secs(1), &error.to_string())
            }
            error => Fault::from(error).into(),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let message = masked(&self.message);
        let body = Body {
            error: self.code,
            message: &message,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
