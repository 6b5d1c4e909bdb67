//! Gates that share a store and a Redis, in front of one upstream.

#![allow(
    dead_code,
    reason = "each test binary that includes this uses a part of it"
)]

use testkit::eventually::{test_timeout, wait_for};
use testkit::{
    Audit, Config, FaultProxy, Gateway, License, Load, ObservedCall, Postgres, Redis, Request,
    Upstream, assert_eventually, binary,
};

/// Names of nodes; a fleet has as many gates as it asks for.
const NODES: [&str; 3] = ["north", "south", "west"];

pub(crate) struct Fleet {
    pub(crate) gates: Vec<Gateway>,
    pub(crate) upstream: Upstream,
    pub(crate) redis: Redis,
    pub(crate) server: Postgres,
    /// On the way of all gates to the server.
    pub(crate) to_store: FaultProxy,
}

impl Fleet {
    pub(crate) fn start(gates: usize) -> Self {
        Self::with(gates, |config| config)
    }

    /// With more in the configuration of each gate.
    pub(crate) fn with(gates: usize, more: impl Fn(Config) -> Config) -> Self {
        Self::serving(gates, |upstream| more(Config::new(upstream)))
    }

    /// With this configuration of each gate, given the URL of the upstream.
    pub(crate) fn serving(gates: usize, config: impl Fn(&str) -> Config) -> Self {
        let (server, redis, upstream) = (Postgres::start(), Redis::start(), Upstream::start());
        let to_store = FaultProxy::before(server.addr());
        let direct = server.database();
        let store = direct.replace(&server.addr().to_string(), &to_store.addr().to_string());
        assert_ne!(store, direct);
        let gate = |node: &&str| {
            let config = config(&upstream.url());
            Gateway::prepare(binary!(), sharing(config, &store, &redis.url(), node))
        };
        let mut gates: Vec<_> = NODES[..gates].iter().map(gate).collect();
        gates.iter_mut().for_each(Gateway::launch);
        gates.iter_mut().for_each(Gateway::wait_until_ready);
        let fleet = Self {
            gates,
            upstream,
            redis,
            server,
            to_store,
        };
        assert!(fleet.redis_is(true));
        fleet
    }

    /// Issues a license by the first gate, and waits until all have let a call of it pass.
    pub(crate) fn license(&self, arguments: &[&str]) -> License {
        let license = self.gates[0].license(arguments);
        for gate in &self.gates {
            assert_eventually!(status(gate, &license) == 200);
        }
        license
    }

    /// Issues so many licenses by the first gate, all of whose keys the others know though no call asked for them.
    pub(crate) fn cold_licenses(&self, count: usize) -> Vec<License> {
        let licenses = (0..count).map(|_| self.gates[0].license(&[])).collect();
        // Changes are read in their order.
        self.license(&[]);
        licenses
    }

    /// Waits until each of these loads has had so many more answers.
    pub(crate) fn more(loads: &[testkit::load::RunningLoad], answers: usize) {
        let before: Vec<_> = loads.iter().map(|load| load.answered()).collect();
        let goes_on = |(load, before): (&testkit::load::RunningLoad, &usize)| {
            load.answered() > before + answers
        };
        assert_eventually!(loads.iter().zip(&before).all(goes_on));
    }

    /// See [`assert_clean`].
    pub(crate) fn assert_clean(&mut self, seen: &[ObservedCall], granted: &[(&str, u64)]) {
        assert_clean(&mut self.gates, &self.upstream, seen, granted);
    }

    /// Whether all gates say of Redis that they use it, or that they do not.
    pub(crate) fn redis_is(&self, up: bool) -> bool {
        let expected = if up { 1.0 } else { 0.0 };
        let says = |gate: &Gateway| gate.metric("tallygate_redis_up", &[]);
        self.gates.iter().all(|gate| says(gate) == expected)
    }

    /// Load of some connections on each gate, with one of these keys after the other.
    pub(crate) fn load(
        &self,
        connections: usize,
        licenses: &[License],
    ) -> Vec<testkit::load::RunningLoad> {
        let keys: Vec<_> = licenses.iter().map(|license| license.key.clone()).collect();
        let load = |gate: &Gateway| {
            let keys = keys.clone();
            let request = move |worker: usize, number: usize| {
                Request::get("/").key(&keys[(worker + number) % keys.len()])
            };
            Load::new(gate.addr(), connections, request).start()
        };
        self.gates.iter().map(load).collect()
    }
}

pub(crate) fn config(upstream: &str, store: &str, redis: &str, node: &str) -> Config {
    sharing(Config::new(upstream), store, redis, node)
}

/// A configuration of a gate of this name that shares a store and a Redis with others.
fn sharing(config: Config, store: &str, redis: &str, node: &str) -> Config {
    config
        .server(&format!("node = \"{node}\""))
        .table(&format!("[store]\nurl = \"{store}\""))
        // Long enough that a machine with much else to do does not look like a Redis that hangs.
        .table(&format!("[redis]\nurl = \"{redis}\"\ntimeout = \"2s\""))
}

pub(crate) fn status(gate: &Gateway, license: &License) -> u16 {
    gate.call(&Request::get("/").key(&license.key)).status
}

/// Stops all gates but the first, which then has all the books to itself, and holds the upstream's list and what callers saw
/// against them.
pub(crate) fn assert_clean(
    gates: &mut [Gateway],
    upstream: &Upstream,
    seen: &[ObservedCall],
    granted: &[(&str, u64)],
) {
    for gate in &mut gates[1..] {
        assert!(gate.stop().success());
    }
    let (gate, served) = (&gates[0], upstream.served());
    let mut last = String::new();
    let clean = wait_for(test_timeout(), || {
        let (verify, calls) = (gate.verify(), gate.calls(&[]));
        let audit = Audit {
            seen,
            served: &served,
            calls: &calls,
            verify: Some(&verify),
            granted,
        };
        let findings = audit.findings();
        last = format!("{findings}\n{verify}");
        let closed = verify["pending"] == 0 && verify["clean"] == true;
        (findings.is_clean() && closed).then_some(())
    });
    assert!(clean.is_some(), "{last}");
}
