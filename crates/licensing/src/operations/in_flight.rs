//! The list of idempotent operations that run in this process.

use std::collections::HashSet;

use parking_lot::Mutex;
use store::ClaimKey;

/// The idempotent operations that this process is carrying out.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Mutex<HashSet<ClaimKey>>);

impl InFlight {
    /// Adds an operation. Returns `false` if it is running already.
    pub(super) fn begin(&self, key: ClaimKey) -> bool {
        self.0.lock().insert(key)
    }

    /// Takes an operation out of the list.
    pub(super) fn end(&self, key: &ClaimKey) {
        self.0.lock().remove(key);
    }
}
