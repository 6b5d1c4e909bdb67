//! Upstreams of an app: which one a call goes to, where its name points, whether it is well.

mod aside;
mod failures;
mod health;
mod idle;
mod socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use pingora::upstreams::peer::HttpPeer;

use self::aside::{Aside, interleaved};
use self::failures::Failures;
use self::health::Health;
pub use self::health::HealthCheck;
pub(crate) use self::idle::{IdleSockets, MAX_IDLE};
use self::socket::Dialer;

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

impl std::fmt::Display for UpstreamAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
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
    /// Whether an address could ever not be connected to.
    has_failed: AtomicBool,
    health_check: Option<HealthCheck>,
}

struct Member {
    address: UpstreamAddress,
    /// One for each address that the name points to; the last good ones.
    servers: ArcSwap<Vec<Server>>,
    template: HttpPeer,
    /// As the file names it.
    name: Box<str>,
    failures: Failures,
}

/// One address of an upstream.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    /// Ready-made.
    peer: HttpPeer,
    /// Stays with the address when its name is resolved anew.
    health: Arc<Health>,
    /// So does this.
    aside: Arc<Aside>,
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
            has_failed: AtomicBool::new(false),
            health_check: options.health_check.clone(),
        }
    }

    /// The peer for an attempt of a call; `None` while no name has been resolved yet.
    ///
    /// Addresses that are unhealthy or set aside are passed over, unless all are. `turn` is what the first attempt got, so that
    /// a second one goes to another upstream; `failed` is the address that it could not connect to, so that the second one goes
    /// to another address, and to one of the other family where there is one: where one address of a family cannot be
    /// reached, its neighbours mostly cannot be either.
    #[must_use]
    pub fn pick(&self, turn: usize, failed: Option<SocketAddr>) -> Option<Box<HttpPeer>> {
        let Some(failed) = failed else {
            return self.pick_of(turn, |_| true);
        };
        let is_other_kind = |server: &Server| server.address.is_ipv6() != failed.is_ipv6();
        self.pick_of(turn, is_other_kind)
            .or_else(|| self.pick_of(turn, |server| server.address != failed))
            .or_else(|| self.pick_of(turn, |_| true))
    }

    fn pick_of(&self, turn: usize, will_do: impl Fn(&Server) -> bool) -> Option<Box<HttpPeer>> {
        let count = self.members.len();
        // Upstreams change with each turn, their addresses with each round: so every pair of both comes up.
        let round = turn / count;
        let in_turn = || (0..count).map(|step| &self.members[(turn % count + step) % count]);
        let well = |server: &Server| will_do(server) && server.is_well();
        let found = in_turn().find_map(|member| member.peer(round, well));
        found.or_else(|| in_turn().find_map(|member| member.peer(round, &will_do)))
    }

    /// Notes whether an address could be connected to, or a connection to it was there. One load where none ever failed.
    pub(crate) fn note(&self, address: SocketAddr, connected: bool) {
        if !connected {
            self.has_failed.store(true, Ordering::Relaxed);
        } else if !self.has_failed.load(Ordering::Relaxed) {
            return;
        }
        for member in &self.members {
            let servers = member.servers.load();
            let server = servers.iter().find(|server| server.address == address);
            match server {
                Some(server) if connected => server.aside.works(),
                Some(server) => server.aside.fails(),
                None => {}
            }
        }
    }

    /// The upstreams as the file names them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| &*member.name)
    }

    /// Notes that an attempt failed by the upstream with this address, and says its name. Now and then that is logged.
    pub(crate) fn failed(&self, app: &str, address: SocketAddr, kind: &str) -> Option<&str> {
        let has = |server: &Server| server.address == address;
        let mut members = self.members.iter();
        let member = members.find(|member| member.servers.load().iter().any(has))?;
        if let Some(failures) = member.failures.note() {
            let upstream = &*member.name;
            tracing::warn!(app, upstream, %address, kind, failures, "an upstream fails, the next line about it comes in a minute at the earliest");
        }
        Some(&member.name)
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
                    join_all(all).await;
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

impl Member {
    fn new(address: UpstreamAddress, options: &PoolOptions) -> Self {
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
            address,
        };
        if let Ok(ip) = member.address.host.parse() {
            member.point_to(vec![SocketAddr::new(ip, member.address.port)]);
        }
        member
    }

    /// The next address that will do, in turn.
    fn peer(&self, round: usize, will_do: impl Fn(&Server) -> bool) -> Option<Box<HttpPeer>> {
        let servers = self.servers.load();
        let (before, after) = servers.split_at(round % servers.len().max(1));
        let found = after.iter().chain(before).find(|server| will_do(server));
        found.map(|server| Box::new(server.peer.clone()))
    }

    fn point_to(&self, addresses: Vec<SocketAddr>) {
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
                    aside: Arc::default(),
                }
            })
        };
        self.servers
            .store(Arc::new(addresses.into_iter().map(server).collect()));
    }

    async fn resolve(&self) {
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
}

impl Server {
    fn is_healthy(&self) -> bool {
        self.health.healthy.load(Ordering::Relaxed)
    }

    fn is_well(&self) -> bool {
        self.is_healthy() && self.aside.may_be_tried()
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
        let peer = pool.pick(turn, None).expect("the address is literal");
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
            .filter_map(|_| pool.pick(pool.turn(), None))
            .filter_map(|peer| peer._address.as_inet().copied())
            .collect();
        assert_eq!(addresses.len(), 4, "{addresses:?}");
    }

    #[test]
    fn a_name_that_does_not_resolve_keeps_its_last_addresses() {
        let mut options = options(&[1]);
        options.addresses[0].host = "no-such-host.invalid".to_owned();
        let pool = Pool::new(options);
        assert!(pool.pick(0, None).is_none(), "nothing is known yet");
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
        let peer = pool.pick(0, None).expect("localhost has an address");
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

    fn set_healthy(member: &Member, healthy: bool) {
        let servers = member.servers.load();
        let flags = servers.iter().map(|server| &server.health.healthy);
        flags.for_each(|flag| flag.store(healthy, Ordering::Relaxed));
    }

    /// An upstream name with addresses of both families, of which only one works.
    #[test]
    fn of_two_families_one_of_which_leads_nowhere_every_call_passes() {
        for dead_is_v6 in [true, false] {
            let pool = pool(&[1]);
            let all = ["[::2]:1", "10.0.0.1:1", "[::3]:1", "10.0.0.2:1", "[::4]:1"];
            let all = all.map(|text| text.parse::<SocketAddr>().expect("an address"));
            pool.members[0].point_to(interleaved(all.into_iter()));
            let mut second_attempts = 0;
            for call in 0..32 {
                let turn = pool.turn();
                let mut failed = None;
                let connected = (0..2).any(|attempt| {
                    let peer = pool.pick(turn + attempt, failed).expect("an address");
                    let address = *peer._address.as_inet().expect("an internet address");
                    let connected = address.is_ipv6() != dead_is_v6;
                    pool.note(address, connected);
                    failed = (!connected).then_some(address);
                    second_attempts += attempt;
                    connected
                });
                assert!(connected, "call {call}");
            }
            let dead = all.iter().filter(|one| one.is_ipv6() == dead_is_v6);
            assert!(second_attempts <= dead.count(), "each is found out once");
        }
    }

    #[test]
    fn where_all_addresses_are_set_aside_they_are_tried_all_the_same() {
        let pool = pool(&[1]);
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        pool.note(address, false);
        assert_eq!(port(&pool, 0), 1);
        assert!(pool.pick(0, Some(address)).is_some());
    }

    #[test]
    fn unhealthy_upstreams_are_passed_over_unless_all_are() {
        let pool = pool(&[1, 2]);
        set_healthy(&pool.members[0], false);
        assert!((0..4).all(|_| port(&pool, pool.turn()) == 2));
        set_healthy(&pool.members[1], false);
        assert_eq!(port(&pool, 0), 1);
    }

    #[test]
    fn an_address_keeps_its_health_when_its_name_is_resolved_anew() {
        let pool = pool(&[1]);
        let address = |last| SocketAddr::from(([127, 0, 0, last], 1));
        let member = &pool.members[0];
        set_healthy(member, false);
        member.point_to(vec![address(1), address(2)]);
        let chosen = |_| pool.pick(pool.turn(), None)?._address.as_inet().copied();
        let chosen: Vec<_> = (0..4).filter_map(chosen).collect();
        assert_eq!(chosen, [address(2); 4], "the one known to be ill is not");
    }

    /// Answers every connection with 204, for as long as the process lives.
    fn serve(listener: std::net::TcpListener) {
        use std::io::{Read, Write};
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.1 204 Well\r\nConnection: close\r\n\r\n");
            }
        });
    }

    #[tokio::test]
    async fn of_the_addresses_of_a_name_those_that_answer_go_on_serving() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        serve(listener);
        let mut options = options(&[port]);
        options.health_check = Some(HealthCheck {
            path: "/".to_owned(),
            every: Duration::from_millis(10),
            timeout: Duration::from_secs(20),
            healthy_after: 1,
            unhealthy_after: 2,
        });
        let pool = Arc::new(Pool::new(options));
        let address = |last| SocketAddr::from(([127, 0, 0, last], port));
        // Nobody listens at the second.
        pool.members[0].point_to(vec![address(1), address(2)]);
        let is_out = async {
            while pool.members[0].servers.load()[1].is_healthy() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = pool.clone().care() => unreachable!("it cares until it is dropped"),
            () = is_out => {}
        }
        let chosen = |_| pool.pick(pool.turn(), None)?._address.as_inet().copied();
        let chosen: Vec<_> = (0..4).filter_map(chosen).collect();
        assert_eq!(chosen, [address(1); 4]);
    }
}
