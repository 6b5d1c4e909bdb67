//! Where licenses are looked up, and with which result.

/// The place where a license was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum LookupTier {
    /// The memory of the process.
    Memory,
    /// The cache that the gates share.
    Redis,
    /// The store of record.
    Store,
}

/// The result of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum LookupResult {
    /// The tier has a license for the key.
    Hit,
    /// The tier has none.
    Miss,
    /// The tier was out of reach.
    Error,
}
