//! The rules for answers whose units cannot be read.

use std::sync::atomic::{AtomicI64, Ordering};

use model::Timestamp;

/// The cost of a call whose answer names units that cannot be read.
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

/// A filter that lets one line a minute into the log.
#[derive(Debug, Default)]
pub(crate) struct OncePerMinute(AtomicI64);

impl OncePerMinute {
    /// Returns whether a line may be written now, and counts it.
    pub(crate) fn passes(&self, at: Timestamp) -> bool {
        const MINUTE: i64 = 60_000_000;
        // Counted from 1: the filter starts with 0, which stands for no line yet.
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
