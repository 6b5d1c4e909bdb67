//! The pool of an app's upstreams: which of them a call goes to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use model::{Clock as _, SystemClock, Timestamp};
use pingora::upstreams::peer::HttpPeer;

use super::health::HealthCheck;
use super::member::{Member, Server};
use super::options::{Balance, PoolOptions, UpstreamAddress};

/// The time after which names are resolved again.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(10);

/// The upstreams of one app, with what is known of them. Shared by all threads.
pub struct Pool {
    members: Vec<Member>,
    balance: Balance,
    next: AtomicUsize,
    /// Whether a connection to an address ever failed.
    has_failed: AtomicBool,
    health_check: Option<HealthCheck>,
}

impl Pool {
    /// Returns a pool. Literal addresses are known at once; names are resolved by
    /// [`Pool::maintain`].
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

    /// Returns the peer for an attempt of a call; `None` while no name has been resolved yet.
    ///
    /// Addresses that are unhealthy or set aside are passed over, unless all are. `turn`: the
    /// number from [`Pool::next_turn`] plus that of the attempt, so that a second attempt goes to
    /// another upstream. `failed`: the address that the attempt before could not connect to, so
    /// that the second goes to another address, of the other family where there is one: where one
    /// address of a family cannot be reached, its neighbours mostly cannot be either.
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
        // Upstreams change with each turn and their addresses with each round, so every pair comes
        // up.
        let round = turn / count;
        let in_turn = || (0..count).map(|step| &self.members[(turn % count + step) % count]);
        let well = |server: &Server| will_do(server) && server.is_well();
        let found = in_turn().find_map(|member| member.peer(round, well));
        found.or_else(|| in_turn().find_map(|member| member.peer(round, &will_do)))
    }

    /// Notes whether an address could be connected to, or a connection to it was open already.
    /// Costs one load as long as none ever failed.
    pub(crate) fn note_connect(&self, address: SocketAddr, connected: bool) {
        if !connected {
            self.has_failed.store(true, Ordering::Relaxed);
        } else if !self.has_failed.load(Ordering::Relaxed) {
            return;
        }
        for member in &self.members {
            let servers = member.servers.load();
            let server = servers.iter().find(|server| server.address == address);
            match server {
                Some(server) if connected => {
                    server.backoff.works();
                    member.answering.works();
                }
                Some(server) => server.backoff.fails(),
                None => {}
            }
        }
    }

    /// Notes that the first attempt of a call could not connect to this address.
    pub(crate) fn note_failed_call(&self, address: SocketAddr) {
        let now = SystemClock.now();
        for member in self.members.iter().filter(|member| member.has(address)) {
            member.answering.fails(now);
        }
    }

    /// Returns the upstreams by the names of the configuration file, each with the time since which
    /// it is down; `None`: it is not.
    pub fn answering(&self) -> impl Iterator<Item = (&str, Option<Timestamp>)> {
        let now = SystemClock.now();
        let members = self.members.iter();
        members.map(move |member| (&*member.name, member.answering.down_since(now)))
    }

    /// Takes over what an earlier start of this gate found: an upstream is down since a time, until
    /// a call connects to it. Returns whether there is such an upstream.
    pub fn was_down(&self, upstream: &str, since: Timestamp) -> bool {
        self.has_failed.store(true, Ordering::Relaxed);
        let mut found = false;
        for member in self.members.iter().filter(|m| *m.name == *upstream) {
            member.answering.was_down(since);
            found = true;
        }
        found
    }

    /// Returns the upstreams by the names of the configuration file.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| &*member.name)
    }

    /// Notes that an attempt failed because of the upstream with this address, and returns its
    /// name. Logs at most one line a minute for each upstream.
    pub(crate) fn note_failure(&self, app: &str, address: SocketAddr, kind: &str) -> Option<&str> {
        let mut members = self.members.iter();
        let member = members.find(|member| member.has(address))?;
        if let Some(failures) = member.failures.note() {
            let upstream = &*member.name;
            tracing::warn!(app, upstream, %address, kind, failures, "an upstream fails, the next line about it comes in a minute at the earliest");
        }
        Some(&member.name)
    }

    /// Returns the turn of a call. A second attempt of the same call takes the next number.
    #[must_use]
    pub fn next_turn(&self) -> usize {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        match self.balance {
            Balance::RoundRobin => turn,
            // A multiplicative step of the counter spreads well and costs less than a random
            // number.
            Balance::Random => turn.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as usize) >> 7,
        }
    }

    /// Resolves names and checks health, until the future is dropped.
    pub async fn maintain(self: Arc<Self>) {
        let resolving = async {
            loop {
                for member in &self.members {
                    member.resolve().await;
                }
                tokio::time::sleep(RESOLVE_INTERVAL).await;
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

    /// Resolves every name once, so that the first call after a start finds its upstream.
    pub async fn resolve(&self) {
        for member in &self.members {
            member.resolve().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::member::interleaved;
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
        let first: Vec<_> = (0..3).map(|_| port(&pool, pool.next_turn())).collect();
        assert_eq!(first, [1, 2, 3]);
        let turn = pool.next_turn();
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
            .filter_map(|_| pool.pick(pool.next_turn(), None))
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
        let chosen: Vec<_> = (0..3_000).map(|_| port(&pool, pool.next_turn())).collect();
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
                let turn = pool.next_turn();
                let mut failed = None;
                let connected = (0..2).any(|attempt| {
                    let peer = pool.pick(turn + attempt, failed).expect("an address");
                    let address = *peer._address.as_inet().expect("an internet address");
                    let connected = address.is_ipv6() != dead_is_v6;
                    pool.note_connect(address, connected);
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
        pool.note_connect(address, false);
        assert_eq!(port(&pool, 0), 1);
        assert!(pool.pick(0, Some(address)).is_some());
    }

    #[test]
    fn unhealthy_upstreams_are_passed_over_unless_all_are() {
        let pool = pool(&[1, 2]);
        set_healthy(&pool.members[0], false);
        assert!((0..4).all(|_| port(&pool, pool.next_turn()) == 2));
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
        let chosen = |_| {
            pool.pick(pool.next_turn(), None)?
                ._address
                .as_inet()
                .copied()
        };
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
            interval: Duration::from_millis(10),
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
            () = pool.clone().maintain() => unreachable!("it runs until it is dropped"),
            () = is_out => {}
        }
        let chosen = |_| {
            pool.pick(pool.next_turn(), None)?
                ._address
                .as_inet()
                .copied()
        };
        let chosen: Vec<_> = (0..4).filter_map(chosen).collect();
        assert_eq!(chosen, [address(1); 4]);
    }
}
