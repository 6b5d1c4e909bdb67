//! Credits and debits: changes by hand of what is left of a balance, in which no epoch begins, so
//! that calls go on beside them. With them the wallets of accounts, whose balances they are about
//! above all.
//!
//! A license holds the sums of all its credits and debits, a balance what it has applied of them.
//! So a change that was written down is applied once, at the latest with the next lease.

use async_trait::async_trait;
use model::{License, LicenseId, Timestamp};

use crate::audit::AuditEntries;
use crate::error::Error;
use crate::licenses::StoredLicense;
use crate::quota::Balance;

/// A change by hand of what is left of a balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjustment {
    /// Units are added.
    Credit(u64),
    /// Units are taken, as many as are free: neither spent nor leased to a gate.
    Debit(u64),
}

/// A balance after a change by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjusted {
    /// The license; the change has a number like any other.
    pub license: StoredLicense,
    /// The units that were added or taken: fewer than asked for if a debit found fewer free.
    pub units: u64,
    /// The balance.
    pub balance: Balance,
}

/// The store of credits and debits.
#[async_trait]
pub trait CreditStore: Send + Sync + 'static {
    /// Adds units to a balance, or takes those that are free of it, beside all leases. The balance
    /// stays in its epoch, unless a refill is due, which is claimed first. Sums that leave 63 bits
    /// stay at the end of the range.
    ///
    /// Returns `None` if there is no such license, its units are not counted, or it is revoked.
    /// After an error the change may have been written down; then it is applied.
    async fn adjust_balance(
        &self,
        id: LicenseId,
        by: Adjustment,
        now: Timestamp,
        entries: AuditEntries<()>,
    ) -> Result<Option<Adjusted>, Error>;

    /// Keeps the wallet of the account that `wallet` names, if that has none yet, and notes its id
    /// with the account. Returns it as it is kept, with nothing spent of it; `None`: there is no
    /// such account, or it has a wallet.
    async fn create_wallet(
        &self,
        wallet: License,
        entries: AuditEntries<()>,
    ) -> Result<Option<StoredLicense>, Error>;
}

impl Adjustment {
    /// Returns the units that are added and those that are to be taken; one of the two is 0.
    pub(crate) const fn credit_and_debit(self) -> (u64, u64) {
        match self {
            Self::Credit(units) => (units, 0),
            Self::Debit(units) => (0, units),
        }
    }
}
