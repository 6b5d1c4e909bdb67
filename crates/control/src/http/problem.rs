//! Problems (RFC 9457), the answers of the native API to requests that fail.

use std::time::Duration;

use api_types::ProblemBody;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::masked;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $status:ident, $code:literal, $title:literal;)*) => {
        /// The kinds of problems. Each has one status, one word for programs and one sentence for
        /// people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the word for programs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// Returns the sentence for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }

            /// Returns the HTTP status; never one of success.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),* }
            }
        }
    };
}

codes! {
    /// Nothing is configured under the name of the app. Blame: caller.
    AppUnknown = NOT_FOUND, "app_unknown", "no such app";
    /// The body is longer than the limit. Blame: caller.
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body_too_large", "the request body is too large";
    /// The state of a thing does not allow what is asked. Blame: caller.
    Conflict = CONFLICT, "conflict", "the present state does not allow this";
    /// The thing exists already. Blame: caller.
    Exists = CONFLICT, "exists", "it exists already";
    /// A field has a value that means nothing here. Blame: caller.
    FieldInvalid = BAD_REQUEST, "field_invalid", "a field has a value that cannot be used";
    /// The idempotency key was used for another request. Blame: caller.
    IdempotencyMismatch = CONFLICT, "idempotency_mismatch", "the idempotency key was used for another request";
    /// The first request with an idempotency key broke off. Blame: us.
    IdempotencyUnknown = CONFLICT, "idempotency_unknown", "how far the first request with this idempotency key came is not known";
    /// The first request with an idempotency key is not answered yet. Blame: caller.
    IdempotencyInProgress = CONFLICT, "idempotency_under_way", "the first request with this idempotency key is being worked on";
    /// A defect of ours; the log has more. Blame: us.
    Internal = INTERNAL_SERVER_ERROR, "internal", "something went wrong here";
    /// The journal's disk is behind the calls that the answer would cover. Blame: us.
    JournalUnavailable = SERVICE_UNAVAILABLE, "journal_unavailable", "the journal is behind the calls, retry later";
    /// The request needs a management key and has none. Blame: caller.
    KeyMissing = UNAUTHORIZED, "key_missing", "a management key is required";
    /// The management key is unknown, ended or revoked. Blame: caller.
    KeyUnknown = UNAUTHORIZED, "key_unknown", "the management key is not valid";
    /// The operation is done on the gate's own host only, over its Unix socket. Blame: caller.
    LocalOnly = FORBIDDEN, "local_only", "this is done on the gate's own host";
    /// The path exists, but not with this method. Blame: caller.
    MethodUnknown = METHOD_NOT_ALLOWED, "method_not_allowed", "the path does not take this method";
    /// The thing does not exist, or belongs to somebody else. Blame: caller.
    NotFound = NOT_FOUND, "not_found", "there is no such thing";
    /// Nothing is served under the path. Blame: caller.
    PathUnknown = NOT_FOUND, "path_unknown", "nothing is served under this path";
    /// The key came over an unencrypted connection from another host. Blame: caller.
    PlainHttp = FORBIDDEN, "plain_http", "unencrypted requests are taken from this host only";
    /// The request is not JSON, not UTF-8, too deep, or has an unknown or a missing field. Blame:
    /// caller.
    RequestMalformed = BAD_REQUEST, "request_malformed", "the request cannot be understood";
    /// The body took too long to arrive. Blame: caller.
    RequestTimeout = REQUEST_TIMEOUT, "request_timeout", "the request took too long to arrive";
    /// The management key was not made for this. Blame: caller.
    ScopeMissing = FORBIDDEN, "scope_missing", "the management key may not do this";
    /// The store is out of reach. Blame: us.
    StoreUnavailable = SERVICE_UNAVAILABLE, "store_unavailable", "the store cannot be reached, retry later";
    /// The address sent too many bad keys. Blame: caller.
    TooManyFailures = TOO_MANY_REQUESTS, "too_many_failures", "too many failed attempts, retry later";
}

/// A problem as an answer. It holds nothing that belongs in the log alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The kind.
    pub code: Code,
    /// The sentence that says what is wrong in this case and what to do about it.
    pub detail: String,
    /// The field of the request that the problem is about.
    pub field: Option<String>,
    /// The time after which another try may pass.
    pub retry_after: Option<Duration>,
}

// === impl Problem ===

impl Problem {
    /// Returns a problem of this kind.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            field: None,
            retry_after: None,
        }
    }

    /// Returns the problem of a field whose value cannot be used.
    #[must_use]
    pub fn field(field: &str, detail: impl ToString) -> Self {
        Self::new(Code::FieldInvalid, detail.to_string()).about(field)
    }

    /// Returns the problem of a name that nothing has, or nothing that the caller may see.
    #[must_use]
    pub fn not_found(what: &str, name: &str) -> Self {
        let name = model::quoted(name, 80);
        Self::new(Code::NotFound, format!("there is no {what} `{name}`"))
    }

    /// Returns the problem of an id that nothing has, or nothing that the caller may see. A text
    /// that is no id may be a key in its place, and is not repeated whole.
    #[must_use]
    pub fn id_unknown(what: &str, id: &str) -> Self {
        let id = model::beginning(id);
        Self::new(Code::NotFound, format!("there is no {what} `{id}`"))
    }

    /// Logs the cause of a failure of ours, and returns the problem that says no more than that
    /// there was one.
    #[must_use]
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %cause, "a request to the API failed");
        Self::new(Code::Internal, "see the gate's log")
    }

    /// Returns the same problem, about a field.
    #[must_use]
    pub fn about(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// Returns the same problem, with a `Retry-After`.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Returns the body of the problem, with credentials masked.
    #[must_use]
    pub fn body(&self) -> ProblemBody {
        ProblemBody {
            kind: "about:blank".to_owned(),
            title: self.code.title().to_owned(),
            status: self.code.status().as_u16(),
            code: self.code.as_str().to_owned(),
            detail: masked(&self.detail).into_owned(),
            field: self.field.as_ref().map(|field| masked(field).into_owned()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body()).expect("a problem is plain data");
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response =
            (self.code.status(), [(header::CONTENT_TYPE, kind)], body).into_response();
        let headers = response.headers_mut();
        if self.code.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            let seconds = model::retry_after_seconds(wait);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Exists(what) => Self::new(Code::Exists, format!("{what} exists already")),
            store::Error::Full(_) => {
                tracing::warn!(%error, "a request to the API could not be kept");
                let detail = "the disk of the store is full, so that nothing was kept: make room on it and try again";
                Self::new(Code::StoreUnavailable, detail).retry_after(Duration::from_secs(1))
            }
            error if error.is_unavailable() => {
                tracing::warn!(%error, "a request to the API found no store");
                Self::new(
                    Code::StoreUnavailable,
                    "the store did not answer, try again",
                )
                .retry_after(Duration::from_secs(1))
            }
            error => Self::internal(&error),
        }
    }
}

impl From<licensing::Error> for Problem {
    fn from(error: licensing::Error) -> Self {
        use licensing::Error;
        let detail = error.to_string();
        match error {
            Error::Invalid { field, reason } => Self::field(field, reason),
            Error::AppUnknown(_) => Self::new(Code::AppUnknown, detail).about("app"),
            Error::PlanUnknown(_) => Self::field("plan", detail),
            Error::ApiKeyRule(rule) => Self::field(rule.field(), detail),
            Error::AccountWithoutApps(_) => Self::field("app", detail),
            Error::ApiKeyUnknown(_)
            | Error::LicenseUnknown(_)
            | Error::ManagementKeyUnknown(_)
            | Error::AccountUnknown(_)
            | Error::UserUnknown(_)
            | Error::SessionUnknown(_)
            | Error::TokenUnknown => Self::new(Code::NotFound, detail),
            Error::LicenseRevoked(_)
            | Error::UnitsNotCounted(_)
            | Error::WalletUnchangeable(_)
            | Error::ManagementKeyEnded(_)
            | Error::RotationUnderWay { .. } => Self::new(Code::Conflict, detail),
            Error::SettingsBusy(_) => {
                Self::new(Code::Conflict, detail).retry_after(Duration::from_secs(1))
            }
            Error::Exists(_) => Self::new(Code::Exists, detail),
            Error::Store(error) => error.into(),
            Error::SecretWrong(_)
            | Error::SecretMissing(_)
            | Error::SecretFile { .. }
            | Error::KeyringMalformed => Self::internal(&detail),
        }
    }
}

impl From<webhooks::Error> for Problem {
    fn from(error: webhooks::Error) -> Self {
        use webhooks::Error;
        let detail = error.to_string();
        match error {
            Error::Invalid { field, reason } => Self::field(field, reason),
            Error::AppUnknown(_) => Self::new(Code::AppUnknown, detail).about("app"),
            Error::AccountUnknown(_) | Error::Unknown(_) => Self::new(Code::NotFound, detail),
            Error::EventUnknown { .. } => Self::new(Code::NotFound, detail).about("event"),
            Error::TooMany(_) | Error::Unproven { .. } | Error::ChangedMeanwhile(_) => {
                Self::new(Code::Conflict, detail)
            }
            Error::SecretMalformed(_) => Self::internal(&detail),
            Error::Store(error) => error.into(),
        }
    }
}

impl From<ledger::Error> for Problem {
    fn from(error: ledger::Error) -> Self {
        match error {
            ledger::Error::Store(error) => error.into(),
            error @ ledger::Error::Behind => {
                tracing::warn!(%error, "a request to the API was not answered");
                Self::new(Code::JournalUnavailable, error.to_string())
                    .retry_after(Duration::from_secs(1))
            }
            error @ (ledger::Error::Removed { .. }
            | ledger::Error::RemovedAhead { .. }
            | ledger::Error::CursorUnknown) => Self::new(Code::Conflict, error.to_string()),
            error => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_problem_looks_like_success_and_no_word_stands_for_two() {
        let mut words = std::collections::HashSet::new();
        for code in Code::ALL {
            let status = code.status();
            assert!(
                status.is_client_error() || status.is_server_error(),
                "{code:?}"
            );
            assert!(words.insert(code.as_str()), "{code:?}");
        }
    }

    #[test]
    fn an_internal_cause_stays_inside() {
        let problem = Problem::internal(&"disk /dev/sda1 is on fire");
        assert!(
            !serde_json::to_string(&problem.body())
                .expect("plain data")
                .contains("fire")
        );
    }
}
