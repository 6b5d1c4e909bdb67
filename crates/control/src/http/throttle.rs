//! The limit of failed credentials per address and minute, which makes guessing slow.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use model::{Address, Timestamp};
use parking_lot::Mutex;

/// The number of addresses that are counted at most in a minute. A guesser with more of them gains
/// nothing against 256 random bits.
const MAX_ADDRESSES: usize = 10_000;
const MINUTE_US: i64 = 60_000_000;

/// A counter of failed credentials. An IPv6 address counts as its /64. Clients that are not counted
/// are sorted out before, see [`Client::guesser`](crate::protocol::Client::guesser).
#[derive(Debug)]
pub(crate) struct Throttle {
    per_minute: u32,
    window: Mutex<Window>,
}

/// The failed credentials that an address may still have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// The number of failures allowed in a minute.
    pub limit: u32,
    /// The number of failures that are left in this minute.
    pub remaining: u32,
    /// The end of this minute.
    pub resets_at: Timestamp,
}

/// The number of failures by address in one minute.
#[derive(Debug, Default)]
struct Window {
    minute: i64,
    failures: HashMap<Address, u32>,
}

impl Throttle {
    /// Returns a throttle that allows an address this many failures in a minute; with 0, none may
    /// try.
    #[must_use]
    pub(crate) fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            window: Mutex::new(Window::default()),
        }
    }

    /// Refuses an address that failed too often in this minute.
    ///
    /// # Errors
    /// Returns the time until the minute is over.
    pub(crate) fn admit(&self, address: Address, now: Timestamp) -> Result<(), Duration> {
        let address = counted(address);
        let mut window = self.window.lock();
        window.roll_over(now);
        let failures = window.failures.get(&address).copied().unwrap_or(0);
        if failures < self.per_minute {
            return Ok(());
        }
        let rest = MINUTE_US - now.micros().rem_euclid(MINUTE_US);
        Err(Duration::from_micros(rest.unsigned_abs()))
    }

    /// Returns how many failures an address may still have, of how many, and until when; all of
    /// them for `None`, which is not counted.
    pub(crate) fn left(&self, address: Option<Address>, now: Timestamp) -> Attempts {
        let minute = now.micros().div_euclid(MINUTE_US);
        let mut window = self.window.lock();
        window.roll_over(now);
        let failures = address.and_then(|address| window.failures.get(&counted(address)).copied());
        Attempts {
            limit: self.per_minute,
            remaining: self.per_minute.saturating_sub(failures.unwrap_or(0)),
            resets_at: Timestamp::from_micros((minute + 1) * MINUTE_US),
        }
    }

    /// Counts a failure. A new address beyond the largest number of them is not counted.
    pub(crate) fn failed(&self, address: Address, now: Timestamp) {
        let address = counted(address);
        let mut window = self.window.lock();
        window.roll_over(now);
        if window.failures.len() >= MAX_ADDRESSES && !window.failures.contains_key(&address) {
            return;
        }
        let failures = window.failures.entry(address).or_default();
        *failures = failures.saturating_add(1);
    }
}

impl Window {
    /// Clears the counts if a new minute has begun.
    fn roll_over(&mut self, now: Timestamp) {
        let minute = now.micros().div_euclid(MINUTE_US);
        if minute != self.minute {
            self.minute = minute;
            self.failures.clear();
        }
    }
}

/// Returns the address that another is counted as: the /64 of an IPv6 address.
fn counted(address: Address) -> Address {
    match address.ip() {
        IpAddr::V6(ip) => {
            let network = ip.to_bits() & (u128::MAX << 64);
            Address::new(Ipv6Addr::from_bits(network).into())
        }
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn an_address_that_failed_too_often_waits_for_the_next_minute() {
        let throttle = Throttle::new(2);
        let address = "192.0.2.1".parse().expect("valid");
        for _ in 0..2 {
            assert_eq!(throttle.admit(address, at(50)), Ok(()));
            throttle.failed(address, at(50));
        }
        assert_eq!(
            throttle.admit(address, at(50)),
            Err(Duration::from_secs(10))
        );
        assert_eq!(
            throttle.admit("192.0.2.2".parse().expect("valid"), at(50)),
            Ok(())
        );
        assert_eq!(throttle.admit(address, at(60)), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_a_mapped_address_as_what_it_is() {
        let throttle = Throttle::new(1);
        throttle.failed("2001:db8::1".parse().expect("valid"), at(0));
        assert!(
            throttle
                .admit("2001:db8::2".parse().expect("valid"), at(0))
                .is_err()
        );
        throttle.failed("::ffff:192.0.2.1".parse().expect("valid"), at(0));
        for same in ["192.0.2.1", "192.0.2.1:80"] {
            let same = same.parse().expect("valid");
            assert!(throttle.admit(same, at(0)).is_err());
        }
    }

    #[test]
    fn a_flood_of_addresses_takes_bounded_memory() {
        let throttle = Throttle::new(1);
        for bits in 0..20_000_u32 {
            let address = std::net::Ipv4Addr::from(0x0b00_0000 + bits);
            throttle.failed(Address::new(address.into()), at(0));
        }
        assert_eq!(throttle.window.lock().failures.len(), MAX_ADDRESSES);
    }
}
