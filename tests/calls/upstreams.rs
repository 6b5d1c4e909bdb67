//! Upstreams that are dead, slow, ill or asleep: what a call does about them, and what it never does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use testkit::client::Request;
use testkit::port::Port;
use testkit::{App, Config, License, Site, Upstream, assert_eventually, binary};

/// Answers of a server to the probes of a gate, one after the other; the last one for ever.
struct Probed {
    addr: SocketAddr,
    probes: Arc<AtomicUsize>,
}

impl Probed {
    /// Serves for as long as the process lives.
    fn start(answers: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("a bound port");
        let probes = Arc::new(AtomicUsize::new(0));
        let counting = probes.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = counting.load(Ordering::SeqCst);
                let status = answers[number.min(answers.len() - 1)];
                if answer(stream, status).is_some() {
                    counting.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Self { addr, probes }
    }

    fn probes(&self) -> usize {
        self.probes.load(Ordering::SeqCst)
    }
}

/// Reads a head and answers it; `None` if none came.
fn answer(mut stream: TcpStream, status: u16) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let text = format!("HTTP/1.1 {status} Is\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).ok()
}

/// Changes of health that the log tells of, in order.
fn changes(site: &Site) -> Vec<bool> {
    let log = site.gateway.log();
    let lines = log.lines();
    lines
        .filter(|line| line.contains("the health of an upstream changed"))
        .map(|line| line.contains("healthy=true") || line.contains("\"healthy\":true"))
        .collect()
}

fn with_upstreams(upstreams: &[&str], lines: &[&str]) -> Config {
    let app = App::before("api", upstreams);
    let app = lines.iter().fold(app, |app, line| {
        if line.starts_with('[') {
            app.table(line)
        } else {
            app.line(line)
        }
    });
    Config::default().app(app)
}

fn call(site: &Site, license: &License, path: &str) -> testkit::Response {
    site.gateway.call(&Request::get(path).key(&license.key))
}

/// Time enough for an answer on a machine under load: one that comes late is a bad one.
const CHECK: &str =
    "[app.health_check]\nevery = \"1s\"\ntimeout = \"1s\"\nhealthy_after = 2\nunhealthy_after = 3";

#[test]
fn an_upstream_goes_out_after_so_many_bad_answers_in_a_row_and_comes_back_after_so_many_good_ones()
{
    // Two bad ones do not take it out, one good one does not bring it back; a redirection is good.
    const ANSWERS: &[u16] = &[500, 503, 302, 404, 500, 500, 200, 500, 204, 302, 200];
    let ill = Probed::start(ANSWERS);
    let url = format!("http://{}", ill.addr);
    let site = Site::with(binary!(), |_| with_upstreams(&[&url], &[CHECK]));
    assert_eventually!(ill.probes() >= ANSWERS.len());
    assert_eq!(changes(&site), [false, true]);
}

#[test]
fn calls_pass_an_upstream_by_that_is_out_and_find_it_again_when_it_is_back() {
    let port = Port::take();
    let dead = format!("http://{}", port.addr());
    let site = Site::with(binary!(), |upstream| {
        with_upstreams(&[&dead, upstream], &[CHECK])
    });
    let license = site.gateway.license(&[]);
    let attempts = || {
        let response = call(&site, &license, "/");
        assert_eq!(response.status, 200, "the other one answers");
        site.gateway.record(response.call_id())["attempts"].clone()
    };
    assert_eventually!(changes(&site) == [false]);
    for _ in 0..6 {
        assert_eq!(attempts(), 1, "nobody tries one that is out");
    }
    let back = Upstream::builder().port(port.number()).start();
    assert_eventually!(changes(&site) == [false, true]);
    let called = || back.served().iter().any(|one| one.call_id.is_some());
    assert_eventually!({
        let _ = call(&site, &license, "/");
        called()
    });
}

#[test]
fn a_call_whose_upstream_cannot_be_reached_goes_to_another_and_is_one_record() {
    for (host, method) in [("127.0.0.1", "GET"), ("[::1]", "POST")] {
        let port = Port::take();
        let dead = format!("http://{host}:{}", port.number());
        let site = Site::with(binary!(), |upstream| {
            with_upstreams(&[&dead, upstream], &[])
        });
        let license = site.gateway.license(&["--remaining", "10"]);
        for _ in 0..8 {
            let request = Request::with_body(method, "/echo", b"once").key(&license.key);
            assert_eq!(site.gateway.call(&request).status, 200, "{method}");
        }
        let records = site.gateway.wait_for_calls(8);
        let attempts = |record: &serde_json::Value| record["attempts"].as_u64();
        let twice = records
            .iter()
            .filter(|record| attempts(record) == Some(2))
            .count();
        // Once it is found out, it is set aside: no call looks for it again for a while.
        assert_eq!(twice, 1, "{records:?}");
        site.assert_clean(&[], &[(&license.id, 10)]);
    }
}

/// The name leads to both families, and only one of them is served: no caller may notice.
#[test]
fn a_name_of_which_one_family_of_addresses_refuses_costs_no_call() {
    testkit::own_hosts_file::run(
        "upstreams::a_name_of_which_one_family_of_addresses_refuses_costs_no_call",
        || {
            let site = Site::with(binary!(), |upstream| {
                let port = upstream.rsplit(':').next().expect("a port");
                Config::new(&format!("http://both.test:{port}"))
            });
            let both = ("both.test", 80);
            let addresses = std::net::ToSocketAddrs::to_socket_addrs(&both).expect("a name");
            let families: Vec<bool> = addresses.map(|address| address.is_ipv6()).collect();
            assert!(
                families.contains(&true) && families.contains(&false),
                "the name has addresses of both families: {families:?}"
            );
            let license = site.gateway.license(&["--remaining", "32"]);
            for number in 0..32 {
                assert_eq!(call(&site, &license, "/").status, 200, "call {number}");
            }
            let records = site.gateway.wait_for_calls(32);
            let passed = |record: &&serde_json::Value| {
                record["status"] == 200 && record["outcome"] == "delivered"
            };
            assert_eq!(records.iter().filter(passed).count(), 32, "{records:?}");
            // The address that refused is tried by hardly any call.
            let twice = records.iter().filter(|record| record["attempts"] == 2);
            assert!(twice.count() <= 2, "{records:?}");
            site.assert_clean(&[], &[(&license.id, 32)]);
        },
    );
}

#[test]
fn what_may_have_been_done_is_never_sent_twice() {
    // One thread keeps one connection to the upstream, which is used again: it breaks only when the request is there.
    let site = Site::with(binary!(), |upstream| {
        Config::new(upstream).server("threads = 1")
    });
    let license = site.gateway.license(&[]);
    for (method, served) in [("POST", 1), ("PATCH", 1), ("GET", 2), ("PUT", 2)] {
        assert_eq!(call(&site, &license, "/").status, 200);
        let before = site.upstream.served_count();
        let request = Request::with_body(method, "/reset-before-head", b"once").key(&license.key);
        let failed = site.gateway.call(&request);
        assert_eq!(failed.status, 502, "{method}");
        let record = site.gateway.record(failed.call_id());
        assert_eq!(record["attempts"], served, "{method}: {record}");
        let seen = site.upstream.served_count() - before;
        assert_eq!(seen as u64, served, "{method}");
    }
    site.assert_clean(&[], &[]);
}

#[test]
fn an_unused_connection_to_an_upstream_is_closed_in_time() {
    let site = Site::with(binary!(), |upstream| {
        with_upstreams(&[upstream], &["idle_timeout = \"100ms\""])
    });
    let license = site.gateway.license(&[]);
    assert_eq!(call(&site, &license, "/").status, 200);
    site.upstream.wait_until_left();
    assert_eq!(call(&site, &license, "/").status, 200);
}

#[test]
fn an_upstream_that_fails_is_counted_by_its_name_and_logged_once_a_minute() {
    let port = Port::take();
    let dead = format!("http://{}", port.addr());
    let site = Site::with(binary!(), |upstream| {
        Config::default()
            .app(App::new("dead", &dead).line("hosts = [\"dead.test\"]"))
            .app(App::new("api", upstream))
    });
    let failures = |site: &Site, upstream: &str, kind: &str| {
        let labels = [
            format!("upstream=\"{upstream}\""),
            format!("kind=\"{kind}\""),
        ];
        let labels: Vec<_> = labels.iter().map(String::as_str).collect();
        site.gateway
            .metric("tallygate_upstream_failures_total", &labels)
    };
    let alive = site.upstream.url();
    assert!(failures(&site, &dead, "connect").abs() < 0.5, "born at 0");
    let license = site.gateway.license_of("dead", &[]);
    let request = Request::get("/").host("dead.test").key(&license.key);
    for _ in 0..5 {
        assert_eq!(site.gateway.call(&request).status, 502);
    }
    assert!(failures(&site, &dead, "connect") > 4.5);
    let license = site.gateway.license_of("api", &[]);
    for path in ["/garbage", "/close-before-head"] {
        let _ = site.gateway.call(&Request::get(path).key(&license.key));
    }
    assert!(failures(&site, &alive, "invalid") > 0.5);
    assert!(failures(&site, &alive, "broken") > 0.5);
    assert!(failures(&site, &alive, "connect").abs() < 0.5);
    let log = site.gateway.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("an upstream fails"));
    let about = lines.filter(|line| line.contains(&dead)).count();
    assert_eq!(about, 1, "{log}");
}

#[test]
fn an_upstream_that_takes_no_connection_is_a_504_in_time() {
    // A server that accepts nobody, and whose queue is full: the system answers no further connection.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket
        .bind(([127, 0, 0, 1], 0).into())
        .expect("a free port");
    let listener = socket.listen(1).expect("it listens");
    let addr = listener.local_addr().expect("a bound port");
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(500)) {
        queued.push(stream);
    }
    let url = format!("http://{addr}");
    let site = Site::with(binary!(), |_| {
        with_upstreams(&[&url], &["connect_timeout = \"200ms\""])
    });
    let license = site.gateway.license(&["--remaining", "1"]);
    let response = call(&site, &license, "/");
    assert_eq!(
        (response.status, response.refusal_code().as_deref()),
        (504, Some("upstream_timeout"))
    );
    let record = site.gateway.record(response.call_id());
    assert_eq!(record["outcome"], "upstream_failed", "{record}");
    // Two attempts of 200 ms, however loaded the machine: far below the 5 s of the default.
    assert!(record["duration_us"].as_u64() < Some(4_000_000), "{record}");
}

#[test]
fn the_time_of_the_upstream_is_told_apart_from_ours() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let sum = |name: &str| {
        site.gateway
            .metric(&format!("tallygate_{name}_seconds_sum"), &[])
    };
    let (overhead, upstream) = (sum("overhead"), sum("upstream"));
    for _ in 0..3 {
        assert_eq!(call(&site, &license, "/delay/300").status, 200);
    }
    assert_eventually!(sum("upstream") - upstream >= 0.9);
    let ours = sum("overhead") - overhead;
    assert!(ours > 0.0 && ours < 0.9, "{ours} s of three calls are ours");
}

#[test]
fn no_refusal_opens_a_connection_to_the_upstream() {
    let site = Site::start(binary!());
    let passed = |arguments: &[&str]| {
        let license = site.gateway.license(arguments);
        assert_eq!(call(&site, &license, "/").status, 200);
        license
    };
    let rated = passed(&["--rate-limit", "1/1h"]);
    let refilled = passed(&["--remaining", "1", "--refill", "1/30d"]);
    let spent = passed(&["--remaining", "1"]);
    let soon = Duration::from_secs(1);
    let end = testkit::clock::rfc3339_in(soon);
    let expired = site.gateway.license(&["--expires-at", &end]);
    std::thread::sleep(soon);
    let busy = site.gateway.license(&["--concurrency", "1"]);
    let mut held = site.gateway.connect();
    held.send(&Request::get("/hold").key(&busy.key).bytes())
        .expect("the gate reads");
    site.upstream.wait_for_served(4);
    let opened = site.upstream.connections();
    let token = Request::get("/").header("Apifew-Request-Token", "no-such-token");
    for (request, status, code) in [
        (Request::get("/").key(&rated.key), 429, "rate_limited"),
        (Request::get("/").key(&refilled.key), 429, "quota_exhausted"),
        (Request::get("/").key(&spent.key), 402, "quota_exhausted"),
        (Request::get("/").key(&expired.key), 403, "license_expired"),
        (Request::get("/").key(&busy.key), 429, "too_many_concurrent"),
        (token, 401, "token_invalid"),
    ] {
        let refused = site.gateway.call(&request);
        assert_eq!(
            (refused.status, refused.refusal_code().as_deref()),
            (status, Some(code))
        );
    }
    assert_eq!(site.upstream.connections(), opened);
    assert_eq!(site.upstream.served_count(), 4);
    site.upstream.release();
}

/// Calls that each upstream served when so many were made.
fn spread(balance: &str, calls: usize) -> [usize; 2] {
    let other = Upstream::start();
    // The same server by its name and by its address: names are looked up beside the calls.
    let named = format!("http://localhost:{}", other.addr().port());
    let site = Site::with(binary!(), |upstream| {
        with_upstreams(&[&named, upstream], &[&format!("balance = \"{balance}\"")])
    });
    let license = site.gateway.license(&[]);
    for _ in 0..calls {
        assert_eq!(call(&site, &license, "/").status, 200);
    }
    [&other, &site.upstream].map(|one| {
        let served = one.served();
        served.iter().filter(|one| one.call_id.is_some()).count()
    })
}

#[test]
fn upstreams_take_turns_exactly_or_by_chance_evenly_and_may_be_named() {
    assert_eq!(spread("round_robin", 40), [20, 20]);
    let [one, other] = spread("random", 200);
    assert_eq!(one + other, 200);
    assert!((60..=140).contains(&one), "{one} of 200");
}

#[test]
fn a_name_that_nobody_knows_costs_neither_the_start_nor_the_calls_of_others() {
    // RFC 6761: no name below `invalid` is ever known.
    let site = Site::with(binary!(), |upstream| {
        let unknown = App::before("unknown", &["http://nobody.invalid:80"])
            .line("hosts = [\"unknown.test\"]");
        with_upstreams(&["http://nobody.invalid:80", upstream], &[]).app(unknown)
    });
    let license = site.gateway.license(&[]);
    for _ in 0..4 {
        let response = call(&site, &license, "/");
        assert_eq!(response.status, 200);
        assert_eq!(site.gateway.record(response.call_id())["attempts"], 1);
    }
    let stranger = site.gateway.license_of("unknown", &[]);
    let request = Request::get("/").host("unknown.test").key(&stranger.key);
    let response = site.gateway.call(&request);
    assert_eq!(response.status, 502);
    assert_eq!(
        response.refusal_code().as_deref(),
        Some("upstream_unreachable")
    );
}

/// An upstream that says its name, and can stop listening while its connections go on.
struct Named {
    port: u16,
    name: u8,
    listening: Arc<AtomicBool>,
    /// Calls of `/slow` are answered when nobody holds this.
    slow: Arc<Mutex<()>>,
    /// Whether such a call has come.
    is_slow: Arc<AtomicBool>,
}

impl Named {
    fn start(name: u8) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        let this = Self {
            port,
            name,
            listening: Arc::default(),
            slow: Arc::default(),
            is_slow: Arc::default(),
        };
        this.serve(listener);
        this
    }

    fn serve(&self, listener: TcpListener) {
        self.listening.store(true, Ordering::SeqCst);
        let (listening, name) = (self.listening.clone(), self.name);
        let (slow, is_slow) = (self.slow.clone(), self.is_slow.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if !listening.load(Ordering::SeqCst) {
                    return;
                }
                let (slow, is_slow) = (slow.clone(), is_slow.clone());
                std::thread::spawn(move || answer_by_name(stream, name, &slow, &is_slow));
            }
        });
    }

    fn stop_listening(&self) {
        self.listening.store(false, Ordering::SeqCst);
        // The listener's thread sees it, and closes.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let is_refused = || TcpStream::connect(("127.0.0.1", self.port)).is_err();
        assert_eventually!(is_refused());
    }

    fn listen_again(&self) {
        self.serve(TcpListener::bind(("127.0.0.1", self.port)).expect("its own port"));
    }
}

fn answer_by_name(
    mut stream: TcpStream,
    name: u8,
    slow: &Mutex<()>,
    is_slow: &AtomicBool,
) -> Option<()> {
    loop {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        if head.starts_with(b"GET /slow") {
            is_slow.store(true, Ordering::SeqCst);
            drop(slow.lock().expect("nobody panics with it"));
        }
        let answer = [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"[..],
            &[name],
        ]
        .concat();
        stream.write_all(&answer).ok()?;
    }
}

#[test]
fn an_address_that_was_set_aside_comes_back_though_an_old_connection_to_it_is_there() {
    let (a, b) = (Named::start(b'A'), Named::start(b'B'));
    let urls = [&a, &b].map(|it| format!("http://127.0.0.1:{}", it.port));
    let config = with_upstreams(&urls.each_ref().map(String::as_str), &[]).server("threads = 1");
    let site = Site::with(binary!(), |_| config);
    let license = site.gateway.license(&[]);
    let served = |count: usize| {
        let calls = (0..count).map(|_| call(&site, &license, "/").body);
        calls.filter(|body| body == b"A").count()
    };
    assert_eq!(served(4), 2, "in turn");
    // The one connection to A is busy when A refuses another.
    let held = a.slow.lock().expect("nobody panics with it");
    std::thread::scope(|scope| {
        let slow = || (0..1_000).any(|_| call(&site, &license, "/slow").body == b"A");
        let slow = scope.spawn(slow);
        assert_eventually!(a.is_slow.load(Ordering::SeqCst));
        a.stop_listening();
        let refused = || {
            let log = site.gateway.log();
            served(2) == 0 && log.contains("an upstream fails")
        };
        assert_eventually!(refused());
        drop(held);
        a.listen_again();
        assert!(slow.join().expect("answers"), "A never answered");
    });
    // After its time it has its turns again.
    assert_eventually!(served(20) == 10);
}
