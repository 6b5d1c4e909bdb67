//! The addresses that a server of a stranger may have.
//!
//! A URL is a stranger's text, and the gate stands inside a network: what is not on the public
//! internet is not called. The lists are the special-purpose registries of IANA (RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::{Ipv4Net, Ipv6Net};

/// IPv4 networks that are not public.
static NOT_PUBLIC_V4: LazyLock<Vec<Ipv4Net>> = LazyLock::new(|| {
    parsed(&[
        "0.0.0.0/8",        // this host
        "10.0.0.0/8",       // private
        "100.64.0.0/10",    // behind a carrier's translation; Alibaba's metadata
        "127.0.0.0/8",      // loopback
        "168.63.129.16/32", // Azure's metadata, an address that looks public
        "169.254.0.0/16",   // link-local; the metadata of most clouds
        "172.16.0.0/12",    // private
        "192.0.0.0/24",     // protocol assignments; Oracle's metadata
        "192.0.2.0/24",     // documentation
        "192.31.196.0/24",  // AS112
        "192.52.193.0/24",  // AMT
        "192.88.99.0/24",   // relays of 6to4
        "192.168.0.0/16",   // private
        "192.175.48.0/24",  // AS112
        "198.18.0.0/15",    // benchmarks
        "198.51.100.0/24",  // documentation
        "203.0.113.0/24",   // documentation
        "224.0.0.0/4",      // multicast
        "240.0.0.0/4",      // reserved, and the broadcast
    ])
});

/// IPv6 networks of the global range that are not public. What is outside of it never is.
static NOT_PUBLIC_V6: LazyLock<Vec<Ipv6Net>> = LazyLock::new(|| {
    parsed(&[
        "2001::/23",         // protocol assignments, Teredo among them
        "2001:db8::/32",     // documentation
        "2620:4f:8000::/48", // AS112
        "3fff::/20",         // documentation
    ])
});

const GLOBAL_V6: &str = "2000::/3";
/// The range of 6to4, whose addresses hold an IPv4 address behind their first two bytes.
const SIX_TO_FOUR: [u8; 2] = [0x20, 0x02];
/// The range of NAT64 (RFC 6052), whose addresses end with an IPv4 address.
const NAT64: [u8; 12] = [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0];

/// Returns whether an address is on the public internet. One that holds an IPv4 address (mapped,
/// NAT64, 6to4) is judged by that.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match inner(address) {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !NOT_PUBLIC_V4.iter().any(|net| net.contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    static GLOBAL: LazyLock<Vec<Ipv6Net>> = LazyLock::new(|| parsed(&[GLOBAL_V6]));
    GLOBAL[0].contains(&address) && !NOT_PUBLIC_V6.iter().any(|net| net.contains(&address))
}

/// Returns the IPv4 address that an IPv6 address leads to, if its form says so.
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bytes = address.octets();
    let four = |at: usize| Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
    if bytes.starts_with(&SIX_TO_FOUR) {
        return Some(four(2));
    }
    if bytes.starts_with(&NAT64) {
        return Some(four(12));
    }
    address.to_ipv4_mapped()
}

fn parsed<T: std::str::FromStr>(networks: &[&str]) -> Vec<T> {
    let read = |text: &&str| text.parse().ok().expect("it is a network");
    networks.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> bool {
        is_public(text.parse().expect("an address"))
    }

    #[test]
    fn what_is_not_on_the_public_internet_is_refused_in_every_form() {
        for refused in [
            "127.0.0.1",
            "127.255.0.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.9",
            "198.19.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "2001::1",
            "fec0::1",
            "64:ff9b:1::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "64:ff9b::10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::",
            "2002:c0a8:101::1",
        ] {
            assert!(!judged(refused), "{refused}");
        }
    }

    #[test]
    fn public_addresses_are_taken_in_every_form() {
        for taken in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.255.255",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "168.63.129.17",
            "192.0.1.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(judged(taken), "{taken}");
        }
    }
}
