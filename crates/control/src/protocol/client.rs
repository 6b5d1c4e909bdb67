//! Who is at the other end of a request.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use ipnet::IpNet;

use crate::problem::Problem;
use crate::serve::{Access, Peer};

/// Whoever sent a request; handlers take it as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Their address: the peer's, or what a trusted proxy says of it. `None` on the gate's Unix socket.
    pub address: Option<IpAddr>,
}

impl Client {
    /// The client of a request with these headers.
    pub(crate) fn of(peer: &Peer, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let lines = headers.get_all("x-forwarded-for").iter();
        let lines = lines.map(|line| line.to_str().unwrap_or_default());
        let address = peer.address.map(|peer| {
            model::caller_address(peer.ip().to_canonical(), lines, trusted).to_canonical()
        });
        Self { address }
    }
}

/// Whether the peer may send requests unencrypted.
pub(crate) fn may_come_plain(peer: &Peer) -> bool {
    match &peer.access {
        Access::Local => true,
        Access::Keys { plain_http_from } => peer.address.is_some_and(|address| {
            let address = address.ip().to_canonical();
            let named = |network: &IpNet| network.contains(&address);
            address.is_loopback() || plain_http_from.iter().any(named)
        }),
    }
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let client = parts.extensions.get::<Self>().copied();
        client.ok_or_else(|| Problem::internal(&"a request was routed without its client"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str, networks: &[IpNet]) -> Peer {
        let address: IpAddr = address.parse().expect("valid");
        Peer {
            access: Access::Keys {
                plain_http_from: networks.into(),
            },
            address: Some((address, 1).into()),
        }
    }

    #[test]
    fn unencrypted_requests_come_from_this_host_and_from_networks_that_are_named() {
        let networks = ["10.1.0.0/16".parse().expect("valid")];
        let may = |text: &str| may_come_plain(&peer(text, &networks));
        assert!(may("127.0.0.1") && may("::1") && may("10.1.2.3") && may("::ffff:10.1.2.3"));
        assert!(!may("10.2.0.1") && !may("2001:db8::1"));
    }

    #[test]
    fn a_trusted_proxy_says_who_the_client_is_and_nobody_else_does() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "192.0.2.7".parse().expect("valid"));
        let trusted = ["10.0.0.0/8".parse().expect("valid")];
        let address = |text: &str| {
            let client = Client::of(&peer(text, &[]), &headers, &trusted);
            client.address.expect("a TCP peer").to_string()
        };
        assert_eq!(address("10.0.0.1"), "192.0.2.7");
        assert_eq!(address("198.51.100.1"), "198.51.100.1");
    }
}
