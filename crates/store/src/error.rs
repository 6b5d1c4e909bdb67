//! The errors of a store.

/// An error of the store. None of them is the caller's doing, but for [`Error::Exists`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The store is out of reach, locked or too slow: worth another try. Blame: us.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// The store's disk or quota is full: nothing can be written until there is room; reading
    /// works. Blame: us.
    #[error("the disk of the store is full, make room on it: {0}")]
    Full(String),
    /// The store holds something that this version cannot read. Blame: us.
    #[error("the store holds what this version cannot read: {0}")]
    Corrupt(String),
    /// The schema was made by a newer version of Tallygate. Blame: us.
    #[error(
        "{path} has schema version {found}, this program knows up to {known}: use a newer tallygate"
    )]
    NewerSchema {
        /// The database.
        path: String,
        /// Its schema's version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The store does not fit its settings: a wrong URL, password or version. Blame: operator.
    #[error("the store cannot be used: {0}")]
    Misconfigured(String),
    /// Another gate runs under this node's name. Blame: operator.
    #[error(
        "another gate runs as node `{0}`: give each gate of a store a `[server] node` of its own"
    )]
    NodeTaken(String),
    /// An object with this identity is there already. Blame: caller.
    #[error("{0} exists already")]
    Exists(&'static str),
    /// A position is not where the writer expected it: another process moved it, or the store is an
    /// older copy.
    #[error("the position is {found}, not {expected}")]
    Position {
        /// The position that the writer expected.
        expected: u64,
        /// The position in the store.
        found: u64,
    },
}

impl Error {
    /// Returns whether the store is out of reach, so that known licenses live on their grace (G8).
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_))
    }
}
