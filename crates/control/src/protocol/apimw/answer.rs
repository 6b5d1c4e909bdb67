//! The envelope of every answer, and the codes of refusals.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use licensing::sessions::SessionError;
use serde::Serialize;

use crate::http::fault::{Denied, Fault};

/// A refusal in the words of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// The time until another try may pass, in seconds.
    retry_after: Option<u64>,
}

/// The body of a success.
#[derive(Serialize)]
struct Success<T> {
    success: bool,
    data: T,
}

#[derive(Serialize)]
struct Failure<'a> {
    success: bool,
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

/// The kind of a credential, by which a refusal of it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// A key and its secret.
    Pair,
    /// A refresh token.
    RefreshToken,
    /// An access token.
    AccessToken,
}

pub(super) fn success(data: impl Serialize) -> Response {
    let body = Success {
        success: true,
        data,
    };
    json(StatusCode::OK, &body)
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let text = serde_json::to_vec(body).expect("an answer is plain data");
    let kind = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, kind)], text).into_response()
}

// === impl Credential ===

impl Credential {
    const fn code(self) -> &'static str {
        match self {
            Self::Pair => "INVALID_CREDENTIALS",
            Self::RefreshToken => "INVALID_REFRESH_TOKEN",
            Self::AccessToken => "INVALID_TOKEN",
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::Pair => "the API key or its secret is wrong",
            Self::RefreshToken => {
                "the refresh token is invalid, expired or used: authenticate again"
            }
            Self::AccessToken => "send `Authorization: Bearer` with a valid access token",
        }
    }
}

// === impl Refusal ===

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    /// Returns the refusal of a credential that is not valid, whatever the reason.
    pub(super) fn wrong(credential: Credential) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            credential.code(),
            credential.message(),
        )
    }

    /// Returns the refusal of more calls than the windows of the key allow, or of more failures
    /// than an address may have.
    pub(super) fn too_many(message: &str, wait: std::time::Duration) -> Self {
        let refusal = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "RATE_LIMIT_EXCEEDED",
            message,
        );
        Self {
            retry_after: Some(model::retry_after_seconds(wait)),
            ..refusal
        }
    }

    /// Returns the refusal for a fault that is not about a particular kind of credential.
    pub(super) fn of_fault(fault: &Fault) -> Self {
        Self::of_fault_with(fault, Credential::AccessToken)
    }

    /// Returns the refusal for a fault of a request that presents this kind of credential.
    pub(super) fn of_fault_with(fault: &Fault, credential: Credential) -> Self {
        let code = match fault {
            Fault::Denied(Denied::Missing | Denied::Wrong) => return Self::wrong(credential),
            Fault::Denied(Denied::Throttled { wait }) => {
                return Self::too_many(&fault.to_string(), *wait);
            }
            Fault::Denied(Denied::Scope(_)) => "FORBIDDEN",
            Fault::Input(_) => "INVALID_REQUEST",
            Fault::MethodUnknown => "METHOD_NOT_ALLOWED",
            Fault::PlainHttp => "HTTPS_REQUIRED",
            Fault::Unavailable => "SERVICE_UNAVAILABLE",
            Fault::Internal => "INTERNAL_ERROR",
        };
        let refusal = Self::new(fault.status(), code, fault.to_string());
        Self {
            retry_after: fault.retry_after_seconds(),
            ..refusal
        }
    }

    /// Returns the refusal for an error of a session.
    pub(super) fn of_session(error: SessionError) -> Self {
        const DENIED: StatusCode = StatusCode::UNAUTHORIZED;
        let message = error.to_string();
        match error {
            SessionError::Credentials => Self::wrong(Credential::Pair),
            SessionError::InvalidToken => Self::wrong(Credential::AccessToken),
            SessionError::RefreshToken => Self::wrong(Credential::RefreshToken),
            SessionError::ExpiredToken => Self::new(DENIED, "EXPIRED_TOKEN", message),
            SessionError::RevokedToken => Self::new(DENIED, "REVOKED_TOKEN", message),
            SessionError::Address => Self::new(StatusCode::FORBIDDEN, "IP_NOT_ALLOWED", message),
            SessionError::Failed(error) => Self::of_fault(&error.into()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Failure {
            success: false,
            error: Error {
                code: self.code,
                message: &self.message,
                retry_after: self.retry_after,
            },
        };
        let mut response = json(self.status, &body);
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
