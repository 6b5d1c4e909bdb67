//! Spending without forwarding: the rules, limits and record are those of a forwarded call.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod support;

use std::sync::Arc;

use gate::{AtLimit, Holder, Refused, Spend, Spent};
use journal::Sync;
use licensing::IssueRequest;
use model::{
    CallId, LicenseId, LicenseSpec, LicenseStatus, Limits, Method, Mode, NormalPath, Outcome,
    Refusal, Symbol,
};

use support::{Setup, TestGate, app, eventually, remaining, request, route};

impl TestGate {
    async fn spend(&self, spend: Spend<'_>) -> Result<Spent, Refused> {
        self.gate.spend(self.worker(), spend).await
    }

    async fn verify(&self, key: &str) -> Result<Spent, Refused> {
        let holder = Holder::Credential(key.as_bytes());
        self.spend(Spend::one(holder, Mode::Verify)).await
    }
}

fn refusal(result: Result<Spent, Refused>) -> Refusal {
    result.expect_err("it is refused").refusal
}

#[tokio::test]
async fn a_verification_spends_a_unit_and_leaves_one_whole_record() {
    let fixture = TestGate::new().await;
    let room = fixture.room();
    let (id, key) = fixture.license(remaining(3)).await;
    let spent = fixture.verify(&key).await.unwrap();
    assert_eq!(
        (spent.units, spent.billable, spent.left),
        (1, true, Some(2))
    );
    assert_eq!(spent.entry.license().id, id);
    let record = fixture.record();
    assert_eq!(record.head.call_id, spent.call_id);
    assert_eq!(record.head.license_id, Some(id));
    assert_eq!((record.head.mode, record.head.status), (Mode::Verify, 200));
    assert!(record.head.limited && record.tail.billable);
    assert_eq!((record.tail.units, record.tail.spent), (1, 1));
    assert_eq!(record.tail.outcome, Outcome::Delivered);
    assert_eq!(
        fixture.name(record.head.route),
        Some(Symbol::Route("/".to_owned()))
    );
    fixture.assert_left(id, 2).await;
    fixture.assert_nothing_held(&room);
}

#[tokio::test]
async fn a_status_that_is_not_billed_is_recorded_and_takes_nothing_even_of_an_empty_balance() {
    let fixture = TestGate::new().await;
    let (id, key) = fixture.license(remaining(1)).await;
    let failed = Spend {
        status: 500,
        ..Spend::one(Holder::Credential(key.as_bytes()), Mode::Token)
    };
    for _ in 0..2 {
        let spent = fixture.spend(failed).await.unwrap();
        assert!(!spent.billable);
    }
    fixture.assert_left(id, 1).await;
    fixture.verify(&key).await.unwrap();
    assert_eq!(refusal(fixture.verify(&key).await), Refusal::QuotaExhausted);
    fixture.spend(failed).await.unwrap();
    let billed = fixture.records().iter().filter(|r| r.tail.billable).count();
    assert_eq!(billed, 1);
}

#[tokio::test]
async fn the_ordered_check_refuses_and_the_refusal_names_its_way() {
    let fixture = TestGate::new().await;
    let (id, key) = fixture.license(Limits::default()).await;
    assert_eq!(
        refusal(fixture.verify("tg_unknown").await),
        Refusal::LicenseUnknown
    );
    assert!(
        fixture.records().is_empty(),
        "unknown keys make metrics only"
    );
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Disabled)
        .await
        .unwrap();
    assert_eq!(
        refusal(fixture.verify(&key).await),
        Refusal::LicenseDisabled
    );
    let record = fixture.record();
    assert_eq!(record.head.mode, Mode::Verify);
    assert_eq!(record.tail.refusal, Some(Refusal::LicenseDisabled));
    let other = "other".parse().unwrap();
    let foreign = Spend {
        app: Some(&other),
        ..Spend::one(Holder::License(id), Mode::Verify)
    };
    assert_eq!(
        refusal(fixture.spend(foreign).await),
        Refusal::LicenseUnknown
    );
}

#[tokio::test]
async fn a_path_has_its_route_its_price_and_its_permission() {
    let mut paid = route("/reports");
    (paid.units, paid.max_units) = (5, 5);
    let mut api = app("api");
    api.routes = vec![paid];
    let fixture = TestGate::with_app(api).await;
    let (id, _) = fixture
        .issue(IssueRequest {
            spec: LicenseSpec {
                permissions: vec!["GET /reports/public".parse().unwrap()],
                limits: remaining(12),
                ..LicenseSpec::default()
            },
            ..request("api", Limits::default())
        })
        .await;
    let spend = |method, path: &'static str| {
        let path = NormalPath::parse(path).unwrap();
        let fixture = &fixture;
        async move {
            let target = Some((method, &path));
            let spend = Spend {
                target,
                ..Spend::one(Holder::License(id), Mode::Stamp)
            };
            fixture.spend(spend).await
        }
    };
    let spent = spend(Method::Get, "/reports/public/7").await.unwrap();
    assert_eq!((spent.units, spent.left), (5, Some(7)));
    assert_eq!(spent.route.path.as_str(), "/reports");
    assert_eq!(
        refusal(spend(Method::Post, "/reports/public").await),
        Refusal::RouteNotPermitted
    );
    assert_eq!(
        refusal(spend(Method::Get, "/elsewhere").await),
        Refusal::RouteUnknown
    );
    fixture.assert_left(id, 7).await;
}

#[tokio::test]
async fn what_was_done_beyond_the_quota_is_recorded_and_says_so_but_not_for_a_revoked_license() {
    let fixture = TestGate::new().await;
    let (id, _) = fixture.license(remaining(1)).await;
    let call_id = CallId::from_u128(7);
    let stamp = Spend {
        limits: AtLimit::Record,
        ..Spend::one(Holder::License(id), Mode::Stamp)
    };
    assert_eq!(fixture.spend(stamp).await.unwrap().over_quota, None);
    let beyond = Spend {
        call_id: Some(call_id),
        ..stamp
    };
    let beyond = fixture.spend(beyond).await.unwrap();
    assert_eq!(beyond.over_quota, Some(Refusal::QuotaExhausted));
    assert!(beyond.billable);
    let records = fixture.records();
    let record = records.iter().find(|r| r.head.call_id == call_id).unwrap();
    assert_eq!(record.tail.refusal, Some(Refusal::QuotaExhausted));
    assert_eq!(record.tail.outcome, Outcome::Delivered);
    assert_eq!((record.tail.units, record.tail.spent), (1, 0));
    fixture.assert_left(id, 0).await;
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Revoked)
        .await
        .unwrap();
    assert_eq!(refusal(fixture.spend(stamp).await), Refusal::LicenseRevoked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_never_spend_more_than_there_is_and_need_no_free_place() {
    let fixture = Arc::new(
        TestGate::of(Setup {
            sync: Sync::Disk,
            apps: vec![{
                let mut api = app("api");
                api.waits_for_disk = true;
                api
            }],
            ..Setup::default()
        })
        .await,
    );
    let limits = Limits {
        concurrency: Some(1),
        ..remaining(8)
    };
    let (id, key) = fixture.license(limits).await;
    let proxied = fixture.admit(&key).await.unwrap();
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (fixture, key) = (fixture.clone(), key.clone());
        tries.spawn(async move { fixture.verify(&key).await });
    }
    let results = tries.join_all().await;
    let passed = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(passed, 7, "the call under way holds one unit");
    drop(proxied);
    let spent: u64 = fixture.records().iter().map(|r| r.tail.spent).sum();
    assert_eq!(spent, 7);
    fixture.assert_left(id, 1).await;
    let durable = fixture.journal.lane(0).durable();
    assert!(durable.0 > 0, "what was answered is on disk");
}

#[tokio::test]
async fn a_license_by_its_id_follows_changes_like_any_other() {
    let fixture = TestGate::new().await;
    let (id, _) = fixture.license(Limits::default()).await;
    let by_id = Spend::one(Holder::License(id), Mode::Verify);
    fixture.spend(by_id).await.unwrap();
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Disabled)
        .await
        .unwrap();
    assert_eq!(
        refusal(fixture.spend(by_id).await),
        Refusal::LicenseDisabled
    );
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Active)
        .await
        .unwrap();
    eventually("the license is let in again", async || {
        fixture.spend(by_id).await.is_ok()
    })
    .await;
    let unknown = Spend::one(Holder::License(LicenseId::generate()), Mode::Verify);
    assert_eq!(
        refusal(fixture.spend(unknown).await),
        Refusal::LicenseUnknown
    );
}
