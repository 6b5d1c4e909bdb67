//! Options: sizes and times.

use std::time::Duration;

/// Options of the license cache.
#[derive(Clone, Copy, Debug)]
pub struct LicensingOptions {
    /// The number of credentials kept in memory \[1,000,000\]. Beyond it the least used are
    /// dropped.
    pub cache_capacity: usize,
    /// The number of remembered keys that do not exist although their fingerprint does, in a cache
    /// of their own \[16,384\].
    pub negative_capacity: usize,
    /// The time for which such a key is taken for unknown without asking the store again \[5 s\].
    pub negative_ttl: Duration,
    /// The time between two reads of the store's changes \[1 s\].
    pub change_poll: Duration,
    /// The age of the last read of the changes beyond which a gate lives on its grace (G8) \[2 s\].
    pub stale_after: Duration,
    /// The shortest time between the beginnings of two reads that only unknown keys ask for \[50
    /// ms\].
    pub unknown_key_pause: Duration,
    /// The longest time that a call with an unknown key waits for a read of the changes \[250 ms\].
    pub unknown_key_timeout: Duration,
    /// The longest time that a call waits for its license to be loaded \[500 ms\].
    pub load_timeout: Duration,
    /// The number of licenses that are loaded at once \[1,024\]. Further calls are refused.
    pub loads_in_flight: usize,
    /// The options of leases.
    pub lease: LeaseOptions,
}

/// Options of leases of units from the store.
#[derive(Clone, Copy, Debug)]
pub struct LeaseOptions {
    /// Whether this gate is the only one on its store, so that it may take all that is left of a
    /// balance \[true\].
    pub alone: bool,
    /// The units of a first lease, before the meter knows its rate \[16\].
    pub first: u64,
    /// The most units of one lease, except for a single call that asks for more \[10,000\].
    pub most: u64,
    /// The time that a lease should last at the recent rate \[2 s\].
    pub horizon: Duration,
    /// The time for which a lease lies unused before it is given back \[30 s\].
    pub idle_after: Duration,
    /// How long "nothing is left" is believed while nothing is known to have changed it; at least
    /// 100 ms \[5 s\].
    pub recheck: Duration,
    /// The longest time that a call waits for units \[500 ms\].
    pub timeout: Duration,
    /// The number of licenses whose lease requests go to the store in one statement \[256\].
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
