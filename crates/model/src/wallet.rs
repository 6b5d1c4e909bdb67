//! The wallet of an account: the license that holds its credits.
//!
//! It is a license of every app of the account without a credential, so that its balance goes
//! through the same leases, epochs and settlements as any other, and nothing can be called with it.
//! Its id follows from the name of the account: a gate that does not know it yet knows which change
//! of the store would be its creation.

use sha2::{Digest, Sha256};

use crate::id::LicenseId;
use crate::license::License;
use crate::name::AccountName;

impl LicenseId {
    /// Returns the id of the wallet of an account, whether there is one or not. It has the form of
    /// a UUID version 8, which no generated id has.
    #[must_use]
    pub fn of_wallet(account: &AccountName) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"tallygate wallet 1\0");
        hasher.update(account.as_str());
        let digest: [u8; 32] = hasher.finalize().into();
        let (first, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
        Self::from_u128(
            uuid::Builder::from_custom_bytes(*first)
                .into_uuid()
                .as_u128(),
        )
    }

    /// Returns whether this may be the id of a wallet: no generated id is.
    #[must_use]
    pub fn may_be_wallet(self) -> bool {
        uuid::Uuid::from_u128(self.as_u128()).get_version_num() == 8
    }
}

impl License {
    /// Returns whether this is the wallet of its account.
    #[must_use]
    pub fn is_wallet(&self) -> bool {
        self.app.is_every() && self.id == LicenseId::of_wallet(&self.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wallet_has_the_id_of_its_account_for_ever() {
        let id = LicenseId::of_wallet(&AccountName::default());
        assert_eq!(id.to_string(), "lic_6ef53c943e3083c4934ca8d7e8b0f67a");
        assert_ne!(id, LicenseId::of_wallet(&"acme".parse().expect("valid")));
        assert!(id.may_be_wallet() && !LicenseId::generate().may_be_wallet());
    }
}
