//! Network addresses, in the one form in which they are compared and written.
//!
//! The same host can be written as `203.0.113.7`, `203.0.113.7:4711` or `::ffff:203.0.113.7`.
//! Comparing one spelling with another refuses everybody or admits everybody, so whatever names an
//! address is read into an [`Address`] here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An IPv4 or IPv6 address in canonical form: an IPv4 address mapped into IPv6 is the IPv4 address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(IpAddr);

/// The error for a text that is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no address: write one such as 192.0.2.7 or 2001:db8::7, perhaps with a port")]
pub struct ParseAddressError;

/// The reason why a text is not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseNetworkError {
    /// The text is neither an address nor a network.
    #[error(
        "this is neither an address nor a network: write one such as 192.0.2.7 or 2001:db8::/32"
    )]
    NotOne,
    /// The text is an address with the prefix length 0, which is the network of everybody. Which of
    /// the two is meant is not guessed.
    #[error(
        "this names everybody by one address: write {network} for everybody, or {address} for the address alone"
    )]
    HostBits {
        /// The network of everybody.
        network: IpNet,
        /// The address alone.
        address: IpAddr,
    },
}

impl Address {
    /// The IPv4 address of this host, 127.0.0.1.
    pub const LOCALHOST: Self = Self(IpAddr::V4(Ipv4Addr::LOCALHOST));

    /// Returns the canonical form of an address.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// Reads an address in any form that proxies and people write: bare or in brackets, and either
    /// with a port, which is left out.
    ///
    /// # Errors
    /// Any other text. A host name is not an address, and neither is an address with a zone, which
    /// means something on one host only.
    pub fn parse(text: &str) -> Result<Self, ParseAddressError> {
        let text = text.trim_matches([' ', '\t']);
        if let Ok(bare) = text.parse::<IpAddr>() {
            return Ok(Self::new(bare));
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']').ok_or(ParseAddressError)?;
            let address: Ipv6Addr = address.parse().map_err(|_| ParseAddressError)?;
            let is_alone = port.is_empty();
            let read = is_alone || port.strip_prefix(':').is_some_and(is_port);
            return read
                .then(|| Self::new(address.into()))
                .ok_or(ParseAddressError);
        }
        // A text with more than one colon and no brackets is IPv6 or nothing, and IPv6 was read
        // above.
        let (address, port) = text.split_once(':').ok_or(ParseAddressError)?;
        let address: Ipv4Addr = address.parse().map_err(|_| ParseAddressError)?;
        let read = is_port(port).then_some(Self(address.into()));
        read.ok_or(ParseAddressError)
    }

    /// Returns the address as the standard library's type, never one that is mapped into IPv6.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        self.0
    }

    /// Returns whether the address means the host itself (loopback).
    #[must_use]
    pub const fn is_loopback(self) -> bool {
        self.0.is_loopback()
    }

    /// Returns whether the address lies in one of these networks, in whatever form those are
    /// written.
    #[must_use]
    pub fn is_in(self, networks: &[IpNet]) -> bool {
        let network = |network: &IpNet| canonical_network(*network).contains(&self.0);
        networks.iter().any(network)
    }
}

/// Reads a network in canonical form. An address alone is the network that holds only it.
///
/// # Errors
/// Any other text, and the prefix length 0 behind an address: whoever writes `192.0.2.7/0` hardly
/// means everybody. `10.0.0.1/8` is read as the network that it lies in, as by most programs.
pub fn parse_network(text: &str) -> Result<IpNet, ParseNetworkError> {
    if let Ok(network) = text.parse() {
        let named = canonical_network(network);
        let network = named.trunc();
        let address = named.addr();
        return match network.prefix_len() == 0 && network != named {
            true => Err(ParseNetworkError::HostBits { network, address }),
            false => Ok(network),
        };
    }
    let address = text.parse::<IpAddr>();
    let address = address.map_err(|_| ParseNetworkError::NotOne)?;
    Ok(Address::new(address).ip().into())
}

/// Returns the canonical form of a network: a network of IPv4-mapped addresses
/// (`::ffff:10.0.0.0/104`) becomes the IPv4 network. A wider one, such as `::/0`, stays IPv6.
#[must_use]
pub fn canonical_network(network: IpNet) -> IpNet {
    /// The number of bits before the IPv4 address in an IPv4-mapped IPv6 address.
    const MAPPED: u8 = 96;
    let IpNet::V6(mapped) = network else {
        return network;
    };
    let length = mapped.prefix_len().checked_sub(MAPPED);
    let inner = mapped
        .addr()
        .to_ipv4_mapped()
        .zip(length)
        .and_then(|(address, length)| Ipv4Net::new(address, length).ok());
    inner.map_or(network, IpNet::V4)
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u16>().is_ok()
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        Self::new(address)
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        Self::parse(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IpAddr::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_every_form_and_written_in_one() {
        for (text, canonical) in [
            ("203.0.113.7", "203.0.113.7"),
            (" 203.0.113.7\t", "203.0.113.7"),
            ("203.0.113.7:4711", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("::FFFF:cb00:7107", "203.0.113.7"),
            ("[::ffff:203.0.113.7]:80", "203.0.113.7"),
            ("2001:DB8::0:1", "2001:db8::1"),
            ("2001:db8::1:80", "2001:db8::1:80"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
        ] {
            let address = Address::parse(text).expect(text);
            assert_eq!(address.to_string(), canonical, "{text}");
        }
        for text in [
            "",
            "unknown",
            "localhost",
            "203.0.113",
            "203.0.113.07",
            "203.0.113.7:",
            "203.0.113.7:x",
            "203.0.113.7:65536",
            "203.0.113.7:+1",
            "[203.0.113.7]",
            "[2001:db8::1",
            "[2001:db8::1]80",
            "[2001:db8::1]:",
            "fe80::1%eth0",
            "203.0.113.7, 1.1.1.1",
            "0x7f.1",
        ] {
            assert_eq!(Address::parse(text), Err(ParseAddressError), "{text}");
        }
    }

    #[test]
    fn a_network_is_compared_whatever_form_it_or_the_address_is_written_in() {
        let networks = |text: &str| [parse_network(text).expect(text), text.parse().expect(text)];
        let lies_in = |address: &str, network: &str| {
            let address = Address::parse(address).expect(address);
            networks(network).map(|network| address.is_in(&[network]))
        };
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "10.1.2.3:80"] {
            assert_eq!(lies_in(address, "10.0.0.0/8"), [true; 2], "{address}");
            assert_eq!(
                lies_in(address, "::ffff:10.0.0.0/104"),
                [true; 2],
                "{address}"
            );
            assert_eq!(lies_in(address, "::/0"), [false; 2], "{address}");
            assert_eq!(lies_in(address, "10.1.2.4/32"), [false; 2], "{address}");
        }
        assert_eq!(lies_in("[2001:db8::1]:80", "2001:DB8::/32"), [true; 2]);
        let alone = parse_network("::ffff:10.1.2.3").expect("an address");
        assert_eq!(alone.to_string(), "10.1.2.3/32");
        assert_eq!(parse_network("10.0.0.0/33"), Err(ParseNetworkError::NotOne));
    }

    #[test]
    fn everybody_is_not_named_by_one_address() {
        for (text, network, address) in [
            ("1.2.3.4/0", "0.0.0.0/0", "1.2.3.4"),
            ("2001:db8::1/0", "::/0", "2001:db8::1"),
        ] {
            let refused = parse_network(text).expect_err(text).to_string();
            let says = format!("write {network} for everybody, or {address} for");
            assert!(refused.contains(&says), "{refused}");
        }
        for (text, network) in [
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("10.0.0.1/8", "10.0.0.0/8"),
            ("::ffff:10.0.0.1/104", "10.0.0.0/8"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("10.0.0.1", "10.0.0.1/32"),
        ] {
            let read = parse_network(text).map(|network| network.to_string());
            assert_eq!(read.as_deref(), Ok(network), "{text}");
        }
    }
}
