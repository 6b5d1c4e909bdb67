//! What a route does about units that its upstream names and that cannot be read.

use std::sync::atomic::{AtomicI64, Ordering};

use model::Timestamp;

/// What a call costs whose answer names units that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnitsUnreadable {
    /// The units of its route.
    #[default]
    Units,
    /// The most that an answer of its route may name.
    Max,
    /// The units of its route, not billed.
    Unbilled,
}

/// Lets one line a minute into the log.
#[derive(Debug, Default)]
pub(crate) struct OncePerMinute(AtomicI64);

impl OncePerMinute {
    pub(crate) fn passes(&self, at: Timestamp) -> bool {
        const MINUTE: i64 = 60_000_000;
        // From 1 up, since nothing was let through in minute 0 yet.
        let minute = at.micros() / MINUTE + 1;
        self.0.swap(minute, Ordering::Relaxed) != minute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_passes() {
        let log = OncePerMinute::default();
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let passed = [0, 1, 59, 60, 61, 119, 200].map(|second| log.passes(at(second)));
        assert_eq!(passed, [true, false, false, true, false, false, true]);
    }
}
