//! The client at the other end of a request, and its address.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use model::{Address, ForwardedFor};

use crate::http::problem::Problem;
use crate::http::serve::{Access, Peer};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client that sent a request; handlers take it as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address of the client: the peer's, or the one that a trusted proxy names. `None` on the
    /// gate's Unix socket.
    pub address: Option<Address>,
    /// Whether the client is the peer, with no proxy between.
    is_peer: bool,
}

impl Client {
    /// Returns the client that the router added to a request.
    ///
    /// # Errors
    /// Returns what to log if it added none. Blame: us.
    pub(crate) fn of_parts(parts: &Parts) -> Result<Self, &'static str> {
        let client = parts.extensions.get::<Self>().copied();
        client.ok_or("a request was routed without its client")
    }

    /// Returns the client of a request with these headers.
    pub(crate) fn of(peer: &Peer, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let lines = headers.get_all(&FORWARDED_FOR).iter();
        let said = ForwardedFor(lines.map(HeaderValue::as_bytes));
        let origin = peer
            .address
            .map(|peer| said.caller(peer.ip().into(), trusted));
        Self {
            address: origin.map(|origin| origin.address),
            is_peer: origin.is_none_or(|origin| origin.is_peer),
        }
    }

    /// Returns the address that failed credentials count against; `None` for this host itself,
    /// which an address that a proxy names never is.
    #[must_use]
    pub fn guesser(&self) -> Option<Address> {
        self.address
            .filter(|address| !(self.is_peer && address.is_loopback()))
    }
}

/// Returns whether the peer may send requests unencrypted.
pub(crate) fn may_send_plain(peer: &Peer) -> bool {
    match &peer.access {
        Access::Local => true,
        Access::Keys { plain_http_from } => peer.address.is_some_and(|address| {
            let address = Address::new(address.ip());
            address.is_loopback() || address.is_in(plain_http_from)
        }),
    }
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of_parts(parts).map_err(|error| Problem::internal(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str, networks: &[IpNet]) -> Peer {
        let address: std::net::IpAddr = address.parse().expect("valid");
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
        let may = |text: &str| may_send_plain(&peer(text, &networks));
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
        assert_eq!(address("::ffff:10.0.0.1"), "192.0.2.7");
    }

    #[test]
    fn nobody_is_this_host_by_the_word_of_a_proxy() {
        let trusted = ["127.0.0.1".parse::<std::net::IpAddr>().map(IpNet::from)];
        let trusted = trusted.map(|network| network.expect("an address"));
        let guesser = |peer_address: &str, said: &[&'static str]| {
            let said = said.iter().copied().map(HeaderValue::from_static);
            let headers = said.map(|line| (FORWARDED_FOR, line)).collect();
            let client = Client::of(&peer(peer_address, &[]), &headers, &trusted);
            client.guesser().map(|address| address.to_string())
        };
        assert_eq!(guesser("127.0.0.1", &[]), None);
        assert_eq!(guesser("::ffff:127.0.0.1", &[]), None);
        assert_eq!(guesser("::1", &["192.0.2.7"]), None);
        for said in ["127.0.0.1", "::1", "[::1]:80", "127.0.0.1:80", "127.0.0.2"] {
            assert!(guesser("127.0.0.1", &[said]).is_some(), "{said}");
        }
        let garbled = guesser("127.0.0.1", &["what?"]);
        assert_eq!(garbled.as_deref(), Some("127.0.0.1"));
        let caller = guesser("127.0.0.1", &["192.0.2.7:4711"]);
        assert_eq!(caller.as_deref(), Some("192.0.2.7"));
    }
}
