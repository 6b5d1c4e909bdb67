//! Refusals that are the same for every protocol, before each puts them into its own words.

use std::time::Duration;

use api_types::Scope;
use axum::http::StatusCode;

use crate::http::body::Input;

/// The reason for which no operation answers a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The body cannot be used. Blame: client.
    #[error("{0}")]
    Input(#[from] Input),
    /// The credential does not let its holder in. Blame: client.
    #[error("{0}")]
    Denied(#[from] Denied),
    /// The path exists, but not with this method. Blame: client.
    #[error("the path does not take this method")]
    MethodUnknown,
    /// The request came unencrypted from another host. Blame: client.
    #[error("unencrypted requests are taken from this host only: use https")]
    PlainHttp,
    /// The store is out of reach, or the disk of the journal is behind. Blame: us.
    #[error("the store did not answer, try again")]
    Unavailable,
    /// A defect of ours; the log has more. Blame: us.
    #[error("something went wrong here")]
    Internal,
}

/// The reason for which a credential does not let its holder in. Unknown, wrong, ended and revoked
/// credentials look the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The request has no credential.
    #[error("a key is required")]
    Missing,
    /// The credential is not valid.
    #[error("the key is not valid")]
    Wrong,
    /// The credential lacks the scope that the request takes.
    #[error("the key does not have the scope `{0}`")]
    Scope(Scope),
    /// The address presented too many wrong credentials lately.
    #[error("too many failed attempts, retry later")]
    Throttled {
        /// The time until the address may try again.
        wait: Duration,
    },
}

// === impl Fault ===

impl Fault {
    /// Logs the cause of a defect of ours, and returns the fault that says no more than that there
    /// was one.
    #[must_use]
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %cause, "a request to a protocol failed");
        Self::Internal
    }

    /// Returns the usual HTTP status of the fault; a protocol may have another one.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Input(input) => input.kind.status(),
            Self::Denied(Denied::Missing | Denied::Wrong) => StatusCode::UNAUTHORIZED,
            Self::Denied(Denied::Scope(_)) | Self::PlainHttp => StatusCode::FORBIDDEN,
            Self::Denied(Denied::Throttled { .. }) => StatusCode::TOO_MANY_REQUESTS,
            Self::MethodUnknown => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the time until another try may pass, in whole seconds of at least 1, for
    /// `Retry-After`.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::Denied(Denied::Throttled { wait }) => Some(model::retry_after_seconds(*wait)),
            Self::Unavailable => Some(1),
            _ => None,
        }
    }
}

impl From<store::Error> for Fault {
    fn from(error: store::Error) -> Self {
        if error.is_unavailable() {
            tracing::warn!(%error, "a request to a protocol found no store");
            Self::Unavailable
        } else {
            Self::internal(&error)
        }
    }
}

/// Converts the errors of operations that never fail for a reason of the client's. Where one can,
/// its protocol reads the error first.
impl From<licensing::Error> for Fault {
    fn from(error: licensing::Error) -> Self {
        match error {
            licensing::Error::Store(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}
