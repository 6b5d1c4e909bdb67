//! Upstreams of an app: which one a call goes to, where its name points, whether it is well.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::upstreams::peer::HttpPeer;

/// How often names are resolved anew.
const RESOLVE_EVERY: Duration = Duration::from_secs(10);
/// Longest time that a name server is waited for.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// One upstream as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAddress {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// How calls are spread over upstreams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// By chance.
    Random,
    /// In turn.
    #[default]
    RoundRobin,
}

/// How an upstream is asked whether it is well.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// Path and query of the request.
    pub path: String,
    /// Time between two checks.
    pub every: Duration,
    /// Longest time of one.
    pub timeout: Duration,
    /// Good answers (2xx or 3xx) in a row that bring an upstream back.
    pub healthy_after: u32,
    /// Bad ones in a row that take it out of service.
    pub unhealthy_after: u32,
}

/// The upstreams of one app.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// At least one.
    pub addresses: Vec<UpstreamAddress>,
    /// How calls are spread.
    pub balance: Balance,
    /// Longest time for a connection, TLS included.
    pub connect_timeout: Duration,
    /// Longest time between two reads.
    pub read_timeout: Duration,
    /// Longest time of one write.
    pub write_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Active checks; `None`: no probe is ever sent.
    pub health_check: Option<HealthCheck>,
}

/// The upstreams of one app, with what is known of them. Shared by all threads.
pub struct Pool {
    members: Vec<Member>,
    balance: Balance,
    next: AtomicUsize,
    health_check: Option<HealthCheck>,
}

struct Member {
    address: UpstreamAddress,
    /// One ready-made peer per address that the name points to; the last good ones.
    peers: ArcSwap<Vec<HttpPeer>>,
    template: HttpPeer,
    healthy: AtomicBool,
}

impl Pool {
    /// A pool whose literal addresses are known at once; names are resolved by [`Pool::care`].
    ///
    /// # Panics
    /// If there is no address.
    #[must_use]
    pub fn new(options: PoolOptions) -> Self {
        assert!(
            !options.addresses.is_empty(),
            "an app has at least one upstream"
        );
        let member = |address: &UpstreamAddress| Member::new(address.clone(), &options);
        Self {
            members: options.addresses.iter().map(member).collect(),
            balance: options.balance,
            next: AtomicUsize::new(0),
            health_check: options.health_check.clone(),
        }
    }

    /// The peer for an attempt of a call; `None` while no name has been resolved yet.
    ///
    /// Unhealthy upstreams are passed over, unless all are. `turn` is what the first attempt got, so that a second one goes
    /// to another upstream.
    #[must_use]
    pub fn pick(&self, turn: usize) -> Option<Box<HttpPeer>> {
        let count = self.members.len();
        // Upstreams change with each turn, their addresses with each round: so every pair of both comes up.
        let round = turn / count;
        let usable = |member: &&Member| member.healthy.load(Ordering::Relaxed);
        let in_turn = || (0..count).map(|step| &self.members[(turn % count + step) % count]);
        let healthy = in_turn()
            .filter(usable)
            .find_map(|member| member.peer(round));
        healthy.or_else(|| in_turn().find_map(|member| member.peer(round)))
    }

    /// Whose turn it is. A second attempt of the same call takes the next number.
    #[must_use]
    pub fn turn(&self) -> usize {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        match self.balance {
            Balance::RoundRobin => turn,
            // A multiplicative step of the counter: spread well, and cheaper than randomness.
            Balance::Random => turn.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as usize) >> 7,
        }
    }

    /// Resolves names and checks health until it is dropped.
    pub async fn care(self: Arc<Self>) {
        let resolving = async {
            loop {
                for member in &self.members {
                    member.resolve().await;
                }
                tokio::time::sleep(RESOLVE_EVERY).await;
            }
        };
        let checking = async {
            match &self.health_check {
                None => std::future::pending().await,
                Some(check) => {
                    let all = self
                        .members
                        .iter()
                        .map(|member| member.check_for_ever(check));
                    join_all(all.collect()).await;
                }
            }
        };
        tokio::join!(resolving, checking);
    }

    /// Resolves every name once; for the start, so that the first call finds its upstream.
    pub async fn resolve(&self) {
        for member in &self.members {
            member.resolve().await;
        }
    }
}

async fn join_all(futures: Vec<impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

impl Member {
    fn new(address: UpstreamAddress, options: &PoolOptions) -> Self {
        let placeholder = SocketAddr::from(([0, 0, 0, 0], 0));
        let sni = if address.tls {
            address.host.clone()
        } else {
            String::new()
        };
        let mut template = HttpPeer::new(placeholder, address.tls, sni);
        template.options.connection_timeout = Some(options.connect_timeout);
        template.options.total_connection_timeout = Some(options.connect_timeout);
        template.options.read_timeout = Some(options.read_timeout);
        template.options.write_timeout = Some(options.write_timeout);
        template.options.idle_timeout = Some(options.idle_timeout);
        let member = Self {
            peers: ArcSwap::from_pointee(Vec::new()),
            healthy: AtomicBool::new(true),
            template,
            address,
        };
        if let Ok(ip) = member.address.host.parse() {
            member.point_to(vec![SocketAddr::new(ip, member.address.port)]);
        }
        member
    }

    fn peer(&self, round: usize) -> Option<Box<HttpPeer>> {
        let peers = self.peers.load();
        peers.get(round % peers.len().max(1)).cloned().map(Box::new)
    }

    fn point_to(&self, addresses: Vec<SocketAddr>) {
        let peer = |address: SocketAddr| {
            let mut peer = self.template.clone();
            peer._address = address.into();
            peer
        };
        self.peers
            .store(Arc::new(addresses.into_iter().map(peer).collect()));
    }

    async fn resolve(&self) {
        if self.address.host.parse::<std::net::IpAddr>().is_ok() {
            return;
        }
        let target = (self.address.host.as_str(), self.address.port);
        match tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(target)).await {
            Ok(Ok(addresses)) => {
                let mut addresses: Vec<_> = addresses.collect();
                addresses.sort_unstable();
                addresses.dedup();
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

    async fn check_for_ever(&self, check: &HealthCheck) {
        let connector = Connector::new(None);
        let (mut good, mut bad) = (0, 0);
        loop {
            let answer = tokio::time::timeout(check.timeout, self.probe(&connector, check)).await;
            if matches!(answer, Ok(Ok(true))) {
                (good, bad) = (good + 1, 0);
            } else {
                (good, bad) = (0, bad + 1);
            }
            let healthy = self.healthy.load(Ordering::Relaxed);
            let now = if healthy {
                bad < check.unhealthy_after
            } else {
                good >= check.healthy_after
            };
            if now != healthy {
                self.healthy.store(now, Ordering::Relaxed);
                let (host, port) = (&self.address.host, self.address.port);
                tracing::warn!(%host, port, healthy = now, "the health of an upstream changed");
            }
            tokio::time::sleep(check.every).await;
        }
    }

    /// Asks the first address of the name: its addresses are taken for one server.
    async fn probe(&self, connector: &Connector, check: &HealthCheck) -> pingora::Result<bool> {
        let Some(peer) = self.peer(0) else {
            return Ok(false);
        };
        let mut request = RequestHeader::build("GET", check.path.as_bytes(), Some(2))?;
        request.insert_header("host", &self.address.host)?;
        request.insert_header("user-agent", "tallygate")?;
        let (mut session, _) = connector.get_http_session(&*peer).await?;
        session.set_read_timeout(Some(check.timeout));
        session.write_request_header(Box::new(request)).await?;
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let good = session
            .response_header()
            .is_some_and(|head| head.status.is_success() || head.status.is_redirection());
        session.shutdown().await;
        Ok(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(ports: &[u16]) -> Pool {
        Pool::new(options(ports))
    }

    fn options(ports: &[u16]) -> PoolOptions {
        let address = |port: &u16| UpstreamAddress {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port: *port,
        };
        PoolOptions {
            addresses: ports.iter().map(address).collect(),
            balance: Balance::RoundRobin,
            connect_timeout: Duration::from_secs(1),
            read_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            health_check: None,
        }
    }

    fn resolve(pool: &Pool) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs only memory");
        runtime.block_on(pool.resolve());
    }

    fn port(pool: &Pool, turn: usize) -> u16 {
        let peer = pool.pick(turn).expect("the address is literal");
        peer._address.as_inet().expect("an internet address").port()
    }

    #[test]
    fn calls_go_round_and_a_second_attempt_goes_elsewhere() {
        let pool = pool(&[1, 2, 3]);
        let first: Vec<_> = (0..3).map(|_| port(&pool, pool.turn())).collect();
        assert_eq!(first, [1, 2, 3]);
        let turn = pool.turn();
        assert_ne!(port(&pool, turn), port(&pool, turn + 1));
    }

    #[test]
    fn every_address_of_every_upstream_takes_its_turn() {
        let pool = pool(&[1, 2]);
        for member in &pool.members {
            let port = member.address.port;
            let address = |last| SocketAddr::from(([127, 0, 0, last], port));
            member.point_to(vec![address(1), address(2)]);
        }
        let addresses: std::collections::HashSet<_> = (0..4)
            .filter_map(|_| pool.pick(pool.turn()))
            .filter_map(|peer| peer._address.as_inet().copied())
            .collect();
        assert_eq!(addresses.len(), 4, "{addresses:?}");
    }

    #[test]
    fn a_name_that_does_not_resolve_keeps_its_last_addresses() {
        let mut options = options(&[1]);
        options.addresses[0].host = "no-such-host.invalid".to_owned();
        let pool = Pool::new(options);
        assert!(pool.pick(0).is_none(), "nothing is known yet");
        pool.members[0].point_to(vec![SocketAddr::from(([127, 0, 0, 1], 1))]);
        resolve(&pool);
        assert_eq!(port(&pool, 0), 1);
    }

    #[test]
    fn a_name_that_resolves_replaces_what_was_known() {
        let mut options = options(&[9]);
        options.addresses[0].host = "localhost".to_owned();
        let pool = Pool::new(options);
        pool.members[0].point_to(vec![SocketAddr::from(([192, 0, 2, 1], 1))]);
        resolve(&pool);
        let peer = pool.pick(0).expect("localhost has an address");
        let address = peer._address.as_inet().expect("an internet address");
        assert!(
            address.ip().is_loopback() && address.port() == 9,
            "{address}"
        );
    }

    #[test]
    fn by_chance_every_upstream_is_chosen_and_not_in_turn() {
        let mut options = options(&[1, 2, 3]);
        options.balance = Balance::Random;
        let pool = Pool::new(options);
        let chosen: Vec<_> = (0..3_000).map(|_| port(&pool, pool.turn())).collect();
        for wanted in 1..=3 {
            let count = chosen.iter().filter(|port| **port == wanted).count();
            assert!((700..=1_300).contains(&count), "{wanted}: {count} of 3,000");
        }
        let again = chosen.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(again > 0, "by chance an upstream is chosen twice running");
    }

    #[test]
    fn unhealthy_upstreams_are_passed_over_unless_all_are() {
        let pool = pool(&[1, 2]);
        pool.members[0].healthy.store(false, Ordering::Relaxed);
        assert!((0..4).all(|_| port(&pool, pool.turn()) == 2));
        pool.members[1].healthy.store(false, Ordering::Relaxed);
        assert_eq!(port(&pool, 0), 1);
    }
}
