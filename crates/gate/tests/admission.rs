//! Admission: which calls are let in, and what the callers of the others are told.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gate::{Admitted, CallRequest, Presented, Refused};
use licensing::IssueRequest;
use model::{
    Credential, KeyFormat, LicenseSpec, LicenseStatus, Limits, Outcome, Refusal, Symbol, Timestamp,
};

use support::{HOST, START, Setup, TestGate, app, call, delivered, remaining, request, route};

fn refusal(result: Result<Admitted, Refused>) -> Refusal {
    result.err().expect("the call is refused").refusal
}

async fn admit_from(
    fixture: &TestGate,
    key: &str,
    path: &str,
    address: &str,
) -> Result<Admitted, Refused> {
    let routed = fixture.route("GET", path)?;
    let request = CallRequest {
        address: Some(address.parse().unwrap()),
        ..call(path, key)
    };
    fixture.gate.admit(fixture.worker(), routed, request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rule_that_refuses_is_the_one_that_is_told() {
    let fixture = TestGate::new().await;
    let end = Timestamp::from_micros(START + 600_000_000);
    let request = IssueRequest {
        spec: LicenseSpec {
            expires_at: Some(end),
            allow_ips: vec!["192.0.2.0/24".parse().unwrap()],
            permissions: vec!["GET /allowed".parse().unwrap()],
            limits: Limits {
                remaining: Some(1),
                rate_limits: vec!["2/1m".parse().unwrap()],
                concurrency: Some(1),
                ..Limits::default()
            },
            ..LicenseSpec::default()
        },
        ..request("api", Limits::default())
    };
    let (id, key) = fixture.issue(request).await;
    let (inside, outside) = ("192.0.2.9", "198.51.100.9");
    let try_it =
        async |path: &str, address: &str| refusal(admit_from(&fixture, &key, path, address).await);

    // Everything is wrong at once; then one thing after the other is put right.
    let held = admit_from(&fixture, &key, "/allowed", inside)
        .await
        .unwrap();
    let mut forwarding = held.mark().unwrap();
    forwarding.sending();
    let (first, _) = forwarding.commit(200, true);
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Disabled)
        .await
        .unwrap();
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .extend(id, Some(Timestamp::from_micros(START + 1_000_000)))
        .await
        .unwrap();
    fixture.pass(Duration::from_secs(2));
    assert_eq!(try_it("/other", outside).await, Refusal::LicenseDisabled);
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Active)
        .await
        .unwrap();
    assert_eq!(try_it("/other", outside).await, Refusal::LicenseExpired);
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .extend(id, Some(end))
        .await
        .unwrap();
    assert_eq!(try_it("/other", outside).await, Refusal::IpNotAllowed);
    assert_eq!(try_it("/other", inside).await, Refusal::RouteNotPermitted);
    assert_eq!(try_it("/allowed", inside).await, Refusal::TooManyConcurrent);
    first.close(&delivered(fixture.worker()));
    assert_eq!(try_it("/allowed", inside).await, Refusal::QuotaExhausted);
    // One more unit, used up by the last of the window's two calls: then the rate is named before
    // the quota.
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_limits(
            id,
            Limits {
                remaining: Some(1),
                rate_limits: vec!["2/1m".parse().unwrap()],
                concurrency: Some(1),
                ..Limits::default()
            },
            true,
        )
        .await
        .unwrap();
    let mut forwarding = admit_from(&fixture, &key, "/allowed", inside)
        .await
        .unwrap()
        .mark()
        .unwrap();
    forwarding.sending();
    let (second, _) = forwarding.commit(200, true);
    assert_eq!(try_it("/allowed", inside).await, Refusal::RateLimited);
    second.close(&delivered(fixture.worker()));
    assert_eq!(try_it("/allowed", inside).await, Refusal::RateLimited);
    fixture.pass(Duration::from_secs(60));
    assert_eq!(try_it("/allowed", inside).await, Refusal::QuotaExhausted);
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Revoked)
        .await
        .unwrap();
    fixture.pass(Duration::from_secs(900));
    assert_eq!(try_it("/other", outside).await, Refusal::LicenseRevoked);
    assert_eq!(fixture.journal.stats().marks, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_unknown_and_one_that_cannot_be_look_the_same_and_leave_no_record() {
    let fixture = TestGate::new().await;
    let (_, key) = fixture.license(Limits::default()).await;
    let unknown = |format| {
        Credential::generate(format)
            .expose()
            .to_owned()
            .into_bytes()
    };
    let mut mistyped = key.clone().into_bytes();
    *mistyped.last_mut().unwrap() ^= 1;
    let mut presented = vec![
        mistyped,
        key.as_bytes()[..key.len() - 1].to_vec(),
        format!("{key} ").into_bytes(),
        key.to_uppercase().into_bytes(),
        vec![],
        b"x".to_vec(),
        vec![0; 64],
        vec![0xff; 40],
        vec![b'a'; 256],
        vec![b'a'; 257],
        vec![b'a'; 100_000],
        b"tg_".to_vec(),
    ];
    for format in [
        KeyFormat::Tallygate,
        KeyFormat::Uuid,
        KeyFormat::Apifew,
        KeyFormat::Authforge,
    ] {
        presented.push(unknown(format));
    }
    let count = presented.len();
    for key in presented {
        let routed = fixture.route("GET", "/").unwrap();
        let call_id = routed.call_id;
        let request = CallRequest {
            presented: Presented::Credential(&key),
            ..call("/", "")
        };
        let refused = fixture
            .gate
            .admit(fixture.worker(), routed, request)
            .await
            .err()
            .unwrap();
        assert_eq!(refused.refusal, Refusal::LicenseUnknown, "{key:?}");
        assert_eq!(refused.call_id, call_id);
        assert!(refused.retry_after.is_none() && refused.rate.is_none());
    }
    fixture.pass(Duration::from_secs(2));
    assert!(fixture.records().is_empty());
    let counted = r#"tallygate_refused_total{app="api",code="license_unknown"}"#;
    assert_eq!(fixture.metric(counted), count as f64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_presented_besides_one_key_has_its_own_answer() {
    let fixture = TestGate::new().await;
    for (presented, expected) in [
        (Presented::Nothing, Refusal::LicenseMissing),
        (Presented::Ambiguous, Refusal::CredentialAmbiguous),
        (Presented::Token(b"no token"), Refusal::TokenInvalid),
    ] {
        let routed = fixture.route("GET", "/").unwrap();
        let request = CallRequest {
            presented,
            ..call("/", "")
        };
        let result = fixture.gate.admit(fixture.worker(), routed, request).await;
        assert_eq!(refusal(result), expected);
    }
    assert!(fixture.records().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_license_of_another_app_is_unknown() {
    let of = |name: &str| gate::AppRules {
        forwards_ambiguous: true,
        hosts: vec![format!("{name}.test").parse().unwrap()],
        ..app(name)
    };
    let fixture = TestGate::of(Setup {
        apps: vec![of("one"), of("two")],
        ..Setup::default()
    })
    .await;
    let (id, key) = fixture.issue(request("one", remaining(5))).await;
    let admit = async |host: &str| {
        let routed = fixture
            .gate
            .route(fixture.worker(), host, "GET", b"/")
            .unwrap();
        fixture
            .gate
            .admit(fixture.worker(), routed, call("/", &key))
            .await
    };
    // Cold and warm alike.
    for _ in 0..2 {
        let refused = admit("two.test").await.err().unwrap();
        assert_eq!(refused.refusal, Refusal::LicenseUnknown);
        assert!(refused.rate.is_none() && refused.retry_after.is_none());
        assert!(admit("one.test").await.is_ok());
    }
    fixture.pass(Duration::from_secs(2));
    assert!(
        fixture.records().is_empty(),
        "who it belongs to is not told"
    );
    fixture.assert_left(id, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_paths_that_nobody_serves_are_refused_before_any_key_is_looked_at() {
    let mut api = app("api");
    api.hosts = vec![HOST.parse().unwrap()];
    api.routes = vec![gate::RouteRules {
        methods: vec![model::Method::Get],
        ..route("/v1")
    }];
    let fixture = TestGate::with_app(api).await;
    let route = |host: &str, method: &str, path: &str| {
        let routed = fixture
            .gate
            .route(fixture.worker(), host, method, path.as_bytes());
        routed.err().map(|refused| refused.refusal)
    };
    assert_eq!(route(HOST, "GET", "/v1/x"), None);
    assert_eq!(
        route("elsewhere.test", "GET", "/v1"),
        Some(Refusal::AppUnknown)
    );
    assert_eq!(route("", "GET", "/v1"), Some(Refusal::AppUnknown));
    assert_eq!(route(HOST, "POST", "/v1"), Some(Refusal::MethodNotAllowed));
    assert_eq!(route(HOST, "BREW", "/v1"), Some(Refusal::MethodNotAllowed));
    assert_eq!(route(HOST, "GET", "/v10"), Some(Refusal::RouteUnknown));
    assert_eq!(route(HOST, "GET", "/"), Some(Refusal::RouteUnknown));
    assert_eq!(
        fixture.metric(r#"tallygate_refused_total{app="api",code="route_unknown"}"#),
        2.0
    );
    assert_eq!(
        fixture.metric(r#"tallygate_refused_total{app="",code="app_unknown"}"#),
        2.0
    );
}

/// Paths that some readers take for another path.
const AMBIGUOUS: [&str; 13] = [
    "/a/../b",
    "/a/./b",
    "/a/%2e%2e/b",
    "/a%2Fb",
    "/a%2fb",
    "/a//b",
    "/a\\b",
    "/a%5Cb",
    "/a;x=1/b",
    "/a%00b",
    "/%2561",
    "/a/..;/b",
    "/%c0%afb",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_path_passes_only_where_nothing_depends_on_it() {
    let fixture = TestGate::new().await;
    let (_, free) = fixture.license(Limits::default()).await;
    let (bound_id, bound) = fixture
        .issue(IssueRequest {
            spec: LicenseSpec {
                permissions: vec!["GET /".parse().unwrap()],
                limits: remaining(5),
                ..LicenseSpec::default()
            },
            ..request("api", Limits::default())
        })
        .await;
    for path in AMBIGUOUS {
        assert!(fixture.admit_on(0, path, &free).await.is_ok(), "{path}");
        assert_eq!(
            fixture.refusal(path, &bound).await,
            Refusal::PathAmbiguous,
            "{path}"
        );
    }
    assert!(fixture.admit_on(0, "/a/b", &bound).await.is_ok());
    // The license is known, so its refusals are recorded; nothing was taken.
    fixture.pass(Duration::from_secs(1));
    let calls: u32 = fixture
        .records()
        .iter()
        .map(|record| record.tail.calls)
        .sum();
    assert_eq!(calls as usize, AMBIGUOUS.len());
    fixture.assert_left(bound_id, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_path_is_refused_where_routes_or_other_apps_depend_on_it() {
    let mut routed = app("api");
    routed.routes = vec![route("/a"), route("/")];
    let routed = TestGate::with_app(routed).await;
    let split = TestGate::of(Setup {
        apps: vec![
            app("api"),
            gate::AppRules {
                forwards_ambiguous: true,
                paths: vec!["/admin".parse().unwrap()],
                ..app("admin")
            },
        ],
        ..Setup::default()
    })
    .await;
    for fixture in [&routed, &split] {
        for path in AMBIGUOUS {
            let refused = fixture.route("GET", path).err().unwrap();
            assert_eq!(refused.refusal, Refusal::PathAmbiguous, "{path}");
        }
        assert!(fixture.route("GET", "/a/b").is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_path_and_a_method_in_another_case_are_malformed_whatever_is_served() {
    let fixture = TestGate::new().await;
    for (method, path) in [
        ("GET", "*"),
        ("GET", "a"),
        ("GET", ""),
        ("GET", "?a"),
        ("get", "/a"),
        ("Head", "/a"),
    ] {
        let refused = fixture.route(method, path).err().unwrap();
        assert_eq!(
            refused.refusal,
            Refusal::RequestMalformed,
            "{method} {path}"
        );
    }
    assert!(fixture.route("BREW", "/a").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_is_judged_by_the_path_in_its_one_spelling() {
    let fixture = TestGate::new().await;
    let (_, key) = fixture
        .issue(IssueRequest {
            spec: LicenseSpec {
                permissions: vec!["GET /public".parse().unwrap()],
                ..LicenseSpec::default()
            },
            ..request("api", Limits::default())
        })
        .await;
    for path in [
        "/public",
        "/public/",
        "/public/x",
        "/%70ublic",
        "/publi%63/x",
    ] {
        assert!(fixture.admit_on(0, path, &key).await.is_ok(), "{path}");
    }
    for path in [
        "/",
        "/publicity",
        "/PUBLIC",
        "/private/public",
        "/public%20",
    ] {
        assert_eq!(
            fixture.refusal(path, &key).await,
            Refusal::RouteNotPermitted,
            "{path}"
        );
    }
    let posted = fixture.route("POST", "/public").unwrap();
    let result = fixture
        .gate
        .admit(fixture.worker(), posted, call("/public", &key))
        .await;
    assert_eq!(refusal(result), Refusal::RouteNotPermitted);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_callers_at_once_on_ten_units_are_ten_admitted() {
    for round in 0..10 {
        let fixture = Arc::new(
            TestGate::of(Setup {
                lanes: 4,
                ..Setup::default()
            })
            .await,
        );
        let (id, key) = fixture.license(remaining(10)).await;
        let (runtime, admitted) = (
            tokio::runtime::Handle::current(),
            Arc::new(AtomicU32::new(0)),
        );
        let start = Arc::new(std::sync::Barrier::new(64));
        let callers: Vec<_> = (0..64)
            .map(|caller| {
                let (fixture, key, start) = (fixture.clone(), key.clone(), start.clone());
                let (runtime, admitted) = (runtime.clone(), admitted.clone());
                std::thread::spawn(move || {
                    start.wait();
                    match runtime.block_on(fixture.admit_on(caller % 4, "/", &key)) {
                        Ok(call) => {
                            admitted.fetch_add(1, Ordering::SeqCst);
                            let mut forwarding = call.mark().unwrap();
                            forwarding.sending();
                            let worker = &fixture.workers[caller % 4];
                            forwarding.commit(200, true).0.close(&delivered(worker));
                        }
                        Err(refused) => assert_eq!(refused.refusal, Refusal::QuotaExhausted),
                    }
                })
            })
            .collect();
        callers
            .into_iter()
            .for_each(|caller| caller.join().unwrap());
        assert_eq!(admitted.load(Ordering::SeqCst), 10, "round {round}");
        fixture.assert_left(id, 0).await;
        let records = fixture.records();
        let billed = records.iter().filter(|record| record.tail.billable);
        assert_eq!(billed.map(|record| record.tail.spent).sum::<u64>(), 10);
        fixture.pass(Duration::from_secs(1));
        let calls: u32 = fixture
            .records()
            .iter()
            .map(|record| record.tail.calls)
            .sum();
        assert_eq!(calls, 64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_learn_of_a_revocation_when_it_returns() {
    let mut api = app("api");
    api.routes = vec![
        route("/"),
        gate::RouteRules {
            cuts_on_revoke: Some(false),
            ..route("/finish")
        },
    ];
    let fixture = TestGate::with_app(api).await;
    let end = Timestamp::from_micros(START + 60_000_000);
    let (id, key) = fixture
        .issue(IssueRequest {
            spec: LicenseSpec {
                expires_at: Some(end),
                limits: remaining(10),
                ..LicenseSpec::default()
            },
            ..request("api", Limits::default())
        })
        .await;
    let calls: Vec<_> = [
        fixture.admit(&key).await.unwrap().mark().unwrap(),
        fixture.admit(&key).await.unwrap().mark().unwrap(),
    ]
    .into();
    let finishing = fixture
        .admit_on(0, "/finish/x", &key)
        .await
        .unwrap()
        .mark()
        .unwrap();
    assert!(finishing.cut_check().is_none());
    let checks: Vec<_> = calls.iter().map(|call| call.cut_check().unwrap()).collect();
    let cut = || {
        checks
            .iter()
            .map(gate::CutCheck::is_cut)
            .collect::<Vec<_>>()
    };
    assert_eq!(cut(), [false, false]);

    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Disabled)
        .await
        .unwrap();
    assert_eq!(cut(), [true, true]);
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Active)
        .await
        .unwrap();
    assert_eq!(cut(), [false, false]);
    fixture.pass(Duration::from_secs(60));
    assert_eq!(cut(), [true, true], "it has expired");
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .extend(id, None)
        .await
        .unwrap();
    assert_eq!(cut(), [false, false]);
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Revoked)
        .await
        .unwrap();
    assert_eq!(cut(), [true, true]);
    assert_eq!(fixture.refusal("/", &key).await, Refusal::LicenseRevoked);
    drop(calls);
    assert_eq!(cut(), [true, true], "the check outlives the call");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_in_force_for_every_thread_when_it_returns() {
    let fixture = Arc::new(TestGate::new().await);
    for _ in 0..50 {
        let (id, key) = fixture.license(Limits::default()).await;
        let revoked = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let runtime = tokio::runtime::Handle::current();
        let callers: Vec<_> = (0..2)
            .map(|lane| {
                let (fixture, key, revoked) = (fixture.clone(), key.clone(), revoked.clone());
                let runtime = runtime.clone();
                std::thread::spawn(move || {
                    loop {
                        let before = revoked.load(Ordering::SeqCst);
                        let result = runtime.block_on(fixture.admit_on(lane, "/", &key));
                        if before {
                            return refusal(result);
                        }
                    }
                })
            })
            .collect();
        fixture
            .licensing
            .acting(model::Actor::OPERATOR)
            .set_status(id, LicenseStatus::Revoked)
            .await
            .unwrap();
        revoked.store(true, Ordering::SeqCst);
        for caller in callers {
            assert_eq!(caller.join().unwrap(), Refusal::LicenseRevoked);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_name_the_app_the_route_and_the_plan_that_a_call_came_in_under() {
    let mut api = app("api");
    api.routes = vec![route("/a"), route("/a/b")];
    let fixture = TestGate::with_app(api).await;
    let (_, key) = fixture.license(Limits::default()).await;
    let mut calls = Vec::new();
    for path in ["/a/x", "/a/b/x"] {
        let mut forwarding = fixture
            .admit_on(1, path, &key)
            .await
            .unwrap()
            .mark()
            .unwrap();
        forwarding.sending();
        calls.push(forwarding);
    }
    // A configuration without their rules. Calls under way keep those that they were admitted by.
    let mut other = app("api");
    other.billable = vec![];
    fixture
        .gate
        .replace(vec![other], &[support::plan("pro", "0.01")])
        .unwrap();
    for call in calls {
        call.commit(200, true)
            .0
            .close(&delivered(&fixture.workers[1]));
    }
    let records = fixture.records();
    let names: Vec<_> = records
        .iter()
        .map(|record| {
            let head = &record.head;
            assert!(record.tail.billable);
            assert_eq!(record.tail.outcome, Outcome::Delivered);
            [head.app, head.route, head.plan].map(|symbol| fixture.name(symbol))
        })
        .collect();
    let app = Symbol::App {
        account: "default".parse().unwrap(),
        app: "api".parse().unwrap(),
    };
    let plan = Symbol::Plan {
        name: "pro".parse().unwrap(),
        revision: support::plan("pro", "0.01").id,
    };
    let expected =
        |path: &str| [app.clone(), Symbol::Route(path.to_owned()), plan.clone()].map(Some);
    assert_eq!(names, [expected("/a"), expected("/a/b")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_priced_by_its_plan_while_plans_are_replaced() {
    let fixture = TestGate::new().await;
    let (_, key) = fixture.license(Limits::default()).await;
    let ask = async || {
        let mut forwarding = fixture.admit(&key).await.unwrap().mark().unwrap();
        forwarding.sending();
        forwarding
            .commit(200, true)
            .0
            .close(&delivered(fixture.worker()));
        let last = *fixture.records().last().unwrap();
        fixture.name(last.head.plan)
    };
    assert!(ask().await.is_some());
    // The gate first, then the licenses.
    let dearer = support::plan("pro", "0.02");
    fixture
        .gate
        .replace(vec![app("api")], std::slice::from_ref(&dearer))
        .unwrap();
    assert!(ask().await.is_some(), "a call without a plan is free");
    fixture
        .licensing
        .set_plans(support::plans(std::slice::from_ref(&dearer), &[app("api")]))
        .await
        .unwrap();
    assert!(ask().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_judged_after_status_end_and_address() {
    let fixture = TestGate::new().await;
    let (id, key) = fixture
        .issue(IssueRequest {
            spec: LicenseSpec {
                permissions: vec!["GET /".parse().unwrap()],
                allow_ips: vec!["10.0.0.0/8".parse().unwrap()],
                ..LicenseSpec::default()
            },
            ..request("api", Limits::default())
        })
        .await;
    assert_eq!(fixture.refusal("/a//b", &key).await, Refusal::IpNotAllowed);
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Revoked)
        .await
        .unwrap();
    assert_eq!(
        fixture.refusal("/a//b", &key).await,
        Refusal::LicenseRevoked
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_mark_is_counted_as_refused() {
    let fixture = TestGate::of(Setup {
        mark_slots: 1,
        ..Setup::default()
    })
    .await;
    let (_, key) = fixture.license(Limits::default()).await;
    let _held = fixture.admit(&key).await.unwrap().mark().unwrap();
    assert!(fixture.admit(&key).await.unwrap().mark().is_err());
    assert_eq!(
        fixture.metric(r#"tallygate_refused_total{app="api",code="journal_unavailable"}"#),
        1.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_for_units_is_not_let_in_after_its_license_was_revoked() {
    let fixture = Arc::new(TestGate::new().await);
    let (id, key) = fixture.license(remaining(10)).await;
    // The ledger's file, where leases are, is held by another program; that of the licenses is not.
    let lock = rusqlite::Connection::open(fixture.home.join("store").join("ledger.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = tokio::spawn({
        let (fixture, key) = (fixture.clone(), key.clone());
        async move { fixture.admit(&key).await.map(drop).map_err(|r| r.refusal) }
    });
    let admitting = r#"tallygate_license_lookups_total{result="hit",tier="store"}"#;
    support::eventually("the license is loaded", async || {
        fixture.metric(admitting) > 0.0
    })
    .await;
    assert!(!waiting.is_finished());
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Revoked)
        .await
        .unwrap();
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(waiting.await.unwrap(), Err(Refusal::LicenseRevoked));
}
