//! Whether the time of an answer tells an unknown credential from a wrong one: `cargo bench -p gateway --bench equal_times`.
//!
//! Tries of the two kinds take turns on one connection to a real gate. Printed are the means and their ratio; that both take
//! the same way through the program is asserted by the tests of `licensing`.

use std::time::{Duration, Instant};

use model::{Credential, KeyFormat};
use serde_json::{Value, json};
use testkit::client::{Connection, Request};
use testkit::{Gateway, Upstream, binary};

/// Tries of each kind.
const TRIES: usize = 10_000;
/// Before that, so that caches and the allocator are warm.
const WARM_UP: usize = 500;
/// Of all times the slowest are left out, this share of a thousand: in them somebody else had the processor.
const OUTLIERS: usize = 10;

/// Two ways of being denied that must look the same.
struct Case {
    name: &'static str,
    unknown: Vec<Request>,
    wrong: Vec<Request>,
}

/// A text in the shape of a key, which nothing has.
fn stranger(format: KeyFormat) -> String {
    Credential::generate(format).expose().to_owned()
}

fn log_in(key: &str, secret: &str) -> Request {
    let body = json!({"api_key": key, "api_secret": secret}).to_string();
    Request::post("/v1/auth/token", body.as_bytes())
}

/// The text in a field of what the command line printed.
fn text(made: &Value, field: &str) -> String {
    made[field].as_str().expect("a text").to_owned()
}

/// Keys that nobody has against a key with the secret of another.
fn pairs(gateway: &Gateway) -> Case {
    let create = || gateway.cli().json(&["key", "create", "--pair"]);
    let (own, other) = (create(), create());
    let secret = text(&other, "secret");
    let unknown = (0..TRIES).map(|_| log_in(&stranger(KeyFormat::Uuid), &secret));
    Case {
        name: "key and secret",
        unknown: unknown.collect(),
        wrong: vec![log_in(&text(&own, "key"), &secret)],
    }
}

/// A management key that nobody has against one that was revoked.
fn bearers(gateway: &Gateway) -> Case {
    let made = gateway.cli().json(&["key", "create"]);
    let revoke = ["key", "revoke", &text(&made, "id")];
    let _ = gateway.cli().text(&revoke);
    let ask = |key: &str| {
        let request = Request::get("/api/v1/usage");
        request.header("Authorization", &format!("Bearer {key}"))
    };
    Case {
        name: "management key",
        unknown: vec![ask(&stranger(KeyFormat::Tallygate))],
        wrong: vec![ask(&text(&made, "key"))],
    }
}

fn timed(connection: &mut Connection, request: &Request) -> Duration {
    let began = Instant::now();
    let answer = connection.call(request).expect("an answer");
    let took = began.elapsed();
    assert_eq!(answer.status, 401, "{}", answer.text());
    took
}

/// The mean in microseconds, without the outliers.
fn mean(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    let kept = &times[..times.len() - times.len() * OUTLIERS / 1_000];
    let sum: Duration = kept.iter().sum();
    sum.as_secs_f64() * 1e6 / kept.len() as f64
}

fn measure(gateway: &Gateway, case: &Case) {
    let mut connection = Connection::open(gateway.control_addr()).expect("the gate listens");
    let (mut unknown, mut wrong) = (Vec::new(), Vec::new());
    for number in 0..TRIES + WARM_UP {
        let pick = |requests: &[Request]| requests[number % requests.len()].clone();
        let (first, second) = (pick(&case.unknown), pick(&case.wrong));
        // Whoever is second finds warmer caches, so they take turns in that too.
        let times = if number % 2 == 0 {
            let first = timed(&mut connection, &first);
            (first, timed(&mut connection, &second))
        } else {
            let second = timed(&mut connection, &second);
            (timed(&mut connection, &first), second)
        };
        if number >= WARM_UP {
            unknown.push(times.0);
            wrong.push(times.1);
        }
    }
    let (unknown, wrong) = (mean(&mut unknown), mean(&mut wrong));
    println!(
        "{}: unknown {unknown:.1} us, wrong {wrong:.1} us, ratio {:.3}",
        case.name,
        unknown / wrong
    );
}

fn main() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(binary!(), testkit::Config::new(&upstream.url()));
    for case in [pairs(&gateway), bearers(&gateway)] {
        measure(&gateway, &case);
    }
}
