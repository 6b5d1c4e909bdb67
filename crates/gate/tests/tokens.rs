//! Request tokens at the gate: one call each, wherever it is made, and no units for calls that were
//! not made.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use gate::{
    Admitted, CallRequest, ConsumeToken, ConsumedToken, Failure, Holder, IssueToken, IssuedToken,
    Presented, Refused,
};
use model::{
    LicenseId, LicenseSpec, LicenseStatus, Limits, Method, Mode, NormalPath, Outcome, Refusal,
    TokenState,
};

use support::{
    HOST, TestGate, app, broken, call, delivered, eventually, remaining, request, route,
};

const PATH: &str = "/reports/7";

impl TestGate {
    async fn token_of(
        &self,
        id: LicenseId,
        lifetime: Option<Duration>,
    ) -> Result<IssuedToken, Refused> {
        let path = NormalPath::parse(PATH).unwrap();
        let request = IssueToken {
            holder: Holder::License(id),
            app: None,
            method: Method::Get,
            path: &path,
            address: None,
            lifetime,
        };
        self.gate.issue_token(self.worker(), request).await
    }

    async fn token(&self, id: LicenseId) -> String {
        let issued = self.token_of(id, None).await.unwrap();
        issued.secret.expose().to_owned()
    }

    async fn present(&self, method: &str, path: &str, token: &str) -> Result<Admitted, Refused> {
        let worker = self.worker();
        let routed = self.gate.route(worker, HOST, method, path.as_bytes())?;
        let request = CallRequest {
            presented: Presented::Token(token.as_bytes()),
            ..call(path, "")
        };
        self.gate.admit(worker, routed, request).await
    }

    async fn consume(&self, token: &str, status: u16) -> Result<ConsumedToken, Refused> {
        self.gate
            .consume_token(self.worker(), consume(token, status))
            .await
    }

    async fn state(&self, token: &str) -> TokenState {
        let found = self.licensing.token(token.as_bytes()).await.unwrap();
        found.unwrap().state
    }

    async fn becomes(&self, token: &str, state: TokenState) {
        eventually("what became of the token is kept", async || {
            self.state(token).await == state
        })
        .await;
    }
}

const fn consume(token: &str, status: u16) -> ConsumeToken<'_> {
    ConsumeToken {
        secret: token.as_bytes(),
        account: None,
        app: None,
        target: None,
        status,
        units: None,
        idempotency: 0,
    }
}

fn refusal<T>(result: Result<T, Refused>) -> Refusal {
    result.err().expect("it is refused").refusal
}

/// A gate with a route of five units.
async fn fixture() -> TestGate {
    let mut paid = route("/reports");
    (paid.units, paid.max_units) = (5, 5);
    let mut api = app("api");
    api.routes = vec![paid, route("/free")];
    TestGate::with_app(api).await
}

#[tokio::test]
async fn a_token_holds_its_units_and_a_call_with_it_is_one_record() {
    let fixture = fixture().await;
    let (id, _) = fixture.license(remaining(12)).await;
    let token = fixture.token(id).await;
    fixture.assert_left(id, 7).await;
    assert!(fixture.records().is_empty(), "issuing is no call");
    let admitted = fixture.present("GET", PATH, &token).await.unwrap();
    let call_id = admitted.call_id();
    assert_eq!(fixture.state(&token).await, TokenState::Claimed);
    let mut forwarding = admitted.mark().unwrap();
    forwarding.sending();
    let (committed, durable) = forwarding.commit(200, true);
    durable.await.unwrap();
    committed.close(&delivered(fixture.worker()));
    fixture.becomes(&token, TokenState::Consumed).await;
    let record = fixture.record();
    assert_eq!(
        (record.head.call_id, record.head.mode),
        (call_id, Mode::Token)
    );
    assert!(record.head.limited && record.tail.billable);
    assert_eq!((record.tail.units, record.tail.spent), (5, 5));
    fixture.assert_left(id, 7).await;
    assert_eq!(
        refusal(fixture.present("GET", PATH, &token).await),
        Refusal::TokenInvalid
    );
    let kept = fixture.licensing.token(token.as_bytes()).await.unwrap();
    assert_eq!(kept.unwrap().status, Some(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_parallel_consumes_one_succeeds_and_one_is_charged() {
    let fixture = Arc::new(fixture().await);
    let (id, _) = fixture.license(remaining(5)).await;
    let token = fixture.token(id).await;
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (fixture, token) = (fixture.clone(), token.clone());
        tries.spawn(async move {
            if number % 2 == 0 {
                fixture.consume(&token, 200).await.is_ok()
            } else {
                let admitted = fixture.present("GET", PATH, &token).await;
                let won = admitted.is_ok();
                if let Ok(admitted) = admitted {
                    let mut forwarding = admitted.mark().unwrap();
                    forwarding.sending();
                    let (committed, _durable) = forwarding.commit(200, true);
                    committed.close(&delivered(fixture.worker()));
                }
                won
            }
        });
    }
    let won = tries
        .join_all()
        .await
        .into_iter()
        .filter(|won| *won)
        .count();
    assert_eq!(won, 1);
    let record = fixture.record();
    assert_eq!((record.head.mode, record.tail.spent), (Mode::Token, 5));
    fixture.becomes(&token, TokenState::Consumed).await;
    fixture.assert_left(id, 0).await;
}

#[tokio::test]
async fn a_token_consumed_with_another_status_is_spent_and_costs_nothing() {
    let fixture = fixture().await;
    let (id, _) = fixture.license(remaining(5)).await;
    let token = fixture.token(id).await;
    let consumed = fixture.consume(&token, 500).await.unwrap();
    assert_eq!(consumed.token.state, TokenState::Consumed);
    assert!(!consumed.spent.billable);
    assert_eq!(
        refusal(fixture.consume(&token, 200).await),
        Refusal::TokenInvalid
    );
    let record = fixture.record();
    assert_eq!((record.head.status, record.tail.spent), (500, 0));
    assert_eq!(record.tail.outcome, Outcome::Delivered);
    fixture.assert_left(id, 5).await;
}

#[tokio::test]
async fn a_token_is_for_its_method_its_path_its_app_and_its_time() {
    let fixture = fixture().await;
    let (id, _) = fixture.license(remaining(10)).await;
    let token = fixture.token(id).await;
    for (method, path) in [("POST", PATH), ("GET", "/reports/8"), ("GET", "/free")] {
        assert_eq!(
            refusal(fixture.present(method, path, &token).await),
            Refusal::TokenMismatch
        );
    }
    let (other, account) = ("other".parse().unwrap(), "acme".parse().unwrap());
    let path = NormalPath::parse("/free").unwrap();
    for (consume, expected) in [
        (
            ConsumeToken {
                app: Some(&other),
                ..consume(&token, 200)
            },
            Refusal::TokenInvalid,
        ),
        (
            ConsumeToken {
                account: Some(&account),
                ..consume(&token, 200)
            },
            Refusal::TokenInvalid,
        ),
        (
            ConsumeToken {
                target: Some((Method::Get, &path)),
                ..consume(&token, 200)
            },
            Refusal::TokenMismatch,
        ),
    ] {
        let consumed = fixture.gate.consume_token(fixture.worker(), consume).await;
        assert_eq!(refusal(consumed), expected);
    }
    assert_eq!(fixture.state(&token).await, TokenState::Issued);
    fixture.clock.advance(Duration::from_secs(300));
    for result in [
        refusal(fixture.present("GET", PATH, &token).await),
        refusal(fixture.consume(&token, 200).await),
        refusal(
            fixture
                .consume("0a1b2c3d-0000-1111-2222-0123456789abcdef", 200)
                .await,
        ),
        refusal(fixture.consume("garbage", 200).await),
    ] {
        assert_eq!(result, Refusal::TokenInvalid);
    }
    assert_eq!(fixture.state(&token).await, TokenState::Expired);
    fixture.assert_left(id, 10).await;
}

#[tokio::test]
async fn a_license_that_was_revoked_meanwhile_is_refused() {
    let fixture = fixture().await;
    let (id, _) = fixture.license(remaining(5)).await;
    let token = fixture.token(id).await;
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Revoked)
        .await
        .unwrap();
    assert_eq!(
        refusal(fixture.present("GET", PATH, &token).await),
        Refusal::LicenseRevoked
    );
    assert_eq!(
        refusal(fixture.consume(&token, 200).await),
        Refusal::LicenseRevoked
    );
    assert_eq!(
        refusal(fixture.token_of(id, None).await),
        Refusal::LicenseRevoked
    );
    let charged = fixture.records().iter().any(|record| record.tail.billable);
    assert!(!charged);
}

#[tokio::test]
async fn a_token_whose_call_reached_nobody_can_be_used_again() {
    let fixture = fixture().await;
    let (id, _) = fixture.license(remaining(5)).await;
    let token = fixture.token(id).await;
    let room = {
        drop(fixture.present("GET", PATH, &token).await.unwrap());
        fixture.becomes(&token, TokenState::Issued).await;
        fixture.room()
    };
    let unsent = fixture.present("GET", PATH, &token).await.unwrap();
    let unsent = unsent.mark().unwrap();
    let closing = broken(fixture.worker(), model::Blame::Caller, false);
    unsent.abandon(Failure::CallerLeft, &closing);
    fixture.becomes(&token, TokenState::Issued).await;
    let refused = fixture.present("GET", PATH, &token).await.unwrap();
    let (committed, _durable) = refused.mark().unwrap().commit(502, false);
    committed.close(&broken(fixture.worker(), model::Blame::Upstream, false));
    fixture.becomes(&token, TokenState::Issued).await;
    fixture.assert_nothing_held(&room);
    fixture.assert_left(id, 0).await;
    let mut sent = fixture
        .present("GET", PATH, &token)
        .await
        .unwrap()
        .mark()
        .unwrap();
    sent.sending();
    drop(sent);
    fixture.becomes(&token, TokenState::Consumed).await;
    let spent: Vec<u64> = fixture.records().iter().map(|r| r.tail.spent).collect();
    assert_eq!(spent, [0, 0, 0], "nothing was delivered");
    fixture.assert_left(id, 5).await;
}

#[tokio::test]
async fn a_rate_limit_refuses_the_call_and_leaves_the_token() {
    let fixture = fixture().await;
    let limits = Limits {
        rate_limits: vec!["1/1m".parse().unwrap()],
        ..remaining(10)
    };
    let (id, key) = fixture.license(limits).await;
    let token = fixture.token(id).await;
    drop(
        fixture
            .admit_on(0, "/free", &key)
            .await
            .unwrap()
            .mark()
            .unwrap(),
    );
    assert_eq!(
        refusal(fixture.consume(&token, 200).await),
        Refusal::RateLimited
    );
    assert_eq!(
        refusal(fixture.present("GET", PATH, &token).await),
        Refusal::RateLimited
    );
    fixture.becomes(&token, TokenState::Issued).await;
    fixture.pass(Duration::from_secs(60));
    fixture.consume(&token, 200).await.unwrap();
    fixture.assert_left(id, 5).await;
}

#[tokio::test]
async fn more_tokens_than_there_are_units_are_not_issued() {
    let fixture = fixture().await;
    let (id, _) = fixture.license(remaining(12)).await;
    for _ in 0..2 {
        fixture.token(id).await;
    }
    assert_eq!(
        refusal(fixture.token_of(id, None).await),
        Refusal::QuotaExhausted
    );
    let (id, _) = fixture
        .issue(licensing::IssueRequest {
            spec: LicenseSpec {
                permissions: vec!["GET /free".parse().unwrap()],
                ..LicenseSpec::default()
            },
            ..request("api", Limits::default())
        })
        .await;
    assert_eq!(
        refusal(fixture.token_of(id, None).await),
        Refusal::RouteNotPermitted
    );
}

#[tokio::test]
async fn what_expires_unused_gives_its_units_to_the_next_call() {
    let fixture = fixture().await;
    let (id, key) = fixture.license(remaining(5)).await;
    let brief = Some(Duration::from_secs(1));
    fixture.token_of(id, brief).await.unwrap();
    assert_eq!(fixture.refusal(PATH, &key).await, Refusal::QuotaExhausted);
    fixture.pass(Duration::from_secs(10));
    fixture.assert_left(id, 5).await;
    // That nothing is left is believed for a while.
    fixture.pass(Duration::from_secs(10));
    fixture.admit_on(0, PATH, &key).await.unwrap();
}

#[tokio::test]
async fn a_token_outlives_a_balance_that_was_set_anew_and_draws_on_the_new_one() {
    let fixture = fixture().await;
    let (id, key) = fixture.license(remaining(5)).await;
    let token = fixture.token(id).await;
    let limits = remaining(6);
    fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_limits(id, limits, true)
        .await
        .unwrap();
    fixture.admit_on(0, "/free", &key).await.unwrap();
    fixture.consume(&token, 200).await.unwrap();
    fixture.assert_left(id, 1).await;
}

#[tokio::test]
async fn its_holder_confirms_or_disputes_what_was_reported() {
    let fixture = fixture().await;
    let (id, _) = fixture.license(remaining(5)).await;
    let token = fixture.token(id).await;
    let confirm = async |id, status| {
        fixture
            .licensing
            .confirm_token(token.as_bytes(), id, status)
            .await
    };
    assert!(confirm(id, 200).await.is_err(), "nobody used it yet");
    fixture.consume(&token, 200).await.unwrap();
    assert!(confirm(LicenseId::generate(), 200).await.is_err());
    assert_eq!(confirm(id, 500).await.unwrap().state, TokenState::Disputed);
    assert_eq!(confirm(id, 200).await.unwrap().state, TokenState::Confirmed);
}
