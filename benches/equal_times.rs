//! Whether the time of an answer tells an unknown credential from a wrong one: `cargo bench -p gateway --bench equal_times`.
//!
//! Tries of the two kinds take turns on one connection to a real gate. Printed are the means and their ratio, and it fails
//! where they are further apart than a tenth, each time it is looked. That both take the same way through the program is
//! asserted by the tests of `licensing`.

use std::time::{Duration, Instant};

use model::{Credential, KeyFormat};
use serde_json::{Value, json};
use testkit::client::{self, Connection, Request};
use testkit::{App, Config, Gateway, Upstream, binary};

/// Tries of each kind.
const TRIES: usize = 10_000;
/// Before that, so that caches and the allocator are warm.
const WARM_UP: usize = 500;
/// Of all times the slowest are left out, this share of a thousand: in them somebody else had the processor.
const OUTLIERS: usize = 10;

/// How far apart the means may be.
const TOLERANCE: std::ops::RangeInclusive<f64> = 0.9..=1.1;
/// How often it is looked before it counts: somebody else may have had the processor.
const ATTEMPTS: usize = 3;

/// Two ways of being denied that must look the same.
struct Case {
    name: &'static str,
    /// Where it is asked: at the gate, or else at its control plane.
    at_gate: bool,
    /// The status of both.
    status: u16,
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
        at_gate: false,
        status: 401,
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
        at_gate: false,
        status: 401,
        unknown: vec![ask(&stranger(KeyFormat::Tallygate))],
        wrong: vec![ask(&text(&made, "key"))],
    }
}

/// A refresh token that nobody was given against one of a session that was ended.
fn refreshes(gateway: &Gateway) -> Case {
    let pair = gateway.cli().json(&["key", "create", "--pair"]);
    let request = log_in(&text(&pair, "key"), &text(&pair, "secret"));
    let tokens = client::call(gateway.control_addr(), &request).json();
    let access = text(&tokens["data"], "access_token");
    let revoke = Request::post("/v1/auth/revoke", b"");
    let revoke = revoke.header("Authorization", &format!("Bearer {access}"));
    assert_eq!(client::call(gateway.control_addr(), &revoke).status, 200);
    let refresh = |token: &str| {
        let body = json!({ "refresh_token": token }).to_string();
        Request::post("/v1/auth/refresh", body.as_bytes())
    };
    let unknown = (0..TRIES).map(|number| refresh(&format!("rt_{number:064x}")));
    Case {
        name: "refresh token",
        at_gate: false,
        status: 401,
        unknown: unknown.collect(),
        wrong: vec![refresh(&text(&tokens["data"], "refresh_token"))],
    }
}

/// A license that nobody has against one of another app, asked about by a provider.
fn checks(gateway: &Gateway) -> Case {
    let provider = text(
        &gateway.cli().json(&["key", "create", "--app", "api"]),
        "key",
    );
    let check = |license: &str| {
        let body = json!({ "LICENSE_KEY": license }).to_string();
        let request = Request::post("/v1/app/user/license/check", body.as_bytes());
        request.header("Apifew-Key", &provider)
    };
    let unknown = (0..TRIES).map(|_| check(&stranger(KeyFormat::Tallygate)));
    Case {
        name: "license check",
        at_gate: false,
        status: 200,
        unknown: unknown.collect(),
        wrong: vec![check(&gateway.license_of("other", &[]).key)],
    }
}

/// A license key that nobody has against one of another app, at the gate.
fn calls(gateway: &Gateway) -> Case {
    let call = |key: &str| Request::get("/").host("api.test").key(key);
    let unknown = (0..TRIES).map(|_| call(&stranger(KeyFormat::Tallygate)));
    Case {
        name: "license key at the gate",
        at_gate: true,
        status: 401,
        unknown: unknown.collect(),
        wrong: vec![call(&gateway.license_of("other", &[]).key)],
    }
}

fn timed(connection: &mut Connection, request: &Request, status: u16) -> Duration {
    let began = Instant::now();
    let answer = connection.call(request).expect("an answer");
    let took = began.elapsed();
    assert_eq!(answer.status, status, "{}", answer.text());
    took
}

/// The mean in microseconds, without the outliers.
fn mean(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    let kept = &times[..times.len() - times.len() * OUTLIERS / 1_000];
    let sum: Duration = kept.iter().sum();
    sum.as_secs_f64() * 1e6 / kept.len() as f64
}

/// The mean of the first kind as a share of that of the second.
fn measure(gateway: &Gateway, case: &Case) -> f64 {
    let address = if case.at_gate {
        gateway.addr()
    } else {
        gateway.control_addr()
    };
    let mut connection = Connection::open(address).expect("the gate listens");
    let mut ask = |request: &Request| timed(&mut connection, request, case.status);
    let (mut unknown, mut wrong) = (Vec::new(), Vec::new());
    for number in 0..TRIES + WARM_UP {
        let pick = |requests: &[Request]| requests[number % requests.len()].clone();
        let (first, second) = (pick(&case.unknown), pick(&case.wrong));
        // Whoever is second finds warmer caches, so they take turns in that too.
        let times = if number % 2 == 0 {
            let first = ask(&first);
            (first, ask(&second))
        } else {
            let second = ask(&second);
            (ask(&first), second)
        };
        if number >= WARM_UP {
            unknown.push(times.0);
            wrong.push(times.1);
        }
    }
    let (unknown, wrong) = (mean(&mut unknown), mean(&mut wrong));
    let ratio = unknown / wrong;
    println!(
        "{}: unknown {unknown:.1} us, wrong {wrong:.1} us, ratio {ratio:.3}",
        case.name
    );
    ratio
}

fn main() {
    let upstream = Upstream::start();
    let app = |name: &str| {
        let host = format!("hosts = [\"{name}.test\"]");
        App::new(name, &upstream.url()).line(&host)
    };
    let config = Config::default().app(app("api")).app(app("other"));
    let gateway = Gateway::start(binary!(), config);
    for make in [pairs, bearers, refreshes, checks, calls] {
        let case = make(&gateway);
        let alike = (0..ATTEMPTS).any(|_| TOLERANCE.contains(&measure(&gateway, &case)));
        assert!(alike, "{}: the time tells one from the other", case.name);
    }
}
