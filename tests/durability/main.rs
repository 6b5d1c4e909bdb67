//! Kill -9 at random moments under load: no call lost, none doubled, no quota over-spent.

mod authforge;
mod idempotency;
mod webhooks;

#[path = "../support"]
mod support {
    pub(crate) mod fleet;
}

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use testkit::client::Request;
use testkit::eventually::{test_timeout, wait_for};
use testkit::{
    App, Audit, Config, Gateway, License, Load, ObservedCall, ServedRequest, Upstream, binary,
};

/// Connections of the load.
const CALLERS: usize = 12;
/// Rounds of kill -9 in the suite, for each durability; `make audit` sets `TALLYGATE_AUDIT_ROUNDS`.
const ROUNDS: usize = 20;
/// A long audit says where it stands every so many rounds.
const PROGRESS: usize = 50;

/// Small, fast, and the same for the same seed.
struct Random(u64);

impl Random {
    fn from_environment() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("it is later than 1970");
        let chosen = std::env::var("TALLYGATE_AUDIT_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let seed: u64 = chosen.unwrap_or_else(|| now.subsec_nanos().into());
        println!("TALLYGATE_AUDIT_SEED={seed} chooses the same moments again");
        Self(seed | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("below a usize")
    }
}

/// A gate, its upstream, and three kinds of licenses; killed again and again.
struct Ordeal {
    gateway: Gateway,
    upstream: Upstream,
    unlimited: License,
    limited: License,
    granted: u64,
    /// Calls of the limited license that the upstream saw, over all rounds.
    spent: u64,
    recorded: HashSet<String>,
}

fn rounds() -> usize {
    std::env::var("TALLYGATE_AUDIT_ROUNDS")
        .map_or(ROUNDS, |text| text.parse().expect("a number of rounds"))
}

impl Ordeal {
    fn new(durability: &str, rounds: usize) -> Self {
        let upstream = Upstream::start();
        let app = App::new("api", &upstream.url())
            .route("/units", &["units_header = \"X-Units\"", "units_max = 5"]);
        let gateway = Gateway::start(
            binary!(),
            Config::default()
                .durability(durability)
                .app(app.route("/", &[])),
        );
        let unlimited = gateway.license(&[]);
        // Enough for some rounds and too little for all, so that its end is crossed under fire.
        let granted = rounds as u64 * 40;
        let limited = gateway.license(&["--remaining", &granted.to_string()]);
        Self {
            gateway,
            upstream,
            unlimited,
            limited,
            granted,
            spent: 0,
            recorded: HashSet::new(),
        }
    }

    fn load(&self) -> Load {
        let (unlimited, limited) = (self.unlimited.key.clone(), self.limited.key.clone());
        Load::new(self.gateway.addr(), CALLERS, move |worker, number| {
            match (worker % 4, number % 8) {
                (0, _) => Request::get("/").key(&limited),
                (1, 0) => Request::get("/stream/4/200/1").key(&unlimited),
                (1, 1) => Request::get("/reset-mid-body").key(&unlimited),
                (1, 2) => Request::get("/status/500").key(&unlimited),
                (2, _) => Request::post("/echo", b"some body").key(&unlimited),
                (3, 0) => Request::get("/delay/3").key(&unlimited),
                (3, 1) => Request::get("/units/3").key(&unlimited),
                _ => Request::get("/bytes/300").key(&unlimited),
            }
        })
    }

    /// Load, death at a random moment, a restart, and the audit of that round.
    fn round(&mut self, number: usize, random: &mut Random) {
        let since = testkit::clock::rfc3339_now();
        let load = self.load().start();
        let moment = 1 + random.below(600);
        let reached = wait_for(test_timeout(), || (load.answered() >= moment).then_some(()));
        assert!(
            reached.is_some(),
            "round {number}: {} of {moment} calls were answered",
            load.answered()
        );
        self.gateway.kill9();
        let seen = load.stop();
        self.upstream.wait_until_left();
        let served = self.upstream.take_served();
        self.gateway.restart();
        if random.below(4) == 0 {
            // Recovery itself may die.
            self.gateway.kill9();
            self.gateway.restart();
        }
        self.audit(number, &since, &seen, &served);
    }

    fn audit(
        &mut self,
        number: usize,
        since: &str,
        seen: &[ObservedCall],
        served: &[ServedRequest],
    ) {
        let calls = self.gateway.calls(&["--from", since]);
        let verify = self.gateway.verify();
        let findings = Audit {
            seen,
            served,
            calls: &calls,
            verify: Some(&verify),
            granted: &[],
        }
        .findings();
        let totals = format!(
            "{} seen, {} served, {} recorded",
            seen.len(),
            served.len(),
            calls.len()
        );
        assert!(
            findings.is_clean(),
            "round {number}: {totals}, and:\n{findings}"
        );
        for call in &calls {
            let id = call["call_id"].as_str().expect("a record has an id");
            assert!(
                self.recorded.insert(id.to_owned()),
                "round {number}: {id} is recorded in two rounds"
            );
        }
        self.spent += forwarded_with(&calls, &self.limited.id);
        assert!(
            self.spent <= self.granted,
            "round {number}: {} spent of {}",
            self.spent,
            self.granted
        );
    }

    /// After the last round: the whole ledger again, and the quota to its last unit.
    fn finish(mut self) {
        let all = self.gateway.calls(&[]);
        let ids: HashSet<&str> = all
            .iter()
            .filter_map(|call| call["call_id"].as_str())
            .collect();
        assert_eq!(ids.len(), all.len(), "a call has two records");
        assert_eq!(
            ids,
            self.recorded.iter().map(String::as_str).collect(),
            "a record came or went since its round"
        );
        let key = self.limited.key.clone();
        let mut left = self.granted - self.spent;
        while left > 0 && self.gateway.call(&Request::get("/").key(&key)).status == 200 {
            left -= 1;
        }
        assert_eq!(
            self.gateway.call(&Request::get("/").key(&key)).status,
            402,
            "the quota is over-spent"
        );
        let verify = self.gateway.verify();
        assert_eq!(
            (&verify["lost"], &verify["duplicated"]),
            (&0.into(), &0.into()),
            "{verify}"
        );
        assert_eq!(self.gateway.stop().code(), Some(0));
        println!(
            "{} calls recorded, {} units of {} left",
            all.len(),
            left,
            self.granted
        );
    }
}

/// Calls of a license that went to the upstream and keep their unit.
fn forwarded_with(calls: &[Value], license: &str) -> u64 {
    let mine = calls
        .iter()
        .filter(|call| call["license_id"] == license && call["outcome"] != "refused");
    mine.filter(|call| call["outcome"] != "upstream_failed")
        .count() as u64
}

fn kill_9_audit(durability: &str) {
    let rounds = rounds();
    let mut random = Random::from_environment();
    let mut ordeal = Ordeal::new(durability, rounds);
    for number in 0..rounds {
        ordeal.round(number, &mut random);
        if (number + 1).is_multiple_of(PROGRESS) {
            let (calls, done) = (ordeal.recorded.len(), number + 1);
            println!(
                "{durability}: {done} of {rounds} rounds, {calls} calls recorded, none lost or doubled"
            );
        }
    }
    ordeal.finish();
}

#[test]
fn kill_9_under_load_loses_nothing_with_process_durability() {
    kill_9_audit("process");
}

#[test]
fn kill_9_under_load_loses_nothing_with_disk_durability() {
    kill_9_audit("disk");
}

#[test]
fn a_call_that_was_in_flight_is_recorded_as_unknown_and_not_billed() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(binary!(), Config::new(&upstream.url()));
    let license = gateway.license(&["--remaining", "10"]);
    let mut connection = gateway.connect();
    connection
        .send(&Request::get("/hang").key(&license.key).bytes())
        .expect("the gate reads");
    upstream.wait_for_served(1);
    gateway.kill9();
    gateway.restart();
    let served = upstream.served();
    let record = gateway.record(served[0].call_id.as_deref().expect("a call id"));
    assert_eq!(
        (&record["outcome"], &record["billable"]),
        (&"unknown".into(), &false.into()),
        "{record}"
    );
    let shown = gateway.cli().json(&["license", "show", &license.id]);
    assert_eq!(
        shown["remaining"], 9,
        "the unit of a call that may have run stays spent: {shown}"
    );
}

#[test]
fn a_stream_that_the_crash_cut_is_interrupted_and_billed_once() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(binary!(), Config::new(&upstream.url()));
    let license = gateway.license(&[]);
    let mut connection = gateway.connect();
    connection
        .send(&Request::get("/hold-mid-body").key(&license.key).bytes())
        .expect("the gate reads");
    let head = connection.read_head().expect("a head");
    gateway.kill9();
    for _ in 0..3 {
        gateway.restart();
        let record = gateway.record(head.header("tallygate-call-id").expect("a call id"));
        assert_eq!(
            (&record["status"], &record["outcome"]),
            (&200.into(), &"interrupted".into()),
            "{record}"
        );
        assert_eq!(record["billable"], true, "{record}");
        gateway.kill9();
    }
    gateway.restart();
    let usage = gateway.cli().json(&["usage", "--by", "license"]);
    assert_eq!(
        (&usage[0]["calls"], &usage[0]["billable_calls"]),
        (&1.into(), &1.into()),
        "{usage}"
    );
}

#[test]
fn a_crash_after_a_status_that_is_not_billed_gives_the_unit_back_unless_all_are_counted() {
    for (counts, left) in [("billed", 10), ("all", 9)] {
        let upstream = Upstream::start();
        let app = App::new("api", &upstream.url())
            .line("billable = [\"404\"]")
            .line(&format!("counts = \"{counts}\""));
        let mut gateway = Gateway::start(binary!(), Config::default().app(app));
        let license = gateway.license(&["--remaining", "10"]);
        let mut connection = gateway.connect();
        connection
            .send(&Request::get("/hold-mid-body").key(&license.key).bytes())
            .expect("the gate reads");
        let head = connection.read_head().expect("a head");
        gateway.kill9();
        gateway.restart();
        let record = gateway.record(head.header("tallygate-call-id").expect("a call id"));
        assert_eq!(
            (&record["outcome"], &record["billable"]),
            (&"interrupted".into(), &false.into()),
            "{record}"
        );
        let shown = gateway.cli().json(&["license", "show", &license.id]);
        assert_eq!(shown["remaining"], left, "counts = {counts}: {shown}");
    }
}

#[test]
fn what_was_recorded_is_the_same_after_many_clean_and_unclean_ends() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(binary!(), Config::new(&upstream.url()));
    let license = gateway.license(&[]);
    let ids = |gateway: &Gateway| -> Vec<String> {
        gateway
            .calls(&[])
            .iter()
            .map(|call| call["call_id"].as_str().expect("an id").to_owned())
            .collect()
    };
    let mut expected = Vec::new();
    for round in 0..6 {
        for _ in 0..10 {
            expected.push(
                gateway
                    .call(&Request::get("/").key(&license.key))
                    .call_id()
                    .to_owned(),
            );
        }
        if round % 2 == 0 {
            gateway.kill9();
        } else {
            assert_eq!(gateway.stop().code(), Some(0));
        }
        gateway.restart();
        assert_eq!(ids(&gateway), expected, "after end {round}");
    }
    let verify = gateway.verify();
    assert_eq!(
        (&verify["accepted"], &verify["lost"], &verify["duplicated"]),
        (&60.into(), &0.into(), &0.into())
    );
}

/// As docs/records.md says: the number of folded refusals is in memory until its second is over.
#[test]
fn a_killed_gate_takes_with_it_the_folded_refusals_of_its_last_second_alone() {
    const FLOOD: u64 = 200;
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(binary!(), Config::new(&upstream.url()));
    let license = gateway.license(&["--remaining", "0"]);
    let flood = |gateway: &Gateway| {
        for _ in 0..FLOOD {
            let refused = gateway.call(&Request::get("/").key(&license.key));
            assert_eq!(refused.status, 402);
        }
    };
    let recorded = |gateway: &Gateway| -> u64 {
        let calls = gateway.calls(&[]);
        assert!(calls.iter().all(|call| call["billable"] == false));
        let calls = calls.iter().filter_map(|call| call["calls"].as_u64());
        calls.sum()
    };
    flood(&gateway);
    let whole = wait_for(test_timeout(), || {
        (recorded(&gateway) == FLOOD).then_some(())
    });
    assert!(whole.is_some(), "{} are recorded", recorded(&gateway));
    flood(&gateway);
    gateway.kill9();
    gateway.restart();
    let found = recorded(&gateway);
    assert!(
        (FLOOD + 1..=2 * FLOOD).contains(&found),
        "{found} are recorded"
    );
    let verify = gateway.verify();
    assert_eq!(verify["lost"], 0, "{verify}");
}
