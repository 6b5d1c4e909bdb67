//! The errors of a start, and the exit code that says whether a change of the configuration would
//! help.

use std::net::SocketAddr;
use std::process::ExitCode;

use model::system::in_words;

use crate::cli::EXIT_CONFIG;

/// The reason for which a gate does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The file asks for something that this version does not serve.
    #[error("{0}")]
    Unsupported(String),
    /// The file lacks plans or apps that licenses name.
    #[error("{0}")]
    Missing(String),
    /// An address is taken or not ours.
    #[error("cannot listen on {address}: {}", in_words(error))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        error: std::io::Error,
    },
    /// Another process serves from the same data.
    #[error(
        "{0} is in use by another tallygate: stop it, or give this one a `data_dir` of its own"
    )]
    InUse(String),
    /// A file or directory of the gate cannot be used.
    #[error("cannot use {path}: {}", in_words(error))]
    Files {
        /// The file or directory.
        path: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// The file of known agents cannot be used.
    #[error("[server] known_agents: {0}")]
    KnownAgents(String),
    /// The store of record failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The licenses or the keyring failed.
    #[error(transparent)]
    Licensing(#[from] licensing::Error),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// The Redis of the configuration cannot be used.
    #[error(transparent)]
    Redis(#[from] coordinator::Error),
    /// A newer version left a journal that this one may not touch.
    #[error("a newer version wrote {path}: {error}")]
    Newer {
        /// The journal's directory.
        path: String,
        /// The error of the ledger.
        error: Box<ledger::Error>,
    },
    /// Apps or routes contradict each other.
    #[error("{0}")]
    Apps(String),
}

impl StartError {
    /// Returns whether the error may pass by itself, without the operator.
    pub(crate) fn may_pass(&self) -> bool {
        !self.is_for_the_operator() && !matches!(self, Self::Bind { .. } | Self::InUse(_))
    }

    /// Returns the exit code: 78 for an error that only the operator can fix, by another
    /// configuration, store or version; 1 for the rest.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.is_for_the_operator() {
            true => ExitCode::from(EXIT_CONFIG),
            false => ExitCode::FAILURE,
        }
    }

    fn is_for_the_operator(&self) -> bool {
        match self {
            Self::Unsupported(_)
            | Self::Missing(_)
            | Self::Newer { .. }
            | Self::Apps(_)
            | Self::KnownAgents(_)
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
