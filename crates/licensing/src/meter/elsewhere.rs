//! The count of other gates, as a meter knows it.

use model::Timestamp;

use crate::fleet::PeerCounts;

/// The count of the other gates, as of the last exchange.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CountElsewhere {
    count: u32,
    /// The time at which the count stops being believed, in microseconds since the UNIX epoch.
    until: i64,
}

impl CountElsewhere {
    /// Returns the count; 0 if it is not believed any more at `now`.
    pub(super) const fn at(self, now: i64) -> u32 {
        if now < self.until { self.count } else { 0 }
    }

    /// Replaces the count by that of a new exchange.
    pub(super) fn learn(&mut self, peers: PeerCounts, now: Timestamp) {
        let left = i64::try_from(peers.left.as_micros()).unwrap_or(i64::MAX);
        *self = Self {
            count: peers.count,
            until: now.plus_micros(left).micros(),
        };
    }
}
