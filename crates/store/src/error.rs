//! What can go wrong in a store.

/// An error of the store. None of them is the caller's doing, but for [`Error::Exists`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Out of reach, locked or too slow: worth another try. Blame: us.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// Its disk is full, or what it may use of it: nothing can be kept until there is room, and what is there can be read.
    /// Blame: us.
    #[error("the disk of the store is full, make room on it: {0}")]
    Full(String),
    /// It holds something that this version cannot read. Blame: us.
    #[error("the store holds what this version cannot read: {0}")]
    Corrupt(String),
    /// A newer version of Tallygate made it. Blame: us.
    #[error(
        "{path} has schema version {found}, this program knows up to {known}: use a newer tallygate"
    )]
    NewerSchema {
        /// The database.
        path: String,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The store cannot be what its settings say: a wrong URL, password or version. Blame: operator.
    #[error("the store cannot be used: {0}")]
    Misconfigured(String),
    /// Another gate runs under this node's name. Blame: operator.
    #[error(
        "another gate runs as node `{0}`: give each gate of a store a `[server] node` of its own"
    )]
    NodeTaken(String),
    /// Something with this identity is there already. Blame: caller.
    #[error("{0} exists already")]
    Exists(&'static str),
    /// A position is not where the writer believed it to be: somebody else moved it, or the store is an older copy.
    #[error("the position is {found}, not {expected}")]
    Position {
        /// What the writer believed.
        expected: u64,
        /// What the store holds.
        found: u64,
    },
}

impl Error {
    /// Whether the store is out of reach, so that known licenses live on their grace (G8).
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Full(_))
    }
}
