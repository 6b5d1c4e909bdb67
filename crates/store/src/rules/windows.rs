//! The rule of the windows of a key: a call is counted in all of them or in none.

use model::{RateLimit, Timestamp};

use crate::sessions::{KeyCall, WindowCount};

/// The count of a window as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptWindow {
    /// The length in seconds, by which a window of a key is found.
    pub(crate) seconds: u32,
    /// The period that was counted last.
    pub(crate) period: u32,
    /// The calls of that period.
    pub(crate) calls: u32,
}

/// Returns how full the windows are, and whether one more call fits into each. A period never goes
/// back, however the clocks of gates differ.
pub(crate) fn judge(kept: &[KeptWindow], limits: &[RateLimit], now: Timestamp) -> KeyCall {
    let count = |limit: &RateLimit| {
        let seconds = limit.window.seconds();
        let present = now.period(seconds);
        let last = kept.iter().find(|kept| kept.seconds == seconds);
        let (period, calls) = match last {
            Some(last) if last.period >= present => (last.period, last.calls),
            _ => (present, 0),
        };
        let end = (i64::from(period) + 1) * i64::from(seconds);
        WindowCount {
            limit: *limit,
            calls,
            resets_at: Timestamp::from_micros(end * 1_000_000),
        }
    };
    let windows: Vec<_> = limits.iter().map(count).collect();
    let fits = |window: &WindowCount| window.calls < window.limit.calls;
    KeyCall {
        admitted: windows.iter().all(fits),
        windows,
    }
}

/// Counts a call that was admitted. Returns the windows as they are to be stored.
pub(crate) fn count(call: &mut KeyCall) -> Vec<KeptWindow> {
    let count = |window: &mut WindowCount| {
        window.calls += 1;
        let seconds = window.limit.window.seconds();
        let period = window.resets_at.seconds() / i64::from(seconds) - 1;
        KeptWindow {
            seconds,
            period: u32::try_from(period).unwrap_or(u32::MAX),
            calls: window.calls,
        }
    };
    call.windows.iter_mut().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_fits_into_all_windows_or_none_and_periods_never_go_back() {
        let limits: Vec<RateLimit> = ["2/1m", "3/1h"]
            .into_iter()
            .map(|limit| limit.parse().expect("valid"))
            .collect();
        let minute = |minutes: i64| Timestamp::from_micros(minutes * 60_000_000);
        let mut kept = Vec::new();
        for (at, admitted) in [(60, true), (59, true), (60, false), (61, true), (62, false)] {
            let mut call = judge(&kept, &limits, minute(at));
            assert_eq!(call.admitted, admitted, "minute {at}: {call:?}");
            if admitted {
                kept = count(&mut call);
            }
        }
        assert_eq!(judge(&kept, &limits, minute(120)).windows[1].calls, 0);
    }
}
