//! Where a call came from, when proxies stand in between.

use std::net::IpAddr;

use ipnet::IpNet;

/// The caller's address: the peer's, or behind a trusted proxy the last address of `X-Forwarded-For` that no trusted
/// proxy has.
///
/// `forwarded` are the lines of that header as they came. Where one cannot be read, what was read before it holds: an
/// address that nobody vouches for is never believed.
#[must_use]
pub fn caller_address<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[IpNet],
) -> IpAddr {
    let is_trusted = |address: &IpAddr| {
        trusted
            .iter()
            .any(|net| net.contains(&address.to_canonical()))
    };
    if trusted.is_empty() || !is_trusted(&peer) {
        return peer;
    }
    let mut address = peer;
    for line in forwarded.rev() {
        for item in line.rsplit(',') {
            let Ok(named) = item.trim().parse::<IpAddr>() else {
                return address;
            };
            address = named;
            if !is_trusted(&address) {
                return address;
            }
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_may_say_who_called() {
        let peer: IpAddr = "10.0.0.1".parse().expect("valid");
        let trusted: [IpNet; 1] = ["10.0.0.0/8".parse().expect("valid")];
        let address = |lines: &[&str], trusted: &[IpNet]| {
            caller_address(peer, lines.iter().copied(), trusted).to_string()
        };
        assert_eq!(address(&["1.1.1.1"], &[]), "10.0.0.1");
        assert_eq!(
            address(&["1.1.1.1, 2.2.2.2, 10.0.0.9"], &trusted),
            "2.2.2.2"
        );
        assert_eq!(address(&["1.1.1.1", "10.0.0.9"], &trusted), "1.1.1.1");
        assert_eq!(address(&["1.1.1.1, what?"], &trusted), "10.0.0.1");
        assert_eq!(address(&[], &trusted), "10.0.0.1");
    }
}
