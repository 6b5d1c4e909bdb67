//! The number of open connections of each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::Mutex;

/// The number of open connections of each address, over all threads.
#[derive(Debug)]
pub(super) struct AddressCounts {
    max: usize,
    unbounded: Vec<IpNet>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// The permit for one connection of an address. Dropped, it is free again.
#[derive(Debug)]
pub(super) struct AddressPermit {
    address: IpAddr,
    addresses: Arc<AddressCounts>,
}

impl AddressCounts {
    pub(super) fn new(max: usize, unbounded: Vec<IpNet>) -> Self {
        Self {
            max,
            unbounded,
            open: Mutex::default(),
        }
    }

    /// Counts another connection of an address. `None`: the address has too many; `Some(None)`: its
    /// connections are not counted.
    pub(super) fn acquire(self: &Arc<Self>, address: IpAddr) -> Option<Option<AddressPermit>> {
        let address = address.to_canonical();
        if self.max == usize::MAX || self.unbounded.iter().any(|net| net.contains(&address)) {
            return Some(None);
        }
        let address = counted_as(address);
        let mut open = self.open.lock();
        let count = open.entry(address).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Some(AddressPermit {
            address,
            addresses: self.clone(),
        }))
    }
}

/// Returns the address that a connection is counted under: for IPv6 its /64 network, since a caller
/// who has one of its addresses has all 2^64.
fn counted_as(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_so_many_and_trusted_ones_any_number() {
        let trusted = "10.0.0.0/8".parse().expect("a network");
        let addresses = Arc::new(AddressCounts::new(2, vec![trusted]));
        let acquire = |text: &str| addresses.acquire(text.parse().expect("an address"));
        let first = acquire("192.0.2.1").expect("the first");
        let _second = acquire("::ffff:192.0.2.1").expect("the second");
        assert!(acquire("192.0.2.1").is_none());
        let _other = acquire("192.0.2.2").expect("another address");
        drop(first);
        assert!(acquire("192.0.2.1").is_some());
        let _one = acquire("2001:db8::1").expect("the first");
        let _two = acquire("2001:db8::2").expect("the second");
        assert!(
            acquire("2001:db8::3").is_none(),
            "one network is one caller"
        );
        assert!(acquire("2001:db8:0:1::3").is_some());
        let _many: Vec<_> = (0..9).map(|_| acquire("10.0.0.1").expect("any")).collect();
        assert_eq!(addresses.open.lock().len(), 3);
    }
}
