//! A good key is never 401: on any gate, from the moment that its creation or rotation was answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use crate::support::fleet::{Fleet, config};
use model::{Credential, KeyFormat};
use testkit::eventually::{test_timeout, wait_for};
use testkit::{
    Config, Connection, FaultProxy, Gateway, Load, Postgres, Redis, Request, Upstream,
    assert_eventually, binary,
};

/// How many make keys at once.
const MAKERS: usize = 8;

/// Three gates, the two others of which are called with what the first one makes.
struct Gates {
    gates: Vec<Gateway>,
    management: String,
}

impl Gates {
    fn of(gates: Vec<Gateway>) -> Self {
        let key = gates[0].cli().json(&["key", "create"]);
        let management = key["key"].as_str().expect("a key").to_owned();
        Self { gates, management }
    }

    /// A connection to the control plane of the first gate.
    fn control(&self) -> Maker {
        Maker {
            connection: Connection::open(self.gates[0].control_addr()).expect("a connection"),
            authorization: format!("Bearer {}", self.management),
        }
    }

    /// Asks the others, each on a connection of its own.
    fn others(&self) -> Vec<Connection> {
        let open = |gate: &Gateway| Connection::open(gate.addr()).expect("a connection");
        self.gates[1..].iter().map(open).collect()
    }
}

struct Maker {
    connection: Connection,
    authorization: String,
}

impl Maker {
    fn post(&mut self, path: &str, body: &str) -> serde_json::Value {
        let request = Request::post(path, body.as_bytes())
            .header("Authorization", &self.authorization)
            .header("Content-Type", "application/json");
        let answer = self.connection.call(&request).expect("an answer");
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
        answer.json()
    }

    /// The id and the key of a new license.
    fn license(&mut self) -> (String, String) {
        let made = self.post("/api/v1/licenses", r#"{"app":"api"}"#);
        (text(&made, "id"), text(&made, "key"))
    }
}

fn text(value: &serde_json::Value, field: &str) -> String {
    value[field].as_str().expect("a text").to_owned()
}

fn status(connection: &mut Connection, key: &str) -> u16 {
    let answer = connection.call(&Request::get("/").key(key));
    answer.expect("an answer").status
}

/// The status of a call that is made again where the gate had no time to hear of the key, as on a machine with much else to
/// do: 503 is the honest answer then.
fn status_in_time(connection: &mut Connection, key: &str) -> u16 {
    let told = || Some(status(connection, key)).filter(|status| *status != 503);
    wait_for(test_timeout(), told).expect("not 503 for ever")
}

/// Ends the flood however the test ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Well-formed keys that nobody has, one after the other without a pause, until it is told to stop.
fn flood(addr: SocketAddr, stop: &AtomicBool, refused: &AtomicUsize) {
    let mut connection = Connection::open(addr).expect("a connection");
    while !stop.load(Ordering::Relaxed) {
        let key = Credential::generate(KeyFormat::Tallygate);
        let answer = connection.call(&Request::get("/").key(key.expose()));
        let status = answer.expect("an answer").status;
        assert!(matches!(status, 401 | 503), "{status}");
        refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// Makes keys and rotates some of them, and calls the other gates with each at once.
fn make_and_rotate(gates: &Gates, created: usize, rotated: usize) {
    let (mut maker, mut others) = (gates.control(), gates.others());
    for number in 0..created {
        let (id, former) = maker.license();
        for other in &mut others {
            assert_eq!(status_in_time(other, &former), 200, "a fresh key");
        }
        if number >= rotated {
            continue;
        }
        let path = format!("/api/v1/licenses/{id}/rotate");
        let key = text(&maker.post(&path, r#"{"overlap":"1h"}"#), "key");
        for other in &mut others {
            assert_eq!(status_in_time(other, &key), 200, "the new key");
            assert_eq!(status_in_time(other, &former), 200, "in its overlap");
        }
        let key = text(&maker.post(&path, r#"{"overlap":"1s"}"#), "key");
        for other in &mut others {
            assert_eq!(status_in_time(other, &key), 200, "a short overlap");
        }
    }
}

/// Makes keys and rotates them under load, and calls the other gates with each of them at once.
fn assert_never_unknown(gates: &Gates, created: usize, rotated: usize) {
    let mut maker = gates.control();
    let (_, known) = maker.license();
    let load = |gate: &Gateway| {
        let known = known.clone();
        Load::new(gate.addr(), 4, move |_, _| {
            Request::get("/delay/2").key(&known)
        })
        .start()
    };
    let loads: Vec<_> = gates.gates.iter().map(load).collect();
    let (stop, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for gate in &gates.gates[1..] {
            scope.spawn(|| flood(gate.addr(), &stop, &refused));
        }
        let _stop = Stop(&stop);
        std::thread::scope(|scope| {
            for _ in 0..MAKERS {
                scope.spawn(|| make_and_rotate(gates, created / MAKERS, rotated / MAKERS));
            }
        });
    });
    assert!(refused.into_inner() > 20, "a flood ran beside it");
    let seen: Vec<_> = loads.into_iter().flat_map(|load| load.stop()).collect();
    let refused = |call: &&testkit::ObservedCall| !matches!(call.status, Some(200 | 503));
    assert_eq!(seen.iter().find(refused), None);
}

#[test]
fn fresh_and_rotated_keys_pass_on_the_other_gates_at_once() {
    let fleet = Fleet::start(3);
    let Fleet { gates, .. } = fleet;
    assert_never_unknown(&Gates::of(gates), 1_000, 200);
}

#[test]
fn fresh_and_rotated_keys_pass_on_the_other_gates_at_once_without_redis() {
    let (server, upstream) = (Postgres::start(), Upstream::start());
    let store = format!("[store]\nurl = \"{}\"", server.database());
    let start = |node: &str| {
        let config = Config::new(&upstream.url());
        Gateway::start(
            binary!(),
            config.server(&format!("node = \"{node}\"")).table(&store),
        )
    };
    let gates = ["north", "south", "west"].map(start).into();
    assert_never_unknown(&Gates::of(gates), 200, 50);
}

/// Who call each of the other gates during a rotation.
const PROBERS: usize = 2;
/// Pairs of calls that each of them makes at least, before the rotation and of each kind after it.
const PAIRS: usize = 10;

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    /// 503: the gate had no time to hear of the key, as on a machine with much else to do.
    Later,
    /// Any other answer, or none, as for a call that is under way when its key ends.
    Refused(Option<u16>),
}

/// A call with the key of before a rotation, and right after it one with the key that it gave, once that was answered.
#[derive(Clone, Copy, Debug)]
struct Pair {
    former: Verdict,
    /// When the call with the former key was answered.
    at: Instant,
    fresh: Option<Verdict>,
}

/// A rotation, as those saw it who called meanwhile.
struct Rotation {
    /// Just before it was asked for.
    begun: Instant,
    fresh: String,
    /// The pairs of each of them, in their order.
    seen: Vec<Vec<Pair>>,
}

impl Verdict {
    /// Calls on that connection, or on a new one in its place once it was closed.
    fn of(connection: &mut Option<Connection>, addr: SocketAddr, key: &str) -> Self {
        let mut open = connection
            .take()
            .unwrap_or_else(|| Connection::open(addr).expect("a connection"));
        let Ok(answer) = open.call(&Request::get("/").key(key)) else {
            return Self::Refused(None);
        };
        *connection = Some(open);
        match answer.status {
            200 => Self::Passed,
            503 => Self::Later,
            other => Self::Refused(Some(other)),
        }
    }

    fn is_refused(self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// Rotates the key of a license while both keys are called in pairs without a pause on the two other gates, from before the
/// rotation until each of those who call has seen enough.
fn rotate_under_probes(
    gates: &Gates,
    (id, former): (&str, &str),
    body: &str,
    is_enough: impl Fn(&[Pair]) -> bool,
) -> Rotation {
    let (fresh, stop) = (OnceLock::<String>::new(), AtomicBool::new(false));
    let others = gates.gates[1..].iter().map(Gateway::addr);
    let callers: Vec<_> = others.flat_map(|addr| [addr; PROBERS]).collect();
    let seen: Vec<Mutex<Vec<Pair>>> = callers.iter().map(|_| Mutex::default()).collect();
    let all_have = |enough: &dyn Fn(&[Pair]) -> bool| seen.iter().all(|seen| enough(&pairs(seen)));
    let begun = std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        for (addr, seen) in callers.into_iter().zip(&seen) {
            let (fresh, stop) = (&fresh, &stop);
            scope.spawn(move || {
                let (mut one, mut other) = (None, None);
                while !stop.load(Ordering::Relaxed) {
                    let former = Verdict::of(&mut one, addr, former);
                    let at = Instant::now();
                    let fresh = fresh.get();
                    let fresh = fresh.map(|key| Verdict::of(&mut other, addr, key));
                    pairs(seen).push(Pair { former, at, fresh });
                }
            });
        }
        assert_eventually!(all_have(&|pairs| pairs.len() >= PAIRS));
        let mut maker = gates.control();
        let begun = Instant::now();
        let answer = maker.post(&format!("/api/v1/licenses/{id}/rotate"), body);
        // From this moment on it is called.
        fresh.set(text(&answer, "key")).expect("set once");
        assert_eventually!(all_have(&is_enough));
        begun
    });
    Rotation {
        begun,
        fresh: fresh.into_inner().expect("it was answered"),
        seen: seen.iter().map(|seen| pairs(seen).clone()).collect(),
    }
}

fn pairs(seen: &Mutex<Vec<Pair>>) -> MutexGuard<'_, Vec<Pair>> {
    seen.lock().expect("nobody panicked")
}

/// Whether one of those who called passed with the fresh key the first time that he tried it. On a busy machine not all do.
fn some_pass_at_once(rotation: &Rotation) -> bool {
    let first = |pairs: &Vec<Pair>| pairs.iter().find_map(|pair| pair.fresh);
    let mut firsts = rotation.seen.iter().filter_map(first);
    firsts.any(|first| first == Verdict::Passed)
}

fn has_passed_with_the_fresh(pairs: &[Pair]) -> bool {
    let passed = |pair: &&Pair| pair.fresh == Some(Verdict::Passed);
    pairs.iter().filter(passed).count() >= PAIRS
}

/// Whether the former key has ended for one who went on with both.
fn has_seen_the_former_end(pairs: &[Pair]) -> bool {
    let ended = |pair: &&Pair| pair.former == Verdict::Refused(Some(403));
    has_passed_with_the_fresh(pairs) && pairs.iter().filter(ended).count() >= PAIRS
}

/// What is probed: on each of the two gates that did not make the rotation, two callers call without a pause in pairs, from before
/// the rotation is asked for until long after it: until the former key is refused where the overlap is short. The first call of a
/// pair has the former key; the second has the fresh one, from the moment on at which the rotation was answered; each key has a
/// connection of its own. Of all these pairs, on both gates,
/// - there is none in which both keys were refused, or the only one that there was: before, during and after the rotation, and at
///   the end of the overlap;
/// - the former key was refused in no call that was answered before the overlap was over, as counted from just before the rotation
///   was asked for, so that nobody who has not heard of the fresh one is turned away;
/// - the fresh key was refused in no call.
///
/// 503 is no refusal: it asks a caller to come back where a gate had no time to read of the change, which is a matter of the
/// machine. That it is not the rule is probed over all rotations.
///
/// The rotations follow each other on one license, so that the fresh key of one is the former key of the next.
#[test]
fn with_an_overlap_there_is_no_time_at_which_neither_the_old_nor_the_new_key_opens() {
    type Enough = fn(&[Pair]) -> bool;
    let fleet = Fleet::start(3);
    let gates = Gates::of(fleet.gates);
    let (id, mut former) = gates.control().license();
    let mut at_once = 0;
    let long: (_, _, Enough) = ("1h", 3_600, has_passed_with_the_fresh);
    let short: (_, _, Enough) = ("1s", 1, has_seen_the_former_end);
    for (overlap, seconds, is_enough) in [long, short, long, long, short, short] {
        let body = format!(r#"{{"overlap":"{overlap}"}}"#);
        let rotation = rotate_under_probes(&gates, (&id, &former), &body, is_enough);
        let ends = rotation.begun + Duration::from_secs(seconds);
        for pair in rotation.seen.iter().flatten() {
            let fresh_is_refused = pair.fresh.is_some_and(Verdict::is_refused);
            let former_is_refused = pair.former.is_refused();
            let neither = former_is_refused && (pair.fresh.is_none() || fresh_is_refused);
            assert!(!neither, "neither: {pair:?}");
            assert!(!fresh_is_refused, "the new key: {pair:?}");
            assert!(!former_is_refused || pair.at >= ends, "the old: {pair:?}");
        }
        at_once += usize::from(some_pass_at_once(&rotation));
        former = rotation.fresh;
    }
    assert!(at_once > 0, "the fresh key was late every time");
}

/// What is probed: the same callers and pairs as with an overlap, from before the rotation is asked for until the former key is
/// refused to each of them. Between the end of the former key and the answer that tells the fresh one nobody can have a key that
/// passes. But
/// - the fresh key was refused in no call, the first of which follow the answer of the rotation at once, on both gates;
/// - the former key was refused in no call before the rotation was asked for, and to none of those who called did it pass again
///   after it had been refused.
///
/// Of 503 goes what is said there.
#[test]
fn without_an_overlap_the_new_key_opens_from_the_moment_that_its_rotation_was_answered() {
    let fleet = Fleet::start(3);
    let gates = Gates::of(fleet.gates);
    let (id, mut former) = gates.control().license();
    let mut at_once = 0;
    for _ in 0..10 {
        let key = (&*id, &*former);
        let rotation = rotate_under_probes(&gates, key, "{}", has_seen_the_former_end);
        for pairs in &rotation.seen {
            let mut ended = false;
            for pair in pairs {
                let fresh_is_refused = pair.fresh.is_some_and(Verdict::is_refused);
                assert!(!fresh_is_refused, "the new key: {pair:?}");
                let former_is_refused = pair.former.is_refused();
                assert!(!former_is_refused || pair.at >= rotation.begun, "{pair:?}");
                assert!(!ended || pair.former != Verdict::Passed, "{pair:?}");
                ended |= former_is_refused;
            }
        }
        at_once += usize::from(some_pass_at_once(&rotation));
        former = rotation.fresh;
    }
    assert!(at_once > 0, "the fresh key was late every time");
}

#[test]
fn a_key_that_a_gate_cut_off_from_the_store_does_not_know_is_503_and_never_401() {
    let (server, redis, upstream) = (Postgres::start(), Redis::start(), Upstream::start());
    let way = FaultProxy::before(server.addr());
    let direct = server.database();
    let by_way = direct.replace(&server.addr().to_string(), &way.addr().to_string());
    let start = |node: &str, store: &str| {
        let config = config(&upstream.url(), store, &redis.url(), node);
        Gateway::start(binary!(), config)
    };
    let gates = vec![start("north", &direct), start("south", &by_way)];
    let gates = Gates::of(gates);
    let (mut maker, mut other) = (gates.control(), gates.others().remove(0));
    let (_, known) = maker.license();
    assert_eq!(status_in_time(&mut other, &known), 200);
    way.cut();
    let mut seen = Vec::new();
    for _ in 0..5 {
        let (_, key) = maker.license();
        let answer = other.call(&Request::get("/").key(&key)).expect("an answer");
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("1"));
        seen.push(key);
        assert_eq!(
            status(&mut other, &known),
            200,
            "known keys pass for their grace"
        );
    }
    way.heal();
    for key in seen {
        assert_eventually!(status(&mut other, &key) == 200);
    }
}
