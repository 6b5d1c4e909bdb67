//! One upstream: the addresses that its name points to, and which of them are well.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use pingora::connectors::http::Connector;
use pingora::upstreams::peer::HttpPeer;

use super::answering::Answering;
use super::backoff::Backoff;
use super::failures::Failures;
use super::health::{Health, HealthCheck, probe};
use super::options::{PoolOptions, UpstreamAddress};
use super::socket::Dialer;

/// The longest time that a name server is waited for.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The number of addresses of one name that are probed. Those beyond count as healthy.
const MAX_PROBES: usize = 256;

/// One upstream, with the addresses that its name points to.
pub(super) struct Member {
    pub(super) address: UpstreamAddress,
    /// The addresses that the name points to, as it last resolved.
    pub(super) servers: ArcSwap<Vec<Server>>,
    template: HttpPeer,
    /// The name in the configuration file.
    pub(super) name: Box<str>,
    pub(super) failures: Failures,
    pub(super) answering: Answering,
}

/// One address of an upstream.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// The peer, made once for all calls.
    pub(super) peer: HttpPeer,
    /// The findings of probes. They stay with the address when its name is resolved again.
    pub(super) health: Arc<Health>,
    /// The findings of calls, which stay as well.
    pub(super) backoff: Arc<Backoff>,
}

impl Member {
    pub(super) fn new(address: UpstreamAddress, options: &PoolOptions) -> Self {
        let placeholder = SocketAddr::from(([0, 0, 0, 0], 0));
        let sni = if address.tls {
            address.host.clone()
        } else {
            String::new()
        };
        let mut template = HttpPeer::new(placeholder, address.tls, sni);
        template.options.write_timeout = Some(options.write_timeout);
        if address.tls {
            template.options.connection_timeout = Some(options.connect_timeout);
            template.options.total_connection_timeout = Some(options.connect_timeout);
            template.options.read_timeout = Some(options.read_timeout);
            template.options.idle_timeout = Some(options.idle_timeout);
        } else {
            template.options.custom_l4 = Some(Arc::new(Dialer::new(options)));
        }
        let member = Self {
            servers: ArcSwap::from_pointee(Vec::new()),
            template,
            name: address.to_string().into(),
            failures: Failures::default(),
            answering: Answering::default(),
            address,
        };
        if let Ok(ip) = member.address.host.parse() {
            member.point_to(vec![SocketAddr::new(ip, member.address.port)]);
        }
        member
    }

    /// Returns whether its name points to this address.
    pub(super) fn has(&self, address: SocketAddr) -> bool {
        let servers = self.servers.load();
        servers.iter().any(|server| server.address == address)
    }

    /// Returns the next address, in turn, that `will_do`.
    pub(super) fn peer(
        &self,
        round: usize,
        will_do: impl Fn(&Server) -> bool,
    ) -> Option<Box<HttpPeer>> {
        let servers = self.servers.load();
        let (before, after) = servers.split_at(round % servers.len().max(1));
        let found = after.iter().chain(before).find(|server| will_do(server));
        found.map(|server| Box::new(server.peer.clone()))
    }

    pub(super) fn point_to(&self, addresses: Vec<SocketAddr>) {
        let known = self.servers.load_full();
        let server = |address: SocketAddr| {
            let before = known.iter().find(|server| server.address == address);
            before.cloned().unwrap_or_else(|| {
                let mut peer = self.template.clone();
                peer._address = address.into();
                Server {
                    address,
                    peer,
                    health: Arc::default(),
                    backoff: Arc::default(),
                }
            })
        };
        self.servers
            .store(Arc::new(addresses.into_iter().map(server).collect()));
    }

    pub(super) async fn resolve(&self) {
        if self.address.host.parse::<std::net::IpAddr>().is_ok() {
            return;
        }
        let target = (self.address.host.as_str(), self.address.port);
        match tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(target)).await {
            Ok(Ok(addresses)) => {
                let addresses = interleaved(addresses);
                if !addresses.is_empty() {
                    self.point_to(addresses);
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(host = %self.address.host, %error, "an upstream's name does not resolve, its last addresses stay in use");
            }
            Err(_) => {
                tracing::warn!(host = %self.address.host, "the name server does not answer, an upstream's last addresses stay in use");
            }
        }
    }

    /// Probes every address of the name, all at once, again and again for ever.
    pub(super) async fn check_for_ever(&self, check: &HealthCheck) {
        let connector = Connector::new(None);
        loop {
            let servers = self.servers.load_full();
            let probes = servers.iter().take(MAX_PROBES).map(async |server: &Server| {
                let probe = probe(&connector, &server.peer, &self.address.host, check);
                let answer = tokio::time::timeout(check.timeout, probe).await;
                if let Some(healthy) = server.health.note(matches!(answer, Ok(Ok(true))), check) {
                    let (host, address) = (&self.address.host, server.address);
                    tracing::warn!(%host, %address, healthy, "the health of an upstream changed");
                }
            });
            join_all(probes).await;
            tokio::time::sleep(check.interval).await;
        }
    }
}

impl Server {
    pub(super) fn is_healthy(&self) -> bool {
        self.health.healthy.load(Ordering::Relaxed)
    }

    pub(super) fn is_well(&self) -> bool {
        self.is_healthy() && self.backoff.may_be_tried()
    }
}

/// Returns the addresses of a name with the two families in turn (RFC 8305, section 4), beginning
/// with the one that the resolver prefers: where one family leads nowhere, the next address is of
/// the other.
pub(super) fn interleaved(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<_> = addresses.collect();
    let preferred = addresses.first().is_some_and(SocketAddr::is_ipv6);
    // In the same order each time, whatever order the name server gives.
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
}
