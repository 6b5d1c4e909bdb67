//! Waits for a condition with a deadline, instead of sleeping and hoping.

use std::time::{Duration, Instant};

/// The milliseconds that a wait of a test may take; the environment variable
/// `TALLYGATE_TEST_TIMEOUT_MS` changes it.
pub const DEFAULT_TEST_TIMEOUT_MS: u64 = 20_000;

/// Returns the timeout of a test's waits: generous, since only a failing test ever waits that long.
///
/// # Panics
/// When the environment variable is set and is not a whole number.
#[must_use]
pub fn test_timeout() -> Duration {
    let milliseconds = match std::env::var("TALLYGATE_TEST_TIMEOUT_MS") {
        Ok(text) => text
            .parse()
            .expect("TALLYGATE_TEST_TIMEOUT_MS is a whole number"),
        Err(_) => DEFAULT_TEST_TIMEOUT_MS,
    };
    Duration::from_millis(milliseconds)
}

/// Calls `condition` again and again, with pauses growing to 20 ms, until it gives a value or the
/// deadline passes.
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

/// Waits until the condition holds, asking every millisecond, while other tasks of the test's
/// runtime go on.
///
/// # Panics
/// When the [`test_timeout`] ends first.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    eventually_async(what, async || condition()).await;
}

/// Waits like [`eventually`] for a condition that has to be awaited.
///
/// # Panics
/// When the [`test_timeout`] ends first.
pub async fn eventually_async(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let timeout = test_timeout();
    let deadline = Instant::now() + timeout;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {timeout:?}: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until the condition holds; panics with the expression, or the given message, when the
/// timeout ends first.
#[macro_export]
macro_rules! assert_eventually {
    ($condition:expr $(,)?) => {
        $crate::assert_eventually!($condition, "{}", stringify!($condition))
    };
    ($condition:expr, $($message:tt)+) => {
        let timeout = $crate::eventually::test_timeout();
        if $crate::eventually::wait_for(timeout, || ($condition).then_some(())).is_none() {
            panic!("not within {timeout:?}: {}", format_args!($($message)+));
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
