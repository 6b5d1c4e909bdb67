//! The answers of refusals: `{"status":"failed","error":…}`. Software takes nothing else for a
//! verdict.

use std::time::Duration;

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use model::{Refusal as GateRefusal, masked};
use serde::Serialize;

use crate::http::body::{Input, InputKind};
use crate::http::fault::{Denied, Fault};
use crate::protocol::authforge::credits::NotPaid;
use crate::protocol::authforge::names::{in_its_names, name_of};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $word:literal;)*) => {
        /// The code of a refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            const fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => StatusCode::$status,)*
                }
            }

            const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

codes! {
    /// The request cannot be read now; another try may do better. Blame: caller.
    BadRequest = BAD_REQUEST, "bad_request";
    /// A field is missing or has a value that cannot be used. Blame: caller.
    MalformedRequest = BAD_REQUEST, "malformed_request";
    /// No app has this id and secret. Blame: caller.
    InvalidApp = UNAUTHORIZED, "invalid_app";
    /// No license of the app has this key. Blame: caller.
    InvalidKey = UNAUTHORIZED, "invalid_key";
    /// The session is over, or the token is none. Blame: caller.
    SessionExpired = UNAUTHORIZED, "session_expired";
    /// The nonce was used before. Blame: caller.
    ReplayDetected = UNAUTHORIZED, "replay_detected";
    /// The device or the address is on a list, or not on one. Blame: caller.
    Blocked = FORBIDDEN, "blocked";
    /// The seller switched the software off. Blame: nobody.
    AppDisabled = FORBIDDEN, "app_disabled";
    /// Every slot of the license is taken, or the session is another device's. Blame: caller.
    HwidMismatch = FORBIDDEN, "hwid_mismatch";
    /// Only who has a session may revoke its license. Blame: caller.
    RevokeRequiresSession = FORBIDDEN, "revoke_requires_session";
    /// The app does not let software have files made. Blame: caller.
    OfflineActivationDisabled = FORBIDDEN, "offline_activation_disabled";
    /// As many devices as the license has slots have had a file made. Blame: caller.
    OfflineActivationLimitReached = FORBIDDEN, "offline_activation_limit_reached";
    /// The license ends. Blame: caller.
    OfflineActivationRequiresPerpetual = CONFLICT, "offline_activation_requires_perpetual";
    /// The license does not count devices. Blame: caller.
    OfflineActivationRequiresSeats = CONFLICT, "offline_activation_requires_seats";
    /// The license has ended. Blame: caller.
    Expired = GONE, "expired";
    /// The license was revoked. Blame: caller.
    Revoked = GONE, "revoked";
    /// Too many requests, or too many wrong credentials. Blame: caller.
    RateLimited = TOO_MANY_REQUESTS, "rate_limited";
    /// The account has no credits left. Blame: the seller.
    NoCredits = TOO_MANY_REQUESTS, "no_credits";
    /// The software of the app used as many credits as it may for now. Blame: the seller.
    AppBurnCapReached = TOO_MANY_REQUESTS, "app_burn_cap_reached";
    /// The gate cannot say now. Blame: us.
    SystemError = INTERNAL_SERVER_ERROR, "system_error";
}

/// A refusal in the words of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    code: Code,
    /// Another status than that of the code.
    status: Option<StatusCode>,
    /// A sentence for developers, with the field that is wrong.
    message: Option<String>,
    /// The time until another try may pass, in seconds.
    retry_after: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    status: &'static str,
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl Refusal {
    /// Returns the refusal of more requests than a window allows.
    pub(super) fn too_many(code: Code, wait: Duration) -> Self {
        Self {
            retry_after: Some(model::retry_after_seconds(wait)),
            ..code.into()
        }
    }

    /// Returns whether it is about what work costs, not about who asks for it.
    pub(super) const fn is_of_credits(&self) -> bool {
        matches!(self.code, Code::NoCredits | Code::AppBurnCapReached)
    }

    /// Returns the refusal of something that the gate cannot find out now.
    pub(super) fn unavailable() -> Self {
        Self::of_fault(&Fault::Unavailable, Code::SystemError)
    }

    /// Returns the refusal for a fault that is the same for every protocol; `denied` is the code of
    /// a credential that is wrong.
    pub(super) fn of_fault(fault: &Fault, denied: Code) -> Self {
        let code = match fault {
            Fault::Input(input) => return Self::of_input(input),
            Fault::Denied(Denied::Missing | Denied::Wrong | Denied::Scope(_)) => {
                return denied.into();
            }
            Fault::Denied(Denied::Throttled { wait }) => {
                return Self::too_many(Code::RateLimited, *wait);
            }
            Fault::MethodUnknown | Fault::PlainHttp => Code::BadRequest,
            Fault::Unavailable | Fault::Internal => Code::SystemError,
        };
        Self {
            status: Some(fault.status()),
            message: Some(fault.to_string()),
            retry_after: fault.retry_after_seconds(),
            ..code.into()
        }
    }

    fn of_input(input: &Input) -> Self {
        let code = match input.kind {
            // What was cut short on its way may pass the next time.
            InputKind::TooLarge | InputKind::TooSlow | InputKind::Broken => Code::BadRequest,
            _ => Code::MalformedRequest,
        };
        Self {
            status: Some(input.kind.status()),
            message: Some(input.to_string()),
            ..code.into()
        }
    }

    /// Returns the refusal of a license by its state.
    pub(super) fn of_standing(refusal: GateRefusal) -> Self {
        match refusal {
            GateRefusal::LicenseDisabled | GateRefusal::LicenseRevoked => Code::Revoked.into(),
            GateRefusal::LicenseExpired => Code::Expired.into(),
            GateRefusal::LicenseUnknown => Code::InvalidKey.into(),
            GateRefusal::IpNotAllowed => Code::Blocked.into(),
            _ => Self::unavailable(),
        }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self {
            code,
            status: None,
            message: None,
            retry_after: None,
        }
    }
}

impl From<Input> for Refusal {
    fn from(input: Input) -> Self {
        Self::of_input(&input)
    }
}

impl From<NotPaid> for Refusal {
    fn from(reason: NotPaid) -> Self {
        match reason {
            NotPaid::NoCredits => Code::NoCredits.into(),
            NotPaid::Address => Code::Blocked.into(),
            NotPaid::Standing(refusal) => Self::of_standing(refusal),
            NotPaid::Unavailable => Self::unavailable(),
        }
    }
}

impl From<licensing::Error> for Refusal {
    fn from(error: licensing::Error) -> Self {
        match error {
            licensing::Error::LicenseUnknown(_) | licensing::Error::LicenseRevoked(_) => {
                Code::Revoked.into()
            }
            licensing::Error::Invalid { field, reason } => {
                Input::invalid(name_of(field), in_its_names(&reason)).into()
            }
            error @ licensing::Error::SettingsBusy(_) => Self {
                message: Some(error.to_string()),
                ..Self::too_many(Code::RateLimited, Duration::from_secs(1))
            },
            error => Self::of_fault(&error.into(), Code::SystemError),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let message = self.message.as_deref().map(masked);
        let body = Body {
            status: "failed",
            error: self.code.word(),
            message: message.as_deref(),
        };
        let status = self.status.unwrap_or_else(|| self.code.status());
        let mut response = (status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after {
            let value = HeaderValue::from(seconds);
            response.headers_mut().insert(RETRY_AFTER, value);
        }
        response
    }
}

/// Returns an answer whose JSON is written already.
pub(super) fn json(status: StatusCode, text: Vec<u8>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, kind)], text).into_response()
}
