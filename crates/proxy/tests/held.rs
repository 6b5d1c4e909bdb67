//! Answers that wait for the disk: what leaves, when, and what is recorded. Fail points belong to
//! the whole process, so these tests take turns.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

#[path = "../../gate/tests/support/mod.rs"]
mod support;

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use fail::FailScenario;
use journal::Sync;
use model::{CallRecord, Outcome};
use proxy::{
    BackendRules, Backends, Balance, CallerTimeouts, Edge, EdgeOptions, PoolOptions, ProxyParts,
    UpstreamAddress,
};
use testkit::{Connection, Request, Upstream};

use support::{HOST, Setup, TestGate, app, eventually, remaining, request};

/// The host of an app whose callers do not wait for the disk.
const KERNEL_HOST: &str = "kernel.test";
const LIMIT: Duration = Duration::from_secs(60);

/// A proxy of one thread whose callers wait for the disk, which the test can stop.
struct Gateway<'a> {
    scenario: FailScenario<'a>,
    fixture: Arc<TestGate>,
    upstream: Upstream,
    addr: SocketAddr,
    edge: Edge,
    key: String,
}

impl Gateway<'_> {
    async fn start() -> Self {
        let scenario = FailScenario::setup();
        let mut rules = app("api");
        rules.waits_for_disk = true;
        rules.license_headers = vec!["apifew-user-license-key".parse().unwrap()];
        let mut kernel = app("kernel");
        kernel.license_headers = rules.license_headers.clone();
        kernel.hosts = vec![KERNEL_HOST.parse().unwrap()];
        let setup = Setup {
            apps: vec![rules, kernel],
            lanes: 1,
            sync: Sync::Disk,
            ..Setup::default()
        };
        let fixture = TestGate::of(setup).await;
        let (_, key) = fixture.license(remaining(100)).await;
        // The first call takes a lease; those that follow find it.
        drop(fixture.admit(&key).await.unwrap());
        let fixture = Arc::new(fixture);
        let upstream = Upstream::start();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let edge = serve(&listener, &fixture, &upstream);
        Self {
            scenario,
            fixture,
            upstream,
            addr,
            edge,
            key,
        }
    }

    fn stop_the_disk(&self) {
        fail::cfg("journal::fsync", "pause").unwrap();
    }

    fn let_the_disk_go_on(&self) {
        fail::remove("journal::fsync");
    }

    fn request(&self, target: &str) -> Request {
        Request::get(target).host(HOST).key(&self.key)
    }

    /// Sends a request. The head of its record is in the journal when this returns.
    async fn begin(&self, request: &Request) -> Connection {
        let before = self.fixture.journal.lane(0).opened();
        let mut connection = Connection::open(self.addr).unwrap();
        connection.send(&request.bytes()).unwrap();
        eventually("the call has a status", async || {
            self.fixture.journal.lane(0).opened() > before
        })
        .await;
        connection
    }

    fn closed(&self) -> u64 {
        self.fixture.journal.lane(0).closed()
    }

    /// Returns the only record, once its call is closed and on the disk.
    async fn record(&self) -> CallRecord {
        records(&self.fixture, 1).await[0]
    }

    fn end(self) {
        self.let_the_disk_go_on();
        self.edge.stop();
        self.fixture.assert_nothing_held(&self.fixture.room());
        self.scenario.teardown();
    }
}

/// Returns this many records, once they are on the disk.
async fn records(fixture: &TestGate, count: usize) -> Vec<CallRecord> {
    eventually("the calls are closed", async || {
        fixture.records().len() >= count
    })
    .await;
    let records = fixture.records();
    assert_eq!(records.len(), count);
    records
}

fn serve(listener: &TcpListener, fixture: &Arc<TestGate>, upstream: &Upstream) -> Edge {
    let pool = PoolOptions {
        addresses: vec![UpstreamAddress {
            tls: false,
            host: upstream.addr().ip().to_string(),
            port: upstream.addr().port(),
        }],
        balance: Balance::RoundRobin,
        connect_timeout: LIMIT,
        read_timeout: LIMIT,
        write_timeout: LIMIT,
        idle_timeout: LIMIT,
        health_check: None,
    };
    let rules = BackendRules {
        app: "api".parse().expect("a name"),
        underscores: proxy::Underscores::Drop,
        pool,
        inject: vec![],
        forward_license_id: false,
        forward_user_id: false,
        allow_method_override: false,
        tunnel_timeout: LIMIT,
        body_limit: None,
    };
    let rpc = UnixListener::bind(fixture.home.join("rpc.sock")).unwrap();
    let parts = ProxyParts {
        gate: fixture.gate.clone(),
        workers: fixture.workers.clone(),
        backends: Arc::new(ArcSwap::from_pointee(Backends::new(
            vec![rules.clone(), rules],
            vec![],
        ))),
        timeouts: CallerTimeouts {
            read: LIMIT,
            write: LIMIT,
        },
        edge: EdgeOptions {
            max_connections: 100,
            max_connections_per_address: 100,
            unbounded: vec![],
            keepalive_timeout: LIMIT,
            keepalive_requests: 1_000,
            min_body_rate: 0,
            head_timeout: LIMIT,
            write_timeout: LIMIT,
            drain: LIMIT,
        },
    };
    proxy::serve(std::slice::from_ref(listener), &rpc, parts).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_leaves_when_its_record_is_on_the_disk_and_not_before() {
    let gateway = Gateway::start().await;
    gateway.stop_the_disk();
    let mut connection = gateway.begin(&gateway.request("/status/200")).await;
    let mut other = gateway.begin(&gateway.request("/status/201")).await;
    // The first answer has gone through the proxy, as its upstream connection serves the second.
    assert_eq!(gateway.upstream.connections(), 1);
    assert!(!connection.has_bytes() && !other.has_bytes());
    assert_eq!(gateway.closed(), 0);
    gateway.let_the_disk_go_on();
    assert_eq!(connection.read_response("GET").unwrap().status, 200);
    assert_eq!(other.read_response("GET").unwrap().status, 201);
    let again = connection.call(&gateway.request("/status/202")).unwrap();
    assert_eq!(again.status, 202);
    let records = records(&gateway.fixture, 3).await;
    let outcomes: Vec<_> = records.iter().map(|record| record.tail.outcome).collect();
    assert_eq!(outcomes, [Outcome::Delivered; 3]);
    gateway.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_larger_than_the_buffer_is_held_back_too_and_comes_whole() {
    let gateway = Gateway::start().await;
    gateway.stop_the_disk();
    let mut connection = gateway.begin(&gateway.request("/bytes/300000")).await;
    gateway.upstream.wait_for_served(1);
    assert!(!connection.has_bytes());
    gateway.let_the_disk_go_on();
    let response = connection.read_response("GET").unwrap();
    assert!(response.complete);
    assert_eq!(response.body.len(), 300_000);
    let record = gateway.record().await;
    assert_eq!(record.tail.outcome, Outcome::Delivered);
    assert_eq!(record.tail.response_bytes, 300_000);
    gateway.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_does_not_wait_for_answers_gets_them_in_order_and_each_has_its_record() {
    let gateway = Gateway::start().await;
    let (_, kernel_key) = gateway
        .fixture
        .issue(request("kernel", remaining(10)))
        .await;
    gateway.stop_the_disk();
    let mut connection = gateway.begin(&gateway.request("/status/200")).await;
    // Another call on the same thread, so that the first is through the proxy.
    let mut other = gateway.begin(&gateway.request("/status/200")).await;
    let kernel = Request::get("/status/201")
        .host(KERNEL_HOST)
        .key(&kernel_key);
    connection.send(&kernel.bytes()).unwrap();
    gateway.upstream.wait_for_served(3);
    assert!(!connection.has_bytes());
    gateway.let_the_disk_go_on();
    assert_eq!(other.read_response("GET").unwrap().status, 200);
    assert_eq!(connection.read_response("GET").unwrap().status, 200);
    assert_eq!(connection.read_response("GET").unwrap().status, 201);
    let records = records(&gateway.fixture, 3).await;
    assert!(
        records
            .iter()
            .all(|record| record.tail.outcome == Outcome::Delivered)
    );
    gateway.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_answer_of_a_connection_comes_whole_before_the_connection_ends() {
    let gateway = Gateway::start().await;
    gateway.stop_the_disk();
    let request = gateway.request("/bytes/1000").header("Connection", "close");
    let mut connection = gateway.begin(&request).await;
    assert!(!connection.has_bytes());
    gateway.let_the_disk_go_on();
    let response = connection.read_response("GET").unwrap();
    assert_eq!((response.status, response.body.len()), (200, 1_000));
    assert!(connection.is_closed_by_peer());
    assert_eq!(gateway.record().await.tail.outcome, Outcome::Delivered);
    gateway.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_disk_refuses_for_good_not_a_byte_leaves_and_the_caller_is_cut_off() {
    let gateway = Gateway::start().await;
    fail::cfg("journal::fsync", "return").unwrap();
    let connection = gateway.begin(&gateway.request("/status/200")).await;
    assert_eq!(connection.read_some().unwrap(), b"");
    gateway.let_the_disk_go_on();
    let record = gateway.record().await;
    assert_eq!(record.tail.outcome, Outcome::GatewayFailed);
    assert!(!record.tail.billable);
    eventually("calls pass again", async || {
        let mut connection = Connection::open(gateway.addr).unwrap();
        let response = connection.call(&gateway.request("/status/200"));
        response.is_ok_and(|response| response.status == 200)
    })
    .await;
    gateway.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_while_the_answer_is_held_back_leaves_one_record() {
    let gateway = Gateway::start().await;
    gateway.stop_the_disk();
    drop(gateway.begin(&gateway.request("/status/200")).await);
    gateway.let_the_disk_go_on();
    let record = gateway.record().await;
    assert_eq!(record.head.status, 200);
    // Whether the last write came before the caller's reset did is not for us to say.
    let outcomes = [Outcome::Delivered, Outcome::ClientGone];
    assert!(outcomes.contains(&record.tail.outcome));
    gateway.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_answers_that_are_held_back() {
    let gateway = Gateway::start().await;
    let mut idle = Connection::open(gateway.addr).unwrap();
    let response = idle.call(&gateway.request("/status/200")).unwrap();
    assert_eq!(response.status, 200);
    gateway.stop_the_disk();
    let mut connection = gateway.begin(&gateway.request("/bytes/1000")).await;
    let Gateway {
        scenario,
        fixture,
        upstream: _upstream,
        edge,
        ..
    } = gateway;
    let stopping = std::thread::spawn(move || edge.stop());
    assert!(idle.is_closed_by_peer());
    assert!(!connection.has_bytes() && !stopping.is_finished());
    fail::remove("journal::fsync");
    let response = connection.read_response("GET").unwrap();
    assert_eq!((response.status, response.body.len()), (200, 1_000));
    stopping.join().unwrap();
    let records = records(&fixture, 2).await;
    assert_eq!(records[1].tail.outcome, Outcome::Delivered);
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_an_answer_that_broke_off_leaves_with_its_record() {
    let gateway = Gateway::start().await;
    gateway.stop_the_disk();
    let mut connection = gateway.begin(&gateway.request("/close-mid-body")).await;
    assert!(!connection.has_bytes());
    gateway.let_the_disk_go_on();
    let response = connection.read_response("GET").unwrap();
    assert_eq!(response.status, 200);
    assert!(!response.complete);
    let record = gateway.record().await;
    assert_eq!(record.tail.outcome, Outcome::UpstreamFailed);
    gateway.end();
}
