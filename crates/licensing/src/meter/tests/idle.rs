//! The windows that end by idleness, against a model of a few lines.

use proptest::prelude::*;

use super::*;

/// Calls pass while the count is below the most; it is forgotten when none has passed for longer
/// than the window.
struct Simple {
    most: u32,
    window: i64,
    count: u32,
    last: Option<i64>,
}

impl Simple {
    fn passes(&mut self, now: i64) -> bool {
        if self.last.is_some_and(|last| now - last > self.window) {
            self.count = 0;
        }
        if self.count >= self.most {
            return false;
        }
        self.count += 1;
        self.last = Some(now);
        true
    }
}

proptest! {
    #[test]
    fn an_idle_window_agrees_with_a_simple_model(
        most in 1..6_u32,
        seconds in 1..20_u32,
        gaps in prop::collection::vec(
            prop_oneof![0..30 * SECOND, (1..20_i64).prop_map(|seconds| seconds * SECOND)],
            1..80,
        ),
    ) {
        let text = format!("{most}/{seconds}s,idle");
        let limits = Arc::new(limits(false, &[&text], None));
        let (meter, mut store) = (Meter::new(LICENSE), Store::new(0, None));
        let window = i64::from(seconds) * SECOND;
        let mut simple = Simple { most, window, count: 0, last: None };
        let mut now = START;
        for gap in gaps {
            now += gap;
            let taken = acquire(&meter, &limits, &mut store, &ask(1, now));
            let passes = simple.passes(now);
            prop_assert_eq!(taken.is_ok(), passes, "at {}", now - START);
            match taken {
                Ok(taken) => {
                    let left = taken.view().expect("a window").remaining;
                    prop_assert_eq!(most - left, simple.count);
                    meter.settle(taken, 0);
                }
                Err(refused) => {
                    let since = now - simple.last.expect("something passed");
                    let wait = u32::try_from(((window - since).max(1) - 1) / SECOND + 1);
                    prop_assert_eq!(refused.retry_after, wait.ok());
                }
            }
        }
    }
}

#[test]
fn a_call_that_was_not_sent_is_not_counted() {
    let limits = Arc::new(limits(false, &["1/1h,idle"], None));
    let (meter, mut store) = (Meter::new(LICENSE), Store::new(0, None));
    let mut take = |second: i64| {
        let ask = ask(1, START + second * SECOND);
        acquire(&meter, &limits, &mut store, &ask)
    };
    meter.cancel(take(0).unwrap());
    let taken = take(1).unwrap();
    assert_eq!(take(2).unwrap_err().refusal, Refusal::RateLimited);
    meter.settle(taken, 0);
    assert_eq!(take(3).unwrap_err().refusal, Refusal::RateLimited);
}
