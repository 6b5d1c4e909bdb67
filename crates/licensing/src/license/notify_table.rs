//! The notifications by license, of a fixed number for all licenses, and the hash that spreads
//! them.

use model::LicenseId;
use tokio::sync::Notify;

/// A table of notifications that many licenses share, so that a license costs none of its own.
/// Whoever is notified checks whether it was for their license.
pub(crate) struct NotifyTable(Box<[Notify]>);

impl NotifyTable {
    const NOTIFIES: usize = 256;

    /// Returns the notification of a license.
    pub(crate) fn of(&self, id: LicenseId) -> &Notify {
        &self.0[(fold(id) >> 32) as usize % Self::NOTIFIES]
    }
}

impl Default for NotifyTable {
    fn default() -> Self {
        Self((0..Self::NOTIFIES).map(|_| Notify::new()).collect())
    }
}

/// Returns a hash of a license id. The lower half of an id is random, so that folding is enough.
pub(super) fn fold(id: LicenseId) -> u64 {
    let bits = id.as_u128();
    ((bits >> 64) as u64 ^ bits as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
