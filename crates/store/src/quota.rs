//! The store of balances and of the leases that gates hold on them.
//!
//! No balance is a mutable number: units left = granted − spent by finished instances − leased out.
//! What is credited or debited by hand is added to `granted`, or taken off it.
//! A lease row holds the units that one instance took (`granted`), gave back (`returned`) and is
//! known to have spent (`spent`, moved by rollups). Units of a lease are free again only when they
//! were given back, or when the instance is finished and its journal has been read.

use async_trait::async_trait;
use model::{Counter, InstanceId, LicenseId, Timestamp};

use crate::credits::CreditStore;
use crate::error::Error;

/// The identity of a lease, but for its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseKey {
    /// The license.
    pub license_id: LicenseId,
    /// The counter.
    pub counter: Counter,
    /// For a window: the number of its period ([`Timestamp::period`]). For the balance: its epoch,
    /// which begins anew with every refill that sets and with every change of the balance by hand.
    pub period: u32,
}

/// A request for units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The lease. For the balance the period is ignored: units are leased from the present epoch.
    pub key: LeaseKey,
    /// The number of units; 0 takes nothing and asks how many are left.
    pub want: u64,
    /// For a window: the number of calls that it lets pass. For the balance: ignored.
    pub capacity: u64,
}

/// The answer to a request for units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseGrant {
    /// The lease; for the balance with the present epoch.
    pub key: LeaseKey,
    /// The units that were leased, at most those requested; 0: nothing is left.
    pub units: u64,
    /// The units that could still be leased after this, by anybody.
    pub left: u64,
    /// Of a balance with nothing left: the units that other instances hold and are not known to
    /// have spent. They may come back, except those that are held for request tokens, which are not
    /// counted here.
    pub elsewhere: u64,
    /// The time of the balance's next refill; `None`: never, or a window.
    pub next_refill_at: Option<Timestamp>,
}

/// The returns and requests of an instance in one round. It has one round after the other, each
/// under a higher number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseRound {
    /// The number of the round, from 1.
    pub number: u64,
    /// The units to give back, before any are leased.
    pub returns: Vec<(LeaseKey, u64)>,
    /// The units to lease.
    pub requests: Vec<LeaseRequest>,
}

/// A balance as reports show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The units granted in this epoch, with what was credited and without what was debited.
    pub granted: u64,
    /// The units known to be spent in this epoch.
    pub spent: u64,
    /// The units leased to gates and not known to be spent.
    pub leased: u64,
    /// The epoch.
    pub epoch: u32,
    /// The time of the next refill; `None`: never.
    pub next_refill_at: Option<Timestamp>,
}

/// The store of balances and leases.
#[async_trait]
pub trait QuotaStore: Send + Sync + 'static {
    /// Returns this store's part that credits and debits balances.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this store cannot.
    fn credits(&self) -> Result<&dyn CreditStore, Error> {
        Err(Error::Unavailable("it knows no credits".to_owned()))
    }

    /// Leases units, all requests in one transaction, each as far as it can be fulfilled. A refill
    /// that is due at `now` is claimed first, once per license and period number, whatever the
    /// number of periods that passed.
    ///
    /// Requests for licenses without a balance (or unknown ones) are granted nothing. So are
    /// requests for a window before the one that precedes `now`, and all requests of an instance
    /// that is finished, since nobody would settle them.
    async fn lease(
        &self,
        instance: InstanceId,
        requests: Vec<LeaseRequest>,
        now: Timestamp,
    ) -> Result<Vec<LeaseGrant>, Error>;

    /// Does [`give_back`](Self::give_back), then [`lease`](Self::lease), as one: all of it is done,
    /// or nothing.
    ///
    /// A round under the number of the instance's last one is not done again: it gets the same
    /// answer. So a round whose answer was lost can be asked again until there is one, and no unit
    /// is granted that nobody hears of.
    async fn lease_round(
        &self,
        instance: InstanceId,
        round: LeaseRound,
        now: Timestamp,
    ) -> Result<Vec<LeaseGrant>, Error>;

    /// Gives units of a lease back; units beyond those that are unspent of it are ignored.
    async fn give_back(
        &self,
        instance: InstanceId,
        units: Vec<(LeaseKey, u64)>,
    ) -> Result<(), Error>;

    /// Returns the balance of a license, after any refill that is due; `None` if it has none.
    async fn balance(
        &self,
        license_id: LicenseId,
        now: Timestamp,
    ) -> Result<Option<Balance>, Error>;

    /// Settles every lease of an instance whose journal has been read to its end: spent units are
    /// spent, the others are free. Doing it twice does nothing more.
    async fn settle_instance(&self, instance: InstanceId) -> Result<(), Error>;
}
