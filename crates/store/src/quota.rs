//! Balances and the leases that gates hold on them.
//!
//! No balance is a mutable number: what is left = granted − spent by finished instances − leased out. A lease row holds what
//! one instance took (`granted`), gave back (`returned`) and is known to have spent (`spent`, moved by rollups). Units of a
//! lease are free again only when they were given back, or when the instance is finished and its journal has been read.

use async_trait::async_trait;
use model::{Counter, InstanceId, LicenseId, Timestamp};

use crate::error::Error;

/// What a lease is taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseKey {
    /// The license.
    pub license_id: LicenseId,
    /// Its counter.
    pub counter: Counter,
    /// For a window: the number of its period ([`Timestamp::period`]). For the balance: its epoch, which begins anew with
    /// every refill that sets and with every change of the balance by hand.
    pub period: u32,
}

/// A wish for units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// On what. For the balance the period is ignored: the present epoch is leased from.
    pub key: LeaseKey,
    /// Units wished for; 0 takes nothing and asks how many are left.
    pub want: u64,
    /// For a window: how many calls it lets pass. For the balance: ignored.
    pub capacity: u64,
}

/// What was leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseGrant {
    /// On what; for the balance with the present epoch.
    pub key: LeaseKey,
    /// Units, at most those wished for; 0: nothing is left.
    pub units: u64,
    /// Units that could still be leased after this, by anybody.
    pub left: u64,
    /// Of a balance with nothing left: units that other instances hold and are not known to have spent. They may come back,
    /// except those that are held for request tokens, which are not told here.
    pub elsewhere: u64,
    /// When the balance is refilled next; `None`: never, or a window.
    pub next_refill_at: Option<Timestamp>,
}

/// What an instance asks for and gives back at once. It has one round after the other, each under a higher number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseRound {
    /// Its number, from 1.
    pub number: u64,
    /// Units to give back, before any are leased.
    pub returns: Vec<(LeaseKey, u64)>,
    /// Units to lease.
    pub requests: Vec<LeaseRequest>,
}

/// A balance as people want to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Units granted in this epoch.
    pub granted: u64,
    /// Units known to be spent in this epoch.
    pub spent: u64,
    /// Units leased to gates and not known to be spent.
    pub leased: u64,
    /// The epoch.
    pub epoch: u32,
    /// When it is refilled next.
    pub next_refill_at: Option<Timestamp>,
}

/// Balances and leases.
#[async_trait]
pub trait QuotaStore: Send + Sync + 'static {
    /// Leases units, all requests in one transaction, each as far as it can be fulfilled. A refill that is due at `now` is
    /// claimed first, once per license and period number, whatever the number of periods that passed.
    ///
    /// Requests for licenses without a balance (or unknown ones) are granted nothing. So are requests for a window before the
    /// one that precedes `now`, and all requests of an instance that is finished, since nobody would settle them.
    async fn lease(
        &self,
        instance: InstanceId,
        requests: Vec<LeaseRequest>,
        now: Timestamp,
    ) -> Result<Vec<LeaseGrant>, Error>;

    /// [`give_back`](Self::give_back), then [`lease`](Self::lease), as one: all of it is done, or nothing.
    ///
    /// A round under the number of the instance's last one is not done again: it is answered what that was. So a round whose
    /// answer was lost can be asked again until there is one, and no unit is granted that nobody hears of.
    async fn lease_round(
        &self,
        instance: InstanceId,
        round: LeaseRound,
        now: Timestamp,
    ) -> Result<Vec<LeaseGrant>, Error>;

    /// Gives units of a lease back; more than is unspent of it is ignored.
    async fn give_back(
        &self,
        instance: InstanceId,
        units: Vec<(LeaseKey, u64)>,
    ) -> Result<(), Error>;

    /// The balance of a license, after any refill that is due; `None` if it has none.
    async fn balance(
        &self,
        license_id: LicenseId,
        now: Timestamp,
    ) -> Result<Option<Balance>, Error>;

    /// Settles every lease of an instance whose journal has been read to its end: what it spent is spent, the rest is free.
    /// Doing it twice does nothing more.
    async fn settle_instance(&self, instance: InstanceId) -> Result<(), Error>;
}
