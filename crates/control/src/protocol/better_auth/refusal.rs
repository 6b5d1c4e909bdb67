//! The refusals of the protocol: `{"code", "message"}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use licensing::Error;
use model::ApiKeyRule;
use serde::Serialize;

use crate::http::body::Input;
use crate::http::fault::{Denied, Fault};

macro_rules! codes {
    ($($variant:ident = $status:ident, $code:literal, $message:literal;)*) => {
        /// The codes of the plugin that are used here, with its messages.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum KeyCode { $($variant,)* }

        impl KeyCode {
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            pub(super) const fn message(self) -> &'static str {
                match self { $(Self::$variant => $message),* }
            }

            const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),* }
            }
        }
    };
}

codes! {
    ExpiresInTooLarge = BAD_REQUEST, "EXPIRES_IN_IS_TOO_LARGE", "The expiresIn is larger than the predefined maximum value.";
    ExpiresInTooSmall = BAD_REQUEST, "EXPIRES_IN_IS_TOO_SMALL", "The expiresIn is smaller than the predefined minimum value.";
    InsufficientPermissions = FORBIDDEN, "INSUFFICIENT_API_KEY_PERMISSIONS", "The management key may not perform this action on API keys.";
    InvalidApiKey = UNAUTHORIZED, "INVALID_API_KEY", "Invalid API key.";
    InvalidMetadata = BAD_REQUEST, "INVALID_METADATA_TYPE", "metadata must be an object or undefined";
    InvalidNameLength = BAD_REQUEST, "INVALID_NAME_LENGTH", "The name length is either too large or too small.";
    InvalidPrefixLength = BAD_REQUEST, "INVALID_PREFIX_LENGTH", "The prefix length is either too large or too small.";
    KeyDisabled = UNAUTHORIZED, "KEY_DISABLED", "API Key is disabled";
    KeyExpired = UNAUTHORIZED, "KEY_EXPIRED", "API Key has expired";
    KeyNotFound = NOT_FOUND, "KEY_NOT_FOUND", "API Key not found";
    MetadataDisabled = BAD_REQUEST, "METADATA_DISABLED", "Metadata is disabled.";
    NameRequired = BAD_REQUEST, "NAME_REQUIRED", "API Key name is required.";
    NoValuesToUpdate = BAD_REQUEST, "NO_VALUES_TO_UPDATE", "No values to update.";
    OrganizationsUnknown = BAD_REQUEST, "ORGANIZATION_PLUGIN_REQUIRED", "Organization plugin is required for organization-owned API keys. Please install and configure the organization plugin.";
    RateLimited = TOO_MANY_REQUESTS, "RATE_LIMITED", "Rate limit exceeded.";
    RefillAmountRequired = BAD_REQUEST, "REFILL_INTERVAL_AND_AMOUNT_REQUIRED", "refillInterval is required when refillAmount is provided";
    RefillIntervalRequired = BAD_REQUEST, "REFILL_AMOUNT_AND_INTERVAL_REQUIRED", "refillAmount is required when refillInterval is provided";
    ServerOnly = BAD_REQUEST, "SERVER_ONLY_PROPERTY", "The property you're trying to set can only be set from the server auth instance only.";
    Unauthorized = UNAUTHORIZED, "UNAUTHORIZED_SESSION", "Unauthorized or invalid session";
    UsageExceeded = TOO_MANY_REQUESTS, "USAGE_EXCEEDED", "API Key has reached its usage limit";
}

/// A refusal as an answer.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<u64>,
}

#[derive(Serialize)]
struct RefusedBody<'a> {
    code: &'a str,
    message: &'a str,
}

impl Refused {
    /// Returns the refusal of a value that cannot be used. `field` begins with its place: `body.`,
    /// `query.` or `headers`.
    pub(super) fn invalid(field: &str, detail: impl std::fmt::Display) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "VALIDATION_ERROR",
            message: format!("[{field}] {detail}"),
            retry_after: None,
        }
    }

    /// Returns the refusal of a body, named as the original names it.
    fn input(input: &Input) -> Self {
        let field = input.field.as_deref();
        let field = field.map_or_else(|| "body".to_owned(), |field| format!("body.{field}"));
        let status = input.kind.status();
        let code = match status {
            StatusCode::PAYLOAD_TOO_LARGE => "PAYLOAD_TOO_LARGE",
            StatusCode::REQUEST_TIMEOUT => "REQUEST_TIMEOUT",
            _ => "VALIDATION_ERROR",
        };
        Self {
            status,
            code,
            ..Self::invalid(&field, &input.detail)
        }
    }

    fn of_fault(fault: &Fault, code: &'static str) -> Self {
        Self {
            status: fault.status(),
            code,
            message: fault.to_string(),
            retry_after: fault.retry_after_seconds(),
        }
    }
}

impl From<KeyCode> for Refused {
    fn from(code: KeyCode) -> Self {
        Self {
            status: code.status(),
            code: code.as_str(),
            message: code.message().to_owned(),
            retry_after: None,
        }
    }
}

impl From<Input> for Refused {
    fn from(input: Input) -> Self {
        Self::input(&input)
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        match &fault {
            Fault::Input(input) => Self::input(input),
            Fault::Denied(Denied::Missing | Denied::Wrong) => KeyCode::Unauthorized.into(),
            Fault::Denied(Denied::Scope(_)) => KeyCode::InsufficientPermissions.into(),
            Fault::Denied(Denied::Throttled { .. }) => Self::of_fault(&fault, "TOO_MANY_REQUESTS"),
            Fault::MethodUnknown => Self::of_fault(&fault, "METHOD_NOT_ALLOWED"),
            Fault::PlainHttp => Self::of_fault(&fault, "FORBIDDEN"),
            Fault::Unavailable => Self::of_fault(&fault, "SERVICE_UNAVAILABLE"),
            Fault::Internal => Self::of_fault(&fault, "INTERNAL_SERVER_ERROR"),
        }
    }
}

impl From<ApiKeyRule> for Refused {
    fn from(rule: ApiKeyRule) -> Self {
        match rule {
            ApiKeyRule::NameLength => KeyCode::InvalidNameLength.into(),
            ApiKeyRule::NameRequired => KeyCode::NameRequired.into(),
            ApiKeyRule::PrefixLength => KeyCode::InvalidPrefixLength.into(),
            ApiKeyRule::MetadataDisabled => KeyCode::MetadataDisabled.into(),
            ApiKeyRule::EndTooSoon => KeyCode::ExpiresInTooSmall.into(),
            ApiKeyRule::EndTooLate => KeyCode::ExpiresInTooLarge.into(),
            ApiKeyRule::RefillInterval => KeyCode::RefillIntervalRequired.into(),
            ApiKeyRule::RefillAmount => KeyCode::RefillAmountRequired.into(),
            ApiKeyRule::NothingToChange => KeyCode::NoValuesToUpdate.into(),
            ApiKeyRule::PrefixCharacters | ApiKeyRule::MetadataLength | ApiKeyRule::Permissions => {
                Self::invalid(&format!("body.{}", rule.field()), rule)
            }
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match error {
            Error::ApiKeyRule(rule) => rule.into(),
            Error::ApiKeyUnknown(_) => KeyCode::KeyNotFound.into(),
            Error::Invalid { field, reason } => Self::invalid(&format!("body.{field}"), reason),
            error @ (Error::AppUnknown(_) | Error::AccountWithoutApps(_)) => {
                Self::invalid("headers.authorization", error)
            }
            error => Fault::from(error).into(),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = RefusedBody {
            code: self.code,
            message: &self.message,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
