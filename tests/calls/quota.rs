//! Limits: what was granted is never over-spent, and what was not used comes back.

use testkit::client::{Connection, Request, Response};
use testkit::port::Port;
use testkit::{App, Config, License, Load, Site, Upstream, assert_eventually, binary};

fn call(site: &Site, license: &License, path: &str) -> Response {
    site.gateway.call(&Request::get(path).key(&license.key))
}

fn code(response: &Response) -> Option<String> {
    response.refusal_code()
}

fn remaining(site: &Site, license: &License) -> Option<u64> {
    site.gateway.cli().json(&["license", "show", &license.id])["remaining"].as_u64()
}

#[test]
fn of_64_parallel_callers_exactly_as_many_pass_as_units_remain() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&["--remaining", "10"]);
    let key = license.key.clone();
    let load = Load::new(site.gateway.addr(), 64, move |_, _| {
        Request::get("/delay/5").key(&key)
    });
    let seen = load.calls_per_connection(3).run();
    let with_status = |status| seen.iter().filter(|one| one.status == Some(status)).count();
    assert_eq!((with_status(200), with_status(402)), (10, 64 * 3 - 10));
    assert_eq!(site.upstream.served_count(), 10);
    site.assert_clean(&seen, &[(&license.id, 10)]);
    assert_eventually!(remaining(&site, &license) == Some(0));
}

#[test]
fn many_limited_licenses_at_once_each_get_theirs() {
    let site = Site::start(binary!());
    let licenses: Vec<License> = (0..8)
        .map(|n| site.gateway.license(&["--remaining", &(n * 3).to_string()]))
        .collect();
    let keys: Vec<String> = licenses.iter().map(|license| license.key.clone()).collect();
    let load = Load::new(site.gateway.addr(), 16, move |worker, number| {
        Request::get("/").key(&keys[(worker + number) % keys.len()])
    });
    let seen = load.calls_per_connection(64).run();
    let passed = seen.iter().filter(|one| one.status == Some(200)).count();
    assert_eq!(passed, (0..8).map(|n| n * 3).sum::<usize>());
    let granted: Vec<(&str, u64)> = licenses
        .iter()
        .map(|one| one.id.as_str())
        .zip((0..8).map(|n| n * 3))
        .collect();
    site.assert_clean(&seen, &granted);
}

#[test]
fn a_route_of_several_units_is_refused_when_too_few_are_left() {
    let site = Site::with(binary!(), |upstream| {
        Config::default().app(
            App::new("api", upstream)
                .route("/five", &["units = 5"])
                .route("/", &[]),
        )
    });
    let license = site.gateway.license(&["--remaining", "7"]);
    assert_eq!(call(&site, &license, "/five").status, 200);
    assert_eq!(
        code(&call(&site, &license, "/five")).as_deref(),
        Some("quota_exhausted")
    );
    // Nothing of the refused five was taken.
    assert_eq!(call(&site, &license, "/").status, 200);
    assert_eq!(call(&site, &license, "/").status, 200);
    assert_eq!(call(&site, &license, "/").status, 402);
}

#[test]
fn a_quota_that_refills_says_when_and_is_filled_again() {
    let site = Site::start(binary!());
    let license = site
        .gateway
        .license(&["--remaining", "2", "--refill", "2/3s"]);
    let mut refused = None;
    for _ in 0..5 {
        let response = call(&site, &license, "/");
        if response.status != 200 {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("five calls in a moment are more than two units");
    assert_eq!(
        (refused.status, code(&refused).as_deref()),
        (429, Some("quota_exhausted"))
    );
    let wait: u64 = refused
        .header("retry-after")
        .and_then(|text| text.parse().ok())
        .expect("when to come back");
    assert!((1..=3).contains(&wait), "{wait}");
    assert_eventually!(call(&site, &license, "/").status == 200);
}

#[test]
fn hanging_up_before_the_answer_does_not_buy_free_work() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&["--remaining", "1"]);
    let mut connection = site.gateway.connect();
    connection
        .send(&Request::get("/hold").key(&license.key).bytes())
        .expect("the gate reads");
    site.upstream.wait_for_served(1);
    connection.reset();
    assert_eq!(site.gateway.wait_for_calls(1)[0]["outcome"], "client_gone");
    assert_eq!(call(&site, &license, "/").status, 402);
    assert_eq!(site.upstream.served_count(), 1);
}

/// A site whose bodies may have 1 KiB, and a license of three units.
fn small_bodies() -> (Site, License) {
    let site = Site::with(binary!(), |upstream| {
        Config::default().app(App::new("api", upstream).line("body_limit = \"1KiB\""))
    });
    let license = site.gateway.license(&["--remaining", "3"]);
    (site, license)
}

fn begin_chunked(site: &Site, license: &License, path: &str) -> Connection {
    let mut connection = site.gateway.connect();
    let head = Request::new("POST", path)
        .header("Transfer-Encoding", "chunked")
        .key(&license.key);
    connection.send(&head.bytes()).expect("the gate reads");
    connection.send(&chunk(512)).expect("the gate reads");
    connection
}

fn chunk(bytes: usize) -> Vec<u8> {
    format!("{bytes:x}\r\n{}\r\n", "x".repeat(bytes)).into_bytes()
}

#[test]
fn a_body_over_the_limit_after_the_status_does_not_buy_the_answer_for_free() {
    let (site, license) = small_bodies();
    let mut connection = begin_chunked(&site, &license, "/early-hold-mid-body");
    let head = connection.read_head().expect("an early answer");
    assert_eq!(head.status(), Some(200));
    let taken = connection.read_exactly(1_000).expect("half of the answer");
    assert_eq!(taken.len(), 1_000);
    connection.send(&chunk(1_024)).expect("the gate reads");
    assert!(connection.read_to_end().is_empty(), "the call is cut");
    let record = site.gateway.wait_for_calls(1).remove(0);
    assert_eq!(
        (&record["status"], &record["outcome"], &record["billable"]),
        (&200.into(), &"client_gone".into(), &true.into()),
        "{record}"
    );
    assert_eventually!(remaining(&site, &license) == Some(2));
    site.assert_clean(&[], &[(&license.id, 3)]);
}

#[test]
fn a_body_that_breaks_a_rule_before_the_status_does_not_buy_free_work() {
    let (site, license) = small_bodies();
    // Too large, and no chunk at all.
    for (left, status, rest) in [(2, 413, chunk(1_024)), (1, 400, b"zz\r\n".to_vec())] {
        let mut connection = begin_chunked(&site, &license, "/echo");
        site.upstream.wait_for_served(3 - left);
        connection.send(&rest).expect("the gate reads");
        let refused = connection.read_response("POST").expect("a refusal");
        assert_eq!(refused.status, status);
        let record = site.gateway.record(refused.call_id());
        assert_eq!(
            (&record["status"], &record["outcome"], &record["billable"]),
            (&status.into(), &"client_gone".into(), &false.into()),
            "{record}"
        );
        assert_eventually!(remaining(&site, &license) == Some(left as u64));
    }
    site.assert_clean(&[], &[(&license.id, 3)]);
}

#[test]
fn a_call_broken_by_its_caller_costs_the_most_that_its_answer_could_have_named() {
    let site = Site::with(binary!(), |upstream| {
        let lines = ["units_header = \"X-Units\"", "units_max = 5"];
        let api = App::new("api", upstream).line("body_limit = \"1KiB\"");
        Config::default().app(api.route("/", &lines))
    });
    let license = site.gateway.license(&["--remaining", "11"]);
    let mut connection = begin_chunked(&site, &license, "/echo");
    site.upstream.wait_for_served(1);
    connection.send(&chunk(1_024)).expect("the gate reads");
    let refused = connection.read_response("POST").expect("a refusal");
    assert_eq!(refused.status, 413);
    assert_eq!(site.gateway.record(refused.call_id())["units"], 5);
    assert_eventually!(remaining(&site, &license) == Some(6));
    // As one who hangs up.
    let connection = begin_chunked(&site, &license, "/echo");
    site.upstream.wait_for_served(2);
    connection.reset();
    assert_eq!(site.gateway.wait_for_calls(2)[1]["outcome"], "client_gone");
    assert_eventually!(remaining(&site, &license) == Some(1));
    site.assert_clean(&[], &[(&license.id, 11)]);
}

#[test]
fn a_call_that_is_not_billed_gives_its_unit_back() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&["--remaining", "1"]);
    for path in ["/status/500", "/reset-before-head", "/status/404"] {
        assert_ne!(call(&site, &license, path).status, 402, "{path}");
        assert_eventually!(
            remaining(&site, &license) == Some(1),
            "{path} kept its unit"
        );
    }
    assert_eq!(call(&site, &license, "/").status, 200);
    assert_eq!(call(&site, &license, "/").status, 402);
}

#[test]
fn an_app_may_count_every_forwarded_call() {
    let site = Site::with(binary!(), |upstream| {
        Config::default().app(App::new("api", upstream).line("counts = \"all\""))
    });
    let license = site.gateway.license(&["--remaining", "2"]);
    assert_eq!(call(&site, &license, "/status/500").status, 500);
    assert_eq!(call(&site, &license, "/status/404").status, 404);
    assert_eq!(call(&site, &license, "/").status, 402);
}

#[test]
fn an_upstream_that_cannot_be_reached_costs_no_unit() {
    let port = Port::take();
    let mut site = Site::with(binary!(), |_| {
        Config::new(&format!("http://{}", port.addr()))
    });
    let license = site.gateway.license(&["--remaining", "1"]);
    assert_eq!(call(&site, &license, "/").status, 502);
    site.upstream = Upstream::builder().port(port.number()).start();
    assert_eventually!(call(&site, &license, "/").status == 200);
    assert_eq!(call(&site, &license, "/").status, 402);
}

#[test]
fn a_rate_window_lets_as_many_pass_as_it_says() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&["--rate-limit", "3/1d"]);
    let passed: Vec<Response> = (0..3).map(|_| call(&site, &license, "/")).collect();
    assert!(passed.iter().all(|response| response.status == 200));
    let left: Vec<Option<&str>> = passed
        .iter()
        .map(|response| response.header("x-ratelimit-remaining"))
        .collect();
    assert_eq!(left, [Some("2"), Some("1"), Some("0")]);
    let refused = call(&site, &license, "/");
    assert_eq!(
        (refused.status, code(&refused).as_deref()),
        (429, Some("rate_limited"))
    );
    let wait: u64 = refused
        .header("retry-after")
        .and_then(|text| text.parse().ok())
        .expect("when to come back");
    assert!((1..=86_400).contains(&wait), "{wait}");
    assert_eq!(
        refused.header("ratelimit-policy"),
        Some("\"1d\";q=3;w=86400;qu=\"requests\"")
    );
    let reset = refused
        .header("ratelimit")
        .and_then(|text| text.strip_prefix("\"1d\";r=0;t="));
    let reset: u64 = reset.and_then(|text| text.parse().ok()).expect("when");
    assert!(wait >= reset, "nobody comes back before the window is over");
    let body = refused.json();
    let kind = "https://iana.org/assignments/http-problem-types#quota-exceeded";
    assert_eq!(body["type"], kind);
    assert_eq!(body["violated-policies"], serde_json::json!(["1d"]));
    assert_eq!(site.upstream.served_count(), 3);
}

#[test]
fn the_tightest_of_several_windows_decides_and_is_shown() {
    let site = Site::start(binary!());
    let license = site
        .gateway
        .license(&["--rate-limit", "100/1h", "--rate-limit", "4/1d"]);
    let first = call(&site, &license, "/");
    assert_eq!(
        (
            first.header("x-ratelimit-limit"),
            first.header("x-ratelimit-remaining")
        ),
        (Some("4"), Some("3"))
    );
    let key = license.key.clone();
    let seen = Load::new(site.gateway.addr(), 16, move |_, _| {
        Request::get("/").key(&key)
    })
    .calls_per_connection(2)
    .run();
    assert_eq!(seen.iter().filter(|one| one.status == Some(200)).count(), 3);
}

#[test]
fn a_call_over_its_rate_takes_nothing_from_the_quota() {
    let site = Site::start(binary!());
    let license = site
        .gateway
        .license(&["--rate-limit", "2/1d", "--remaining", "10"]);
    let statuses: Vec<u16> = (0..5).map(|_| call(&site, &license, "/").status).collect();
    assert_eq!(statuses, [200, 200, 429, 429, 429]);
    assert_eventually!(remaining(&site, &license) == Some(8));
}

#[test]
fn a_long_rate_window_survives_kill_9() {
    let mut site = Site::start(binary!());
    let license = site.gateway.license(&["--rate-limit", "5/1d"]);
    for _ in 0..3 {
        assert_eq!(call(&site, &license, "/").status, 200);
    }
    site.gateway.kill9();
    site.gateway.restart();
    let passed = (0..6)
        .filter(|_| call(&site, &license, "/").status == 200)
        .count();
    assert_eq!(passed, 2);
}

#[test]
fn a_quota_survives_kill_9_to_the_last_unit() {
    let mut site = Site::start(binary!());
    let license = site.gateway.license(&["--remaining", "5"]);
    for _ in 0..3 {
        assert_eq!(call(&site, &license, "/").status, 200);
    }
    site.gateway.kill9();
    site.gateway.restart();
    let passed = (0..6)
        .filter(|_| call(&site, &license, "/").status == 200)
        .count();
    assert_eq!(passed, 2);
    site.assert_clean(&[], &[(&license.id, 5)]);
}

#[test]
fn only_so_many_calls_run_at_once() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&["--concurrency", "2"]);
    let hold = Request::get("/hold").key(&license.key);
    let mut held: Vec<_> = (0..2).map(|_| site.gateway.connect()).collect();
    for connection in &mut held {
        connection.send(&hold.bytes()).expect("the gate reads");
    }
    site.upstream.wait_for_served(2);
    let third = call(&site, &license, "/");
    assert_eq!(
        (third.status, code(&third).as_deref()),
        (429, Some("too_many_concurrent"))
    );
    site.upstream.release();
    for connection in &mut held {
        assert_eq!(
            connection.read_response("GET").expect("an answer").status,
            200
        );
    }
    assert_eventually!(call(&site, &license, "/").status == 200);
}

#[test]
fn a_caller_who_leaves_frees_its_place() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&["--concurrency", "1"]);
    for round in 1..=5 {
        let served = site.upstream.served_count();
        let mut connection = site.gateway.connect();
        connection
            .send(&Request::get("/hold").key(&license.key).bytes())
            .expect("the gate reads");
        site.upstream.wait_for_served(served + 1);
        connection.reset();
        // Free again a moment later, when the gate has noticed.
        assert_eventually!(
            call(&site, &license, "/").status == 200,
            "the place of round {round} is not free"
        );
    }
}

/// As docs/redis.md says: a window shorter than an hour is counted in memory.
#[test]
fn a_short_window_begins_anew_with_a_restart_and_one_of_an_hour_goes_on() {
    let mut site = Site::start(binary!());
    // An hour but for a second, so that no period ends amid the test, or hardly ever.
    let short = site.gateway.license(&["--rate-limit", "5/3599s"]);
    let hour = site.gateway.license(&["--rate-limit", "5/1d"]);
    let pass = |site: &Site, license: &License| {
        (0..8)
            .filter(|_| call(site, license, "/").status == 200)
            .count()
    };
    assert_eq!((pass(&site, &short), pass(&site, &hour)), (5, 5));
    site.gateway.stop();
    site.gateway.restart();
    assert_eq!((pass(&site, &short), pass(&site, &hour)), (5, 0));
}
