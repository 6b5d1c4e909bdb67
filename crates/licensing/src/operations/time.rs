//! The arithmetic of points in time.

use std::time::Duration;

use model::Timestamp;

/// Returns the time `by` after `now`. A sum out of range is the last time that there is.
pub(crate) fn after(now: Timestamp, by: Duration) -> Timestamp {
    now.plus_micros(i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
}
