//! A filter of lines for a log.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::time::Timestamp;

/// A filter that lets one line a minute into the log.
#[derive(Debug, Default)]
pub struct OncePerMinute(AtomicI64);

impl OncePerMinute {
    /// Returns whether a line may be written now, and counts it.
    pub fn passes(&self, at: Timestamp) -> bool {
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
