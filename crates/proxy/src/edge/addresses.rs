//! How many connections each address has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::Mutex;

/// The connections of each address, over all threads.
#[derive(Debug)]
pub(super) struct Addresses {
    most: usize,
    unbounded: Vec<IpNet>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One of them. Dropped, it is given back.
#[derive(Debug)]
pub(super) struct OfAddress {
    address: IpAddr,
    addresses: Arc<Addresses>,
}

impl Addresses {
    pub(super) fn new(most: usize, unbounded: Vec<IpNet>) -> Self {
        Self {
            most,
            unbounded,
            open: Mutex::default(),
        }
    }

    /// Counts another connection of an address; `None`: it has too many. The inner one: nobody counts it.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Option<OfAddress>> {
        let address = address.to_canonical();
        if self.most == usize::MAX || self.unbounded.iter().any(|net| net.contains(&address)) {
            return Some(None);
        }
        let address = who(address);
        let mut open = self.open.lock();
        let count = open.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Some(OfAddress {
            address,
            addresses: self.clone(),
        }))
    }
}

/// Whom an address stands for: whoever has one of IPv6 has the other 2^64 of its network too.
fn who(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
    }
}

impl Drop for OfAddress {
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
        let addresses = Arc::new(Addresses::new(2, vec![trusted]));
        let take = |text: &str| addresses.take(text.parse().expect("an address"));
        let first = take("192.0.2.1").expect("the first");
        let _second = take("::ffff:192.0.2.1").expect("the second");
        assert!(take("192.0.2.1").is_none());
        let _other = take("192.0.2.2").expect("another address");
        drop(first);
        assert!(take("192.0.2.1").is_some());
        let _one = take("2001:db8::1").expect("the first");
        let _two = take("2001:db8::2").expect("the second");
        assert!(take("2001:db8::3").is_none(), "one network is one caller");
        assert!(take("2001:db8:0:1::3").is_some());
        let _many: Vec<_> = (0..9).map(|_| take("10.0.0.1").expect("any")).collect();
        assert_eq!(addresses.open.lock().len(), 3);
    }
}
