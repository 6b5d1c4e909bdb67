//! The wallets that are known not to exist, so that an account without one costs no look-up.

use std::collections::HashSet;

use model::LicenseId;
use parking_lot::RwLock;

/// The ids of wallets that the store does not have, as far as the changes were read. Changed only
/// with the log of changes locked, so that a change never comes between a reading and its note.
#[derive(Debug, Default)]
pub(super) struct AbsentWallets(RwLock<HashSet<LicenseId>>);

impl AbsentWallets {
    /// The largest number that is kept; beyond it all are forgotten. Accounts that are asked for
    /// are those of apps, which are few.
    const MOST: usize = 4_096;

    /// Returns whether a wallet is known not to exist.
    pub(super) fn holds(&self, id: LicenseId) -> bool {
        self.0.read().contains(&id)
    }

    /// Records that a wallet does not exist.
    pub(super) fn insert(&self, id: LicenseId) {
        let mut absent = self.0.write();
        if absent.len() >= Self::MOST {
            absent.clear();
        }
        absent.insert(id);
    }

    /// Records that there is a license of this id.
    pub(super) fn remove(&self, id: LicenseId) {
        // Most changes are of other licenses.
        if self.holds(id) {
            self.0.write().remove(&id);
        }
    }

    pub(super) fn clear(&self) {
        self.0.write().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wallet_is_absent_until_there_is_one_and_no_more_are_kept_than_is_said() {
        let absent = AbsentWallets::default();
        let id = |number: usize| LicenseId::from_u128(number as u128);
        for number in 0..AbsentWallets::MOST {
            absent.insert(id(number));
        }
        absent.remove(id(1));
        assert!(absent.holds(id(0)) && !absent.holds(id(1)));
        absent.insert(id(1));
        absent.insert(id(AbsentWallets::MOST));
        assert!(absent.holds(id(AbsentWallets::MOST)) && !absent.holds(id(0)));
        absent.clear();
        assert!(!absent.holds(id(AbsentWallets::MOST)));
    }
}
