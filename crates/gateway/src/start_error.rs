//! Why a gate does not start, and the exit code that says whether a change of the configuration would help.

use std::net::SocketAddr;
use std::process::ExitCode;

use model::system::in_words;

use crate::cli::EXIT_CONFIG;

/// Why a gate does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The file asks for what this version does not serve.
    #[error("{0}")]
    Unsupported(String),
    /// The file lacks plans or apps that licenses name.
    #[error("{0}")]
    Gone(String),
    /// An address is taken or not ours.
    #[error("cannot listen on {address}: {}", in_words(error))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// Another process serves from the same data.
    #[error(
        "{0} is in use by another tallygate: stop it, or give this one a `data_dir` of its own"
    )]
    InUse(String),
    /// Files of ours.
    #[error("cannot use {path}: {}", in_words(error))]
    Files {
        /// The file or directory.
        path: String,
        /// Why not.
        error: std::io::Error,
    },
    /// The store of record.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Licenses and keys.
    #[error(transparent)]
    Licensing(#[from] licensing::Error),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The Redis of the configuration.
    #[error(transparent)]
    Redis(#[from] coordinator::Error),
    /// A newer version left a journal that this one may not touch.
    #[error("a newer version wrote {path}: {error}")]
    Newer {
        /// The journal's directory.
        path: String,
        /// What it found there.
        error: Box<ledger::Error>,
    },
    /// Apps or routes that get in each other's way.
    #[error("{0}")]
    Apps(String),
}

impl StartError {
    /// Whether it may go by itself: nothing that only the operator can mend.
    pub(crate) fn may_pass(&self) -> bool {
        !self.is_for_the_operator() && !matches!(self, Self::Bind { .. } | Self::InUse(_))
    }

    /// 78 for what only the operator can mend, by another configuration, store or version; 1 for the rest.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.is_for_the_operator() {
            true => ExitCode::from(EXIT_CONFIG),
            false => ExitCode::FAILURE,
        }
    }

    fn is_for_the_operator(&self) -> bool {
        match self {
            Self::Unsupported(_)
            | Self::Gone(_)
            | Self::Newer { .. }
            | Self::Apps(_)
            | Self::Redis(_)
            | Self::Licensing(
                licensing::Error::SecretWrong(_)
                | licensing::Error::SecretMissing(_)
                | licensing::Error::SecretFile { .. },
            )
            | Self::Store(
                store::Error::Misconfigured(_)
                | store::Error::NodeTaken(_)
                | store::Error::NewerSchema { .. },
            ) => true,
            Self::Ledger(error) => error.is_newer(),
            _ => false,
        }
    }
}
