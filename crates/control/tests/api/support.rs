//! A gate without a data plane, in which everything behind the API is real.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api_types::App;
use control::KeyShape;
use control::protocol::{Protocol, Services};
use control::{Access, AppDirectory, ControlLimits, ControlState, GateInfo, Surfaces};
use gate::{AppRules, Gate, RouteRules, Spender, Worker, WorkerParts};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use journal::Journal;
use ledger::{Ledger, LedgerOptions};
use licensing::sessions::SessionOptions;
use licensing::signing::TokenTerms;
use licensing::{
    ApiKeyPolicy, AppTerms, Freshness, Keyring, KeyringSecret, Licensing, LicensingOptions, Plans,
    Sessions, Signing,
};
use model::{
    CallHead, CallId, CallRecord, CallTail, Clock, Credential, InstanceId, KeyFormat, KeyHasher,
    LicenseId, ManagementKeyId, ManualClock, Method, Mode, Outcome, Plan, PlanRevision, Refusal,
    Symbol, SystemClock, Timestamp,
};
use serde_json::Value;
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{AuditEntries, ManagementKey, NewManagementKey, Store};
use telemetry::Metrics;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running API. `default` sells `api`, `acme` sells `shop`.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) directory: TempDir,
    /// The state of the handlers.
    pub(crate) services: Services,
    pub(crate) signing: Arc<Signing>,
    pub(crate) store: Arc<dyn Store>,
    journal: Journal,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
    licensing: Arc<Licensing>,
    spender: Arc<Spender>,
    hand: Arc<ManualClock>,
}

/// An answer, which was checked against the rules for all answers when it arrived.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::speaking(&[]).await
    }

    /// Starts an API with these protocols beside the native API.
    pub(crate) async fn speaking(protocols: &[&'static dyn Protocol]) -> Self {
        Self::made(protocols, Arc::new(SystemClock), Arc::default()).await
    }

    /// Starts an API with a clock that stands a little after the beginning of an hour until it is
    /// [`advance`](Self::advance)d.
    pub(crate) async fn by_hand(protocols: &[&'static dyn Protocol]) -> Self {
        let start = "2026-03-01T00:00:10Z".parse().unwrap();
        let clock = Arc::new(ManualClock::at(start));
        Self::made(protocols, clock.clone(), clock).await
    }

    /// Moves the clock, and waits until all parts follow it.
    pub(crate) async fn advance(&self, by: Duration) {
        self.hand.advance(by);
        self.licensing.wake();
        let is_fresh = || self.licensing.freshness(self.hand.since_boot()) == Freshness::Fresh;
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !is_fresh() {
            assert!(std::time::Instant::now() < deadline, "the changes are read");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.spender.tick();
    }

    /// Opens the operations of another gate of the same store, which never ends on its own.
    pub(crate) async fn neighbour(&self) -> Arc<Licensing> {
        let (instance, clock) = (InstanceId::generate(), self.hand.clone());
        let began = self
            .store
            .begin_instance(instance, "other".to_owned(), self.services.now());
        began.await.unwrap();
        let (options, hasher) = (LicensingOptions::default(), KeyHasher::new(&[7; 32]));
        let opened = Licensing::open(
            options,
            self.store.clone(),
            hasher,
            plans(),
            instance,
            clock,
        );
        opened.await.unwrap()
    }

    async fn made(
        protocols: &[&'static dyn Protocol],
        clock: Arc<dyn Clock>,
        hand: Arc<ManualClock>,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut options = SqliteOptions::new(path("store"));
        options.clock = clock.clone();
        let sqlite = SqliteStore::open(options).unwrap();
        let store: Arc<dyn Store> = Arc::new(sqlite);
        let instance = InstanceId::generate();
        let (ledger, ledger_options, journal) = ledger(&path, instance, store.clone()).await;
        let licensing = Licensing::open(
            LicensingOptions::default(),
            store.clone(),
            KeyHasher::new(&[7; 32]),
            plans(),
            instance,
            clock.clone(),
        )
        .await
        .unwrap();
        let (stop, stopped) = watch::channel(false);
        let until = |mut stopped: watch::Receiver<bool>| async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        tokio::spawn(licensing.clone().run(until(stopped.clone())));
        let spender = spender(&journal, &licensing, &clock);
        tokio::spawn(spender.clone().run());
        let keyring = Keyring::load(&*store, KeyringSecret::Configured("of the tests"));
        let keyring = keyring.await.unwrap();
        let signing = Signing::open(store.clone(), keyring.clone(), clock.clone());
        let signing = signing.await.unwrap();
        let options = SessionOptions {
            terms: TokenTerms {
                issuer: "here".to_owned(),
                audience: "here".to_owned(),
            },
            signing_use: model::SigningUse::Tokens,
            access_lifetime: Duration::from_secs(3_600),
            refresh_lifetime: Duration::from_secs(30 * 86_400),
            rate_limits: vec!["100/1m".parse().unwrap()],
        };
        let sessions = Sessions::new(licensing.clone(), signing.clone(), options);
        let state = ControlState {
            licensing: licensing.clone(),
            signing: signing.clone(),
            sessions: Arc::new(sessions),
            spender: spender.clone(),
            webhooks: crate::webhooks::start(&store, &keyring, &clock),
            agents: Arc::default(),
            ledger,
            ledger_options,
            store: store.clone(),
            directory: apps(),
            gate: GateInfo {
                version: "1".to_owned(),
                node: "here".to_owned(),
                instance,
                started_at: clock.now(),
                listen: vec![],
            },
            clock,
            limits: ControlLimits::default(),
            rpc_socket: path("rpc.sock"),
            api_keys: ApiKeyPolicy::default(),
            better_auth: KeyShape::default(),
            trusted_proxies: vec!["127.0.0.2/32".parse().unwrap()],
        };
        let services = Services::new(state);
        let router = Surfaces::over(&services, protocols).together();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let socket = control::bind_socket(directory.path()).unwrap();
        let keys = Access::Keys {
            plain_http_from: Arc::new([]),
        };
        let servers = vec![
            tokio::spawn(control::serve(
                tcp,
                router.clone(),
                keys,
                until(stopped.clone()),
            )),
            tokio::spawn(control::serve(
                socket,
                router,
                Access::Local,
                until(stopped),
            )),
        ];
        Self {
            address,
            directory,
            services,
            signing,
            store,
            journal,
            stop,
            servers,
            licensing,
            spender,
            hand,
        }
    }

    /// Sends a request over the Unix socket.
    pub(crate) async fn local(&self, method: &str, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        let socket = api_types::socket_path(self.directory.path());
        let stream = UnixStream::connect(socket).await.unwrap();
        exchange(stream, request(method, path, None, body.into())).await
    }

    /// Sends a request over the Unix socket, with more headers.
    pub(crate) async fn local_with(
        &self,
        headers: &[(&str, &str)],
        method: &str,
        path: &str,
        body: &str,
    ) -> Answer {
        let socket = api_types::socket_path(self.directory.path());
        let stream = UnixStream::connect(socket).await.unwrap();
        let request = request(method, path, None, body.into());
        exchange(stream, with(request, headers)).await
    }

    /// Sends a request over TCP, with a management key and more headers.
    pub(crate) async fn remote_with(
        &self,
        key: &str,
        headers: &[(&str, &str)],
        method: &str,
        path: &str,
        body: &str,
    ) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let request = request(method, path, Some(key), body.into());
        exchange(stream, with(request, headers)).await
    }

    /// Sends a request over TCP, with a management key or without.
    pub(crate) async fn remote(
        &self,
        key: Option<&str>,
        method: &str,
        path: &str,
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let stream = TcpStream::connect(self.address).await.unwrap();
        exchange(stream, request(method, path, key, body.into())).await
    }

    /// Sends a request to a protocol, from a loopback address of choice.
    pub(crate) async fn ask(&self, from: [u8; 4], request: Request<Full<Bytes>>) -> Answer {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        send(stream, request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.local("GET", path, "").await.json(200)
    }

    pub(crate) async fn license(&self, body: &str) -> Value {
        self.local("POST", "/licenses", body).await.json(201)
    }

    /// Returns the text of a new management key.
    pub(crate) async fn key(&self, body: &str) -> String {
        let key = self.local("POST", "/management-keys", body).await.json(201);
        key["key"].as_str().unwrap().to_owned()
    }

    /// Keeps a management key as an earlier version did, without a check of its rights, and returns
    /// its text.
    pub(crate) async fn key_of_before(&self, license: &Value, scopes: &[&str]) -> (String, String) {
        let credential = Credential::generate(KeyFormat::Tallygate);
        let key = ManagementKey {
            id: ManagementKeyId::generate(),
            account: license["account"].as_str().unwrap().parse().unwrap(),
            app: None,
            license_id: Some(license["id"].as_str().unwrap().parse().unwrap()),
            draws_on: None,
            name: None,
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
            allow_ips: vec![],
            prefix: credential.visible_prefix().to_owned(),
            created_at: Timestamp::from_micros(1),
            expires_at: None,
            revoked_at: None,
        };
        let id = key.id.to_string();
        let new = NewManagementKey {
            key,
            hash: KeyHasher::new(&[7; 32]).hash(credential.expose().as_bytes()),
            secret: None,
        };
        let kept = self.store.create_management_key(new, AuditEntries::none());
        kept.await.unwrap();
        (id, credential.expose().to_owned())
    }

    /// Writes the record of a call as the gate does.
    pub(crate) fn call(&self, license: &Value, number: u32, started_at: i64) {
        self.record(license, number, started_at, || {});
    }

    /// Writes a record like [`call`](Self::call), with a journal that never gets on disk again.
    pub(crate) fn call_without_a_disk(&self, license: &Value, number: u32, started_at: i64) {
        self.record(license, number, started_at, || self.journal.shutdown());
    }

    fn record(&self, license: &Value, number: u32, started_at: i64, before: impl FnOnce()) {
        let lane = self.journal.lane(0);
        let app = Symbol::App {
            account: "default".parse().unwrap(),
            app: "api".parse().unwrap(),
        };
        let plan = Symbol::Plan {
            name: "pro".parse().unwrap(),
            revision: plan().id,
        };
        lane.define(1, app.encode().as_bytes()).unwrap();
        lane.define(2, Symbol::Route("/v1".to_owned()).encode().as_bytes())
            .unwrap();
        lane.define(3, plan.encode().as_bytes()).unwrap();
        let license: LicenseId = license["id"].as_str().unwrap().parse().unwrap();
        let record = CallRecord {
            head: CallHead {
                call_id: CallId::from_parts((started_at / 1_000) as u64, 1, number),
                license_id: Some(license),
                app: 1,
                route: 2,
                plan: 3,
                method: Method::Get,
                mode: Mode::Proxy,
                status: 200,
                started_at: Timestamp::from_micros(started_at),
                reserved: 1,
                epoch: 1,
                test: false,
                billable_status: true,
                bills_interrupted: true,
                limited: false,
                windowed: false,
                idempotency: 0,
                ..CallHead::default()
            },
            tail: CallTail {
                outcome: Outcome::Delivered,
                billable: true,
                attempts: 1,
                refusal: None,
                calls: 1,
                units: 1,
                spent: 1,
                request_bytes: 10,
                response_bytes: 100,
                duration_us: 1_500,
                upstream_us: 1_000,
                ..CallTail::default()
            },
        };
        let space = lane.reserve(CallRecord::LENGTH as u32, 1).unwrap();
        before();
        lane.single(space, &record.encode());
    }

    /// Stops the servers; panics if they do not end.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        for server in self.servers {
            tokio::time::timeout(Duration::from_secs(20), server)
                .await
                .unwrap()
                .unwrap();
        }
    }
}

impl Answer {
    /// Returns the body as JSON, if the status is the expected one.
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the code of a problem with the expected status.
    pub(crate) fn code(&self, status: u16) -> String {
        self.json(status)["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Checks the rules for all answers.
    fn check(&self) {
        assert_eq!(self.header("cache-control"), "no-store", "{self:?}");
        if self.status >= 400 {
            assert_eq!(
                self.header("content-type"),
                "application/problem+json",
                "{self:?}"
            );
            let problem: Value = serde_json::from_slice(&self.body).unwrap();
            assert_eq!(problem["status"], self.status);
            for field in ["type", "title", "code", "detail"] {
                assert!(problem[field].is_string(), "{problem}");
            }
        }
    }
}

fn request(method: &str, path: &str, key: Option<&str>, body: Vec<u8>) -> Request<Full<Bytes>> {
    let path = if path.starts_with("//") {
        path[1..].to_owned()
    } else {
        format!("/api/v1{path}")
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", "gate");
    if let Some(key) = key {
        request = request.header("Authorization", format!("Bearer {key}"));
    }
    request.body(Full::new(Bytes::from(body))).unwrap()
}

fn with(mut request: Request<Full<Bytes>>, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    for (name, value) in headers {
        let name: hyper::header::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

/// Sends a request to the native API.
async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Answer
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let answer = send(stream, request).await;
    answer.check();
    answer
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Answer
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes().to_vec(),
    }
}

async fn ledger(
    path: &impl Fn(&str) -> PathBuf,
    instance: InstanceId,
    store: Arc<dyn Store>,
) -> (Ledger, LedgerOptions, Journal) {
    let options = LedgerOptions {
        rollup_every: Duration::from_secs(3_600),
        ..LedgerOptions::new(path("ledger"), path("journals"), "here")
    };
    let mut journal = journal::Options::new(options.journals.clone(), instance.as_u128(), 2);
    journal.segment_bytes = 64 << 10;
    journal.mark_slots = 64;
    let journal = Journal::create(journal).unwrap();
    let runtime = Handle::current();
    let ledger = Ledger::start(
        options.clone(),
        journal.clone(),
        instance,
        2,
        store,
        runtime,
    );
    (ledger.await.unwrap(), options, journal)
}

/// Returns the spender of the second lane; the first lane is for the records that tests write.
fn spender(journal: &Journal, licensing: &Arc<Licensing>, clock: &Arc<dyn Clock>) -> Arc<Spender> {
    let metrics = Metrics::new(2, &[""; 7], |number| {
        Refusal::from_number(number).map_or("", Refusal::code)
    });
    let rules = |name: &str, account: &str| AppRules {
        forwards_ambiguous: true,
        name: name.parse().unwrap(),
        account: account.parse().unwrap(),
        hosts: vec![format!("{name}.test").parse().unwrap()],
        paths: vec![],
        license_headers: vec![],
        billable: vec![200],
        billable_by_rpc: None,
        billable_by_own_ways: None,
        billable_outcomes: vec![Outcome::Delivered],
        counts_all: false,
        test: false,
        waits_for_disk: true,
        cuts_on_revoke: true,
        routes: vec![RouteRules::any()],
        agents: None,
    };
    let apps = vec![rules("api", "default"), rules("shop", "acme")];
    let gate = Gate::new(apps, &[plan()], metrics.clone()).unwrap();
    let parts = WorkerParts {
        journal: journal.clone(),
        admission: licensing.admission().clone(),
        metrics,
        clock: clock.clone(),
    };
    Arc::new(Spender::new(Arc::new(gate), Worker::new(1, &parts)))
}

fn plan() -> PlanRevision {
    PlanRevision::from(Plan {
        name: "pro".parse().unwrap(),
        currency: "EUR".parse().unwrap(),
        price_per_unit: "0.01".parse().unwrap(),
        rate_limits: vec![],
        concurrency: None,
        features: vec![],
    })
}

fn plans() -> Plans {
    let terms = |app: &str, account: &str| AppTerms {
        app: app.parse().unwrap(),
        account: account.parse().unwrap(),
        default_plan: None,
        grace: Duration::from_secs(60),
        allowance: 0,
        key_recovery: false,
        software: licensing::SoftwareTerms::default(),
        agents: None,
    };
    Plans::new(
        vec![plan()],
        vec![
            terms("api", "default"),
            terms("inner", "default"),
            terms("shop", "acme"),
        ],
    )
}

fn apps() -> AppDirectory {
    let app = |name: &str, account: &str| App {
        name: name.parse().unwrap(),
        account: account.parse().unwrap(),
        hosts: vec![],
        upstreams: vec![match account {
            "default" => "http://127.0.0.1:9000".to_owned(),
            _ => "http://127.0.0.1:9001".to_owned(),
        }],
        plan: None,
        mode: "live".to_owned(),
        routes: vec![],
    };
    let plan = |name: &str| api_types::Plan {
        name: name.parse().unwrap(),
        revision: plan().id,
        currency: "EUR".parse().unwrap(),
        price_per_unit: "0.01".parse().unwrap(),
        rate_limits: vec![],
        concurrency: None,
        features: vec![],
    };
    AppDirectory {
        apps: vec![
            app("api", "default"),
            app("inner", "default"),
            app("shop", "acme"),
        ],
        plans: vec![plan("dear"), plan("pro")],
    }
}
