//! Addresses that could not be connected to, set aside for a while: what the calls themselves find out.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long an address is set aside that failed once; twice as long after each trial that failed, too.
const FIRST: Duration = Duration::from_secs(10);
/// So many times it is doubled at most.
const DOUBLINGS: u32 = 4;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What calls have found of one address. Shared by all threads.
#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Milliseconds since [`START`] until when it is passed over; 0: it is not.
    until: AtomicU64,
    /// Failures since it was connected to last: the first, and those of trials.
    failures: AtomicU32,
    /// Whether a call tries it, and nothing is known yet of what came of that.
    on_trial: AtomicBool,
}

fn now() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Aside {
    /// Whether calls may try it. Once its time is over, one call tries it and the others wait for what comes of that.
    pub(super) fn may_be_tried(&self) -> bool {
        self.may_be_tried_at(now)
    }

    fn may_be_tried_at(&self, now: impl Fn() -> u64) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        // The clock is read only where something was wrong.
        if until == 0 {
            return true;
        }
        let now = now();
        now >= until && self.postpone(until, now)
    }

    fn postpone(&self, until: u64, now: u64) -> bool {
        let next = now + FIRST.as_millis() as u64;
        let order = Ordering::Relaxed;
        let exchanged = self.until.compare_exchange(until, next, order, order);
        let is_mine = exchanged.is_ok();
        if is_mine {
            self.on_trial.store(true, Ordering::Relaxed);
        }
        is_mine
    }

    /// Notes that it could not be connected to.
    pub(super) fn fails(&self) {
        self.fails_at(now());
    }

    fn fails_at(&self, now: u64) {
        let is_set_aside = self.until.load(Ordering::Relaxed) != 0;
        if is_set_aside && !self.on_trial.swap(false, Ordering::Relaxed) {
            // It failed together with the call that set the address aside, and says nothing new.
            return;
        }
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        let time = FIRST.as_millis() as u64 * (1 << before.min(DOUBLINGS));
        self.until.store(now + time, Ordering::Relaxed);
    }

    /// Notes that it was connected to.
    pub(super) fn works(&self) {
        if self.until.load(Ordering::Relaxed) != 0 {
            self.until.store(0, Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
            self.on_trial.store(false, Ordering::Relaxed);
        }
    }
}

/// The addresses of a name, the two families in turn (RFC 8305, section 4), beginning with that which the resolver prefers:
/// where one family leads nowhere, the next address is of the other.
pub(super) fn interleaved(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<_> = addresses.collect();
    let preferred = addresses.first().is_some_and(SocketAddr::is_ipv6);
    // In the same order at each time, whatever order a name server gives them in.
    addresses.sort_unstable();
    addresses.dedup();
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == preferred);
    let mut all = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        match (first.next(), second.next()) {
            (None, None) => return all,
            (one, other) => all.extend(one.into_iter().chain(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter()
            .map(|text| text.parse().expect("an address"))
            .collect()
    }

    #[test]
    fn families_take_turns() {
        let given = addresses(&["[::2]:1", "[::1]:1", "10.0.0.1:1", "[::3]:1", "[::1]:1"]);
        let expected = addresses(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(interleaved(given.into_iter()), expected);
        let given = addresses(&["10.0.0.2:1", "[::1]:1", "10.0.0.1:1"]);
        let expected = addresses(&["10.0.0.1:1", "[::1]:1", "10.0.0.2:1"]);
        assert_eq!(interleaved(given.into_iter()), expected);
    }

    #[test]
    fn an_address_is_set_aside_for_longer_each_time_and_then_tried_by_one_call() {
        let aside = Aside::default();
        let may = |at: u64| aside.may_be_tried_at(|| at);
        assert!(may(1));
        // Several calls fail at once: that is one failure.
        (0..8).for_each(|_| aside.fails_at(1));
        assert!(!may(10_000));
        assert!(may(10_001), "one tries it");
        assert!(!may(10_002), "the others do not");
        aside.fails_at(10_003);
        aside.fails_at(10_004);
        assert!(!may(30_002) && may(30_003), "twice as long");
        aside.works();
        assert!(may(30_004) && may(30_004));
        aside.fails_at(30_005);
        assert!(may(40_005), "it begins anew");
    }
}
