//! The origin of a call behind proxies: `X-Forwarded-For`, read once and written anew from what was
//! read.

use std::fmt::Write;

use ipnet::IpNet;

use crate::address::Address;

/// The lines of `X-Forwarded-For`, in the order in which they came: one list (RFC 9110, section
/// 5.3), whose items are addresses in any form, with or without a port. The judging of a call and
/// the header that is forwarded go by the same items.
#[derive(Clone, Copy, Debug)]
pub struct ForwardedFor<L>(pub L);

/// The address that a call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerOrigin {
    /// The caller's address.
    pub address: Address,
    /// Whether the address is the connection's other end, which speaks for nobody else. An address
    /// that a proxy states is never this, whatever it is.
    pub is_peer: bool,
}

/// The text in place of an item that cannot be read (the word of RFC 7239, section 6.2).
const UNKNOWN: &str = "unknown";

impl CallerOrigin {
    /// Returns the origin of a call without proxies in between.
    #[must_use]
    pub const fn peer(address: Address) -> Self {
        Self {
            address,
            is_peer: true,
        }
    }
}

impl<'a, L: DoubleEndedIterator<Item = &'a [u8]>> ForwardedFor<L> {
    /// Returns the caller: the peer, or behind a trusted proxy the last address that is not a
    /// trusted proxy's.
    ///
    /// If an item cannot be read, the address before it holds: an address that nobody vouches for
    /// is never believed.
    #[must_use]
    pub fn caller(self, peer: Address, trusted: &[IpNet]) -> CallerOrigin {
        let mut origin = CallerOrigin::peer(peer);
        if trusted.is_empty() || !peer.is_in(trusted) {
            return origin;
        }
        for item in self.0.rev().flat_map(|line| items(line).rev()) {
            origin.is_peer = false;
            let Some(address) = item else {
                break;
            };
            origin.address = address;
            if !address.is_in(trusted) {
                break;
            }
        }
        origin
    }

    /// Returns the value for the next server: every item in canonical form, then the peer. An item
    /// that cannot be read is `unknown` there, so that nobody reads out of it what was not read
    /// here.
    #[must_use]
    pub fn with_peer(self, peer: Address) -> String {
        let mut text = String::with_capacity(64);
        for item in self.0.flat_map(items) {
            match item {
                Some(address) => write!(text, "{address}, "),
                None => write!(text, "{UNKNOWN}, "),
            }
            .expect("a string takes what memory holds");
        }
        write!(text, "{peer}").expect("a string takes what memory holds");
        text
    }
}

/// Returns the items of a line, `None` for one that cannot be read. Empty items are left out (RFC
/// 9110, section 5.6.1.2).
fn items(line: &[u8]) -> impl DoubleEndedIterator<Item = Option<Address>> {
    let items = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    items.filter(|item| !item.is_empty()).map(|item| {
        let text = std::str::from_utf8(item).ok()?;
        Address::parse(text).ok()
    })
}

/// Takes any bytes as lines, for fuzzers, and panics if a property does not hold.
///
/// # Panics
/// If the written value reads in another way than the lines that came.
pub fn exercise(bytes: &[u8]) {
    let net = |text: &str| text.parse::<IpNet>().expect("a network");
    let trusted = [net("10.0.0.0/8"), net("2001:db8::/32")];
    let peer = Address::parse("10.0.0.1").expect("an address");
    let lines = || bytes.split(|byte| *byte == b'\n');
    let origin = ForwardedFor(lines()).caller(peer, &trusted);
    let written = ForwardedFor(lines()).with_peer(peer);
    let again = ForwardedFor([written.as_bytes()].into_iter());
    // A server that trusts the gate as the gate trusts its peer comes to the same caller.
    let behind = Address::parse("10.0.0.2").expect("an address");
    assert_eq!(
        again.clone().caller(behind, &trusted).address,
        origin.address
    );
    let received: Vec<_> = lines().flat_map(items).chain([Some(peer)]).collect();
    let forwarded: Vec<_> = items(written.as_bytes()).collect();
    assert_eq!(
        received, forwarded,
        "an item is lost, added or read differently"
    );
    assert!(written.is_ascii(), "what is written is plain");
    let next = again.with_peer(behind);
    assert_eq!(next, format!("{written}, {behind}"), "writing changes it");
    let strange = Address::parse("192.0.2.1").expect("an address");
    assert_eq!(
        ForwardedFor(lines()).caller(strange, &trusted),
        CallerOrigin::peer(strange),
        "an untrusted peer is believed"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_judged_is_what_is_written_on(
            items in prop::collection::vec(
                prop::sample::select(vec![
                    "10.0.0.9", "10.1.1.1:80", "[2001:db8::1]:1", "::ffff:10.2.3.4", "203.0.113.7:4711", "unknown", "", " ", "\n",
                    "_x", "\"1.1.1.1\"", "\u{e9}", "1.1.1.1 2.2.2.2",
                ]),
                0..8,
            ),
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            exercise(items.join(",").as_bytes());
            exercise(&bytes);
        }
    }

    fn lines<'a>(lines: &'a [&str]) -> ForwardedFor<impl DoubleEndedIterator<Item = &'a [u8]>> {
        ForwardedFor(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn only_trusted_proxies_may_say_who_called() {
        let peer = Address::parse("::ffff:10.0.0.1").expect("valid");
        let trusted: [IpNet; 1] = ["10.0.0.0/8".parse().expect("valid")];
        let address = |headers: &[&str], trusted: &[IpNet]| {
            let origin = lines(headers).caller(peer, trusted);
            format!(
                "{}{}",
                origin.address,
                if origin.is_peer { " itself" } else { "" }
            )
        };
        for (headers, caller) in [
            (&["1.1.1.1, 2.2.2.2, 10.0.0.9"][..], "2.2.2.2"),
            (&["1.1.1.1", "10.0.0.9"], "1.1.1.1"),
            (&["1.1.1.1, what?"], "10.0.0.1"),
            (&["1.1.1.1", ""], "1.1.1.1"),
            (&["1.1.1.1,, 10.0.0.9 ,"], "1.1.1.1"),
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["[2001:db8::1]:80"], "2001:db8::1"),
            (&["9.9.9.9, ::ffff:203.0.113.7"], "203.0.113.7"),
            (&["127.0.0.1"], "127.0.0.1"),
            (&["10.0.0.1"], "10.0.0.1"),
            (&[], "10.0.0.1 itself"),
        ] {
            assert_eq!(address(headers, &trusted), caller, "{headers:?}");
            assert_eq!(address(headers, &[]), "10.0.0.1 itself", "{headers:?}");
        }
    }

    #[test]
    fn all_lines_are_written_on_in_order_and_in_canonical_form() {
        let peer = Address::parse("10.0.0.1").expect("valid");
        let written = |headers: &[&str]| lines(headers).with_peer(peer);
        assert_eq!(written(&[]), "10.0.0.1");
        assert_eq!(
            written(&[
                "9.9.9.9",
                "203.0.113.7:4711,[2001:DB8::1]:80",
                "::ffff:1.2.3.4"
            ]),
            "9.9.9.9, 203.0.113.7, 2001:db8::1, 1.2.3.4, 10.0.0.1"
        );
        assert_eq!(
            written(&["<x>, 1.1.1.1", "", "\u{e9}"]),
            "unknown, 1.1.1.1, unknown, 10.0.0.1"
        );
    }
}
