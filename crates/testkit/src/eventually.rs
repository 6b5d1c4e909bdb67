//! Waiting for a condition, with a deadline, instead of sleeping and hoping.

use std::time::{Duration, Instant};

/// Milliseconds that any wait of a test may take; the environment variable `TALLYGATE_TEST_PATIENCE_MS` changes it.
pub const DEFAULT_PATIENCE_MS: u64 = 20_000;

/// How long a test waits for what must come: generous, since only a failing test ever waits that long.
///
/// # Panics
/// When the environment variable is set and is no whole number.
#[must_use]
pub fn patience() -> Duration {
    let milliseconds = match std::env::var("TALLYGATE_TEST_PATIENCE_MS") {
        Ok(text) => text
            .parse()
            .expect("TALLYGATE_TEST_PATIENCE_MS is a whole number"),
        Err(_) => DEFAULT_PATIENCE_MS,
    };
    Duration::from_millis(milliseconds)
}

/// Asks `condition` again and again, with pauses growing to 20 ms, until it gives a value or the deadline passes.
pub fn wait_for<T>(within: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Waits until the condition holds; panics with the expression, or the given message, when patience ends first.
#[macro_export]
macro_rules! assert_eventually {
    ($condition:expr $(,)?) => {
        $crate::assert_eventually!($condition, "{}", stringify!($condition))
    };
    ($condition:expr, $($message:tt)+) => {
        let patience = $crate::eventually::patience();
        if $crate::eventually::wait_for(patience, || ($condition).then_some(())).is_none() {
            panic!("not within {patience:?}: {}", format_args!($($message)+));
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_ends_the_wait() {
        let mut asked = 0;
        let found = wait_for(Duration::from_secs(5), || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(found, Some(3));
    }

    #[test]
    fn a_condition_that_never_holds_ends_at_the_deadline() {
        assert_eq!(wait_for(Duration::ZERO, || None::<()>), None);
    }
}
