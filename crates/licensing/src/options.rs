//! Sizes and times.

use std::time::Duration;

/// How the license cache behaves.
#[derive(Clone, Copy, Debug)]
pub struct LicensingOptions {
    /// Credentials kept in memory; the least used are dropped beyond it.
    pub cache_capacity: usize,
    /// Credentials known not to exist although their fingerprint does; a cache of its own.
    pub negative_capacity: usize,
    /// How long such a one is believed without asking the store again.
    pub negative_ttl: Duration,
    /// Time between two reads of the store's changes.
    pub change_poll: Duration,
    /// How old the last read of the changes may be before a gate lives on its grace (G8).
    pub stale_after: Duration,
    /// Shortest time between the beginnings of two reads that only keys unknown here ask for.
    pub unknown_key_pause: Duration,
    /// Longest time that a call with a key unknown here waits for a read of the changes.
    pub unknown_key_timeout: Duration,
    /// Longest time that a call waits for its license to be loaded.
    pub load_timeout: Duration,
    /// Licenses being loaded at once; calls beyond it are refused.
    pub loads_in_flight: usize,
    /// Leases of units.
    pub lease: LeaseOptions,
}

/// How units are leased from the store.
#[derive(Clone, Copy, Debug)]
pub struct LeaseOptions {
    /// Whether this gate is the only one on its store, so that it may take all that is left of a balance.
    pub alone: bool,
    /// Units of a first lease, before the meter knows its rate.
    pub first: u64,
    /// Most units of one lease, but for a single call that asks for more.
    pub most: u64,
    /// For how long a lease should last at the rate of the recent past.
    pub horizon: Duration,
    /// How long a lease lies unused before it is given back.
    pub idle_after: Duration,
    /// How long "nothing is left" is believed, when nothing is known to have changed it; at least 100 ms.
    pub recheck: Duration,
    /// Longest time that a call waits for units.
    pub timeout: Duration,
    /// Licenses whose wishes go to the store in one statement.
    pub batch: usize,
}

impl Default for LicensingOptions {
    fn default() -> Self {
        Self {
            cache_capacity: 1_000_000,
            negative_capacity: 16_384,
            negative_ttl: Duration::from_secs(5),
            change_poll: Duration::from_secs(1),
            stale_after: Duration::from_secs(2),
            unknown_key_pause: Duration::from_millis(50),
            unknown_key_timeout: Duration::from_millis(250),
            load_timeout: Duration::from_millis(500),
            loads_in_flight: 1_024,
            lease: LeaseOptions::default(),
        }
    }
}

impl Default for LeaseOptions {
    fn default() -> Self {
        Self {
            alone: true,
            first: 16,
            most: 10_000,
            horizon: Duration::from_secs(2),
            idle_after: Duration::from_secs(30),
            recheck: Duration::from_secs(5),
            timeout: Duration::from_millis(500),
            batch: 256,
        }
    }
}
