//! Starting, draining and ending.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rusqlite::Connection;
use testkit::client::Request;
use testkit::eventually::{test_timeout, wait_for};
use testkit::{Config, Gateway, Postgres, Site, Upstream, assert_eventually, binary};

/// Far below any drain time: an idle gate must not wait for it.
const PROMPT: Duration = Duration::from_secs(5);

#[test]
fn a_ready_gate_says_so_and_shows_its_metrics() {
    let site = Site::start(binary!());
    for page in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(
            site.gateway.scrape(page).expect("an answer").status,
            200,
            "{page}"
        );
    }
    let license = site.gateway.license(&[]);
    let _ = site.gateway.call(&Request::get("/").key(&license.key));
    assert_eventually!(
        site.gateway
            .metric("tallygate_calls_total", &["app=\"api\"", "status=\"200\""])
            >= 1.0
    );
    assert_eventually!(site.gateway.metric("tallygate_records_accepted_total", &[]) >= 1.0);
    assert_eq!(
        site.gateway.metric("tallygate_records_lost_total", &[]),
        0.0
    );
}

#[test]
fn an_idle_gate_ends_at_once_with_exit_code_0() {
    let mut site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    // A keep-alive connection that waits for its next call is idle.
    let mut connection = site.gateway.connect();
    assert_eq!(
        connection
            .call(&Request::get("/").key(&license.key))
            .expect("an answer")
            .status,
        200
    );
    site.gateway.terminate();
    assert_eq!(site.gateway.wait(PROMPT).code(), Some(0));
    assert!(connection.is_closed_by_peer());
}

#[test]
fn ctrl_c_ends_a_gate_as_a_termination_does() {
    let mut site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let answer = site.gateway.call(&Request::get("/").key(&license.key));
    site.gateway.interrupt();
    assert_eq!(site.gateway.wait(PROMPT).code(), Some(0));
    site.gateway.restart();
    assert_eq!(
        site.gateway.record(answer.call_id())["outcome"],
        "delivered"
    );
}

#[test]
fn a_quit_drains_too_and_signals_that_mean_nothing_are_only_logged() {
    let mut site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    for name in ["SIGHUP", "SIGUSR1", "SIGUSR2"] {
        site.gateway.signal(name);
        assert_eventually!(
            site.gateway.log().contains(name),
            "{name} is not in the log"
        );
    }
    let request = Request::get("/hold").key(&license.key);
    let mut connection = site.gateway.connect();
    connection.send(&request.bytes()).expect("the gate reads");
    site.upstream.wait_for_served(1);
    site.gateway.signal("SIGQUIT");
    assert_eventually!(
        TcpStream::connect(site.gateway.addr()).is_err(),
        "new connections are still accepted"
    );
    site.upstream.release();
    let answer = connection.read_response("GET").expect("an answer");
    assert!(answer.status == 200 && answer.complete);
    assert_eq!(site.gateway.wait(test_timeout()).code(), Some(0));
}

/// Somebody else who holds the write lock of the ledger's database, until they roll back.
fn locked_ledger(site: &Site) -> Connection {
    let other = Connection::open(site.gateway.data_dir().join("ledger.db")).expect("opens");
    other
        .busy_timeout(test_timeout())
        .expect("a time limit can be set");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    other
}

#[test]
fn a_gate_is_not_ready_before_recovery_is_done() {
    let mut site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let other = locked_ledger(&site);
    let answer = site.gateway.call(&Request::get("/").key(&license.key));
    site.gateway.kill9();
    site.gateway.launch();
    let page = wait_for(test_timeout(), || site.gateway.scrape("/readyz")).expect("a page");
    assert_eq!(
        (page.status, page.text().as_str()),
        (503, "not ready: recovering or draining\n")
    );
    assert_eq!(site.gateway.scrape("/healthz").expect("a page").status, 200);
    other.execute_batch("ROLLBACK").expect("unlocks");
    site.gateway.wait_until_ready();
    assert_eq!(site.gateway.record(answer.call_id())["status"], 200);
}

/// Ends a gate that is starting as an operator does who does not want to wait for it.
fn assert_ends_at_once(gateway: &mut Gateway) {
    gateway.terminate();
    let ended = gateway.wait(PROMPT);
    let log = gateway.log();
    assert_eq!(ended.code(), Some(0), "{ended:?}:\n{log}");
    assert!(!log.contains("panicked"), "{log}");
}

/// Waits until a listener that nobody answers for is connected to; the connection stays until it is dropped.
fn wait_for_caller(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("it can be");
    let caller = wait_for(test_timeout(), || listener.accept().ok());
    caller.expect("somebody connects").0
}

#[test]
fn a_start_that_waits_for_a_server_which_says_nothing_ends_at_once() {
    let upstream = Upstream::start();
    for table in [
        "[store]\nurl = \"postgres://user:word@SERVER/books\"\nconnect_timeout = \"1m\"",
        "[redis]\nurl = \"redis://SERVER\"\nconnect_timeout = \"1m\"",
    ] {
        let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = silent.local_addr().expect("it is bound").to_string();
        let config = Config::new(&upstream.url()).table(&table.replace("SERVER", &server));
        let mut gateway = Gateway::prepare(binary!(), config);
        gateway.launch();
        let _connection = wait_for_caller(&silent);
        let page = gateway.scrape("/readyz").expect("a page");
        assert_eq!(page.status, 503, "{table}");
        assert_ends_at_once(&mut gateway);
    }
}

#[test]
fn a_start_that_recovers_ends_at_once_and_the_next_one_goes_on_with_it() {
    let server = Postgres::start();
    let store = format!("[store]\nurl = \"{}\"", server.database());
    let mut site = Site::with(binary!(), |upstream| Config::new(upstream).table(&store));
    let license = site.gateway.license(&[]);
    let call = |site: &Site| {
        let answer = site.gateway.call(&Request::get("/").key(&license.key));
        assert_eq!(answer.status, 200);
    };
    let has_sums = |calls: u64| {
        let rows = site.gateway.cli().json(&["usage"]);
        rows.as_array().is_some_and(|rows| {
            let of_row = rows.iter().filter_map(|row| row["calls"].as_u64());
            of_row.sum::<u64>() == calls
        })
    };
    call(&site);
    assert_eventually!(has_sums(1));
    let backup = server.dump("test_0");
    (0..20).for_each(|_| call(&site));
    assert_eventually!(has_sums(21));
    site.gateway.kill9();
    let connected = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'test_0'";
    assert_eventually!(server.psql("postgres", connected) == "0");
    // What the store lacks of the journals is read before the first call, and as long as it takes no sums that goes on.
    server.restore("test_0", &backup);
    let held = server.hold_transaction("test_0", "LOCK TABLE quarter_rollups IN EXCLUSIVE MODE");
    for starts in 1..=3 {
        site.gateway.launch();
        let recovers = |log: String| log.matches("restored from a backup").count() == starts;
        assert_eventually!(recovers(site.gateway.log()));
        assert!(!site.gateway.is_ready());
        assert_ends_at_once(&mut site.gateway);
    }
    drop(held);
    site.gateway.restart();
    assert_eq!(site.gateway.wait_for_calls(21).len(), 21);
    site.assert_clean(&[], &[]);
}

/// Tells starts that have a journal to recover to end, each a little later than the one before.
fn assert_may_be_stopped_at_any_moment(mut site: Site) {
    const CALLS: usize = 20;
    let license = site.gateway.license(&[]);
    for _ in 0..CALLS {
        let answer = site.gateway.call(&Request::get("/").key(&license.key));
        assert_eq!(answer.status, 200);
    }
    site.gateway.kill9();
    for looks in [0, 1, 2, 4, 8, 16, 32, 64, 128] {
        site.gateway.launch();
        // It hears signals before it listens.
        assert_eventually!(site.gateway.scrape("/healthz").is_some());
        for _ in 0..looks {
            let _page = site.gateway.scrape("/healthz");
        }
        assert_ends_at_once(&mut site.gateway);
    }
    assert!(site.gateway.log().contains("before the start was over"));
    site.gateway.restart();
    assert_eq!(site.gateway.wait_for_calls(CALLS).len(), CALLS);
    site.assert_clean(&[], &[]);
}

#[test]
fn a_start_may_be_stopped_at_any_moment() {
    assert_may_be_stopped_at_any_moment(Site::start(binary!()));
}

#[test]
fn a_start_on_postgresql_may_be_stopped_at_any_moment() {
    let server = Postgres::start();
    let store = format!("[store]\nurl = \"{}\"", server.database());
    let site = Site::with(binary!(), |upstream| Config::new(upstream).table(&store));
    assert_may_be_stopped_at_any_moment(site);
}

#[test]
fn a_drain_completes_what_is_in_flight_and_lets_nobody_else_in() {
    let mut site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let mut connection = site.gateway.connect();
    connection
        .send(&Request::get("/hold").key(&license.key).bytes())
        .expect("the gate reads");
    site.upstream.wait_for_served(1);
    site.gateway.terminate();
    assert_eventually!(
        TcpStream::connect(site.gateway.addr()).is_err(),
        "new connections are still accepted"
    );
    assert!(site.gateway.is_running());
    site.upstream.release();
    let response = connection
        .read_response("GET")
        .expect("the answer of the call in flight");
    assert!(response.status == 200 && response.complete);
    assert_eq!(site.gateway.wait(test_timeout()).code(), Some(0));

    site.gateway.restart();
    let record = site.gateway.record(response.call_id());
    assert_eq!(
        (&record["outcome"], &record["billable"]),
        (&"delivered".into(), &true.into()),
        "{record}"
    );
    site.assert_clean(&[], &[]);
}

#[test]
fn a_call_that_outlives_the_drain_is_cut_and_recorded_as_our_failure() {
    let mut site = Site::with(binary!(), |upstream| {
        Config::new(upstream).server("drain = \"1s\"")
    });
    let license = site.gateway.license(&[]);
    let mut connection = site.gateway.connect();
    connection
        .send(&Request::get("/hold-mid-body").key(&license.key).bytes())
        .expect("the gate reads");
    let head = connection.read_head().expect("a head");
    assert_eq!(site.gateway.stop().code(), Some(0));
    assert!(connection.read_exactly(2000).is_err(), "the stream is cut");

    site.gateway.restart();
    let record = site
        .gateway
        .record(head.header("tallygate-call-id").expect("a call id"));
    assert_eq!(
        (&record["outcome"], &record["billable"]),
        (&"gateway_failed".into(), &false.into()),
        "{record}"
    );
    site.assert_clean(&[], &[]);
}

#[test]
fn nothing_is_pending_after_a_clean_end() {
    let mut site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let ids: Vec<String> = (0..50)
        .map(|_| {
            site.gateway
                .call(&Request::get("/").key(&license.key))
                .call_id()
                .to_owned()
        })
        .collect();
    assert_eq!(site.gateway.stop().code(), Some(0));
    site.gateway.restart();
    let recorded: Vec<String> = site
        .gateway
        .wait_for_calls(50)
        .iter()
        .map(|call| call["call_id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(recorded, ids, "oldest first, each once");
    site.assert_clean(&[], &[]);
}

#[test]
fn what_could_not_be_shipped_at_the_end_is_said_and_shipped_by_the_next_start() {
    let mut site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let other = locked_ledger(&site);
    let answer = site.gateway.call(&Request::get("/").key(&license.key));
    assert_eq!(answer.status, 200);
    assert_eq!(site.gateway.stop().code(), Some(1), "a record is left");
    other.execute_batch("ROLLBACK").expect("unlocks");
    site.gateway.restart();
    assert_eq!(site.gateway.calls(&[]).len(), 1);
    site.assert_clean(&[], &[]);
    assert_eq!(site.gateway.stop().code(), Some(0), "nothing is left");
}

#[test]
fn licenses_and_ports_are_there_again_after_a_restart() {
    let mut site = Site::start(binary!());
    let license = site.gateway.license(&["--label", "kept"]);
    for round in 0..3 {
        assert_eq!(
            site.gateway
                .call(&Request::get("/").key(&license.key))
                .status,
            200,
            "round {round}"
        );
        assert_eq!(site.gateway.stop().code(), Some(0), "round {round}");
        site.gateway.restart();
    }
    let list = site.gateway.cli().json(&["license", "list"]);
    assert!(list.to_string().contains(&license.id), "{list}");
    assert!(
        !list.to_string().contains(&license.key),
        "a key is shown once"
    );
}

#[test]
fn the_command_line_says_when_no_gate_runs() {
    let mut site = Site::start(binary!());
    assert_eq!(site.gateway.stop().code(), Some(0));
    let output = site.gateway.cli().run(&["license", "list"]);
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (69, ""),
        "{output:?}"
    );
    assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
}

#[test]
fn a_gate_that_is_told_twice_still_ends_well() {
    let mut site = Site::start(binary!());
    site.gateway.terminate();
    // It may have ended between the two.
    if site.gateway.is_running() {
        site.gateway.terminate();
    }
    let ended = wait_for(test_timeout(), || {
        (!site.gateway.is_running()).then_some(())
    });
    assert!(ended.is_some());
}

#[test]
fn the_command_line_reaches_a_gate_elsewhere_with_a_management_key() {
    let site = Site::start(binary!());
    let key = site
        .gateway
        .cli()
        .json(&["key", "create", "--name", "robot"]);
    let key = key["key"].as_str().expect("a key");
    let url = format!("http://{}", site.gateway.control_addr());
    let elsewhere = |key: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(binary!());
        command
            .args(arguments)
            .env("TALLYGATE_URL", &url)
            .env("TALLYGATE_KEY", key);
        let output = command.output().expect("the binary starts");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (code, created) = elsewhere(key, &["license", "create", "--app", "api", "--json"]);
    assert_eq!(code, Some(0), "{created}");
    let license = testkit::License::of(serde_json::from_str(&created).expect("JSON"));
    assert_eq!(
        site.gateway
            .call(&Request::get("/").key(&license.key))
            .status,
        200
    );
    assert_eq!(
        site.gateway.call(&Request::get("/").key(key)).status,
        401,
        "a management key opens no gate"
    );
    assert_eq!(
        elsewhere("wrong", &["license", "list", "--json"]).0,
        Some(1)
    );
}

#[test]
fn series_that_alerts_look_at_are_there_before_there_is_anything_to_count() {
    let site = Site::start(binary!());
    let text = site.gateway.scrape("/metrics").expect("an answer").text();
    for series in [
        r#"tallygate_calls_total{app="api",outcome="delivered",route="/",status="200"} 0"#,
        r#"tallygate_calls_total{app="api",outcome="upstream_failed",route="/",status="502"} 0"#,
        r#"tallygate_calls_total{app="api",outcome="upstream_failed",route="/",status="504"} 0"#,
        r#"tallygate_refused_total{app="api",code="license_unknown"} 0"#,
        r#"tallygate_refused_total{app="api",code="journal_unavailable"} 0"#,
        r#"tallygate_refused_total{app="",code="app_unknown"} 0"#,
    ] {
        assert!(text.contains(series), "{series} is missing:\n{text}");
    }
    // A scrape with one series twice is refused as a whole.
    let mut names: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' ').map(|(name, _)| name))
        .collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "a series stands twice:\n{text}");
}

#[test]
fn every_answer_after_a_stop_was_asked_for_is_the_last_of_its_connection() {
    let mut site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let open = |request: &Request| {
        let mut connection = site.gateway.connect();
        connection.send(&request.bytes()).expect("the gate reads");
        connection
    };
    // One whose answer has begun, one that waits for it, one without a call, one whose head is on its way.
    let mut begun = open(&Request::get("/hold-mid-body").key(&license.key));
    assert_eq!(begun.read_head().expect("a head").status(), Some(200));
    let mut waiting = open(&Request::get("/hold").key(&license.key));
    let mut idle = site.gateway.connect();
    let good = Request::get("/").key(&license.key);
    assert_eq!(idle.call(&good).expect("an answer").status, 200);
    let (first, rest) = (&good.bytes()[..20], &good.bytes()[20..]);
    let mut half_sent = site.gateway.connect();
    half_sent.send(first).expect("the gate reads");
    site.upstream.wait_for_served(3);
    site.gateway.terminate();
    assert_eventually!(TcpStream::connect(site.gateway.addr()).is_err());
    assert!(idle.is_closed_by_peer());
    half_sent.send(rest).expect("the gate still reads");
    let answer = half_sent.read_response("GET").expect("an answer");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(half_sent.is_closed_by_peer());
    site.upstream.release();
    let answer = waiting.read_response("GET").expect("an answer");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(waiting.is_closed_by_peer());
    begun.read_exactly(2_000).expect("the whole answer");
    assert!(begun.is_closed_by_peer());
    assert_eq!(site.gateway.wait(test_timeout()).code(), Some(0));
}

#[test]
fn a_stop_waits_a_moment_for_a_store_that_is_away() {
    let server = Postgres::start();
    let store = format!("[store]\nurl = \"{}\"", server.database());
    let mut site = Site::with(binary!(), |upstream| Config::new(upstream).table(&store));
    let license = site.gateway.license(&[]);
    let call = || {
        site.gateway
            .call(&Request::get("/").key(&license.key))
            .status
    };
    assert_eq!(call(), 200);
    server.kill9();
    // Its license is known, so it goes on; the record of this call waits for the store.
    assert_eq!(call(), 200);
    assert_eventually!(site.gateway.log().contains("the store is out of reach"));
    site.gateway.terminate();
    server.restart();
    let ended = site.gateway.wait(test_timeout());
    assert_eq!(ended.code(), Some(0), "{}", site.gateway.log());
    site.gateway.restart();
    assert_eq!(site.gateway.wait_for_calls(2).len(), 2);
}
