//! What the frame refuses, before a protocol puts it into its own words.

use std::time::Duration;

use axum::http::StatusCode;

use crate::http::body::Input;
use crate::wire::Scope;

/// Why a request is not answered by an operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The body cannot be used. Blame: client.
    #[error("{0}")]
    Input(#[from] Input),
    /// Whoever asks is not let in. Blame: client.
    #[error("{0}")]
    Denied(#[from] Denied),
    /// The path is there, the method is not. Blame: client.
    #[error("the path does not take this method")]
    MethodUnknown,
    /// An unencrypted request from another host. Blame: client.
    #[error("unencrypted requests are taken from this host only: use https")]
    PlainHttp,
    /// The store is out of reach, or the disk of the journal is behind. Blame: us.
    #[error("the store did not answer, try again")]
    Unavailable,
    /// A defect of ours; the log has more. Blame: us.
    #[error("something went wrong here")]
    Internal,
}

/// Why whoever asks is not let in. Unknown, wrong, ended and revoked credentials look the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No credential.
    #[error("a key is required")]
    Missing,
    /// A credential that is none.
    #[error("the key is not valid")]
    Wrong,
    /// The credential was not made for this.
    #[error("the key does not have the scope `{0}`")]
    Scope(Scope),
    /// Too many wrong ones came from the address lately.
    #[error("too many failed attempts, retry later")]
    Throttled {
        /// When to come back.
        wait: Duration,
    },
}

// === impl Fault ===

impl Fault {
    /// A defect of ours: the cause is logged, the client learns that there was one.
    #[must_use]
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %cause, "a request to a protocol failed");
        Self::Internal
    }

    /// The HTTP status that says it in general; a protocol may have another one.
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

    /// When to come back, in whole seconds of at least 1, for `Retry-After`.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::Denied(Denied::Throttled { wait }) => Some(wait.as_secs().max(1)),
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

/// For operations that can fail for no reason of the client's. Where one can, its protocol reads the error first.
impl From<licensing::Error> for Fault {
    fn from(error: licensing::Error) -> Self {
        match error {
            licensing::Error::Store(error) => error.into(),
            error => Self::internal(&error),
        }
    }
}
