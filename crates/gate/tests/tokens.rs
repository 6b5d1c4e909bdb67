//! Request tokens at the gate: one call each, wherever it is made, and nothing for what was not made.
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

use support::{HOST, House, app, broken, call, delivered, eventually, remaining, request, route};

const PATH: &str = "/reports/7";

impl House {
    async fn token_of(
        &self,
        id: LicenseId,
        lifetime: Option<Duration>,
    ) -> Result<IssuedToken, Refused> {
        let path = NormalPath::parse(PATH).unwrap();
        let wish = IssueToken {
            holder: Holder::License(id),
            app: None,
            method: Method::Get,
            path: &path,
            address: None,
            lifetime,
        };
        self.gate.issue_token(self.worker(), wish).await
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
            .consume_token(self.worker(), told(token, status))
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

const fn told(token: &str, status: u16) -> ConsumeToken<'_> {
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

/// A house with a route of five units.
async fn house() -> House {
    let mut paid = route("/reports");
    (paid.units, paid.most_units) = (5, 5);
    let mut api = app("api");
    api.routes = vec![paid, route("/free")];
    House::with_app(api).await
}

#[tokio::test]
async fn a_token_holds_its_units_and_a_call_with_it_is_one_record() {
    let house = house().await;
    let (id, _) = house.license(remaining(12)).await;
    let token = house.token(id).await;
    house.assert_left(id, 7).await;
    assert!(house.records().is_empty(), "issuing is no call");
    let admitted = house.present("GET", PATH, &token).await.unwrap();
    let call_id = admitted.call_id();
    assert_eq!(house.state(&token).await, TokenState::Claimed);
    let mut forwarding = admitted.mark().unwrap();
    forwarding.sending();
    let (committed, durable) = forwarding.commit(200, true);
    durable.await.unwrap();
    committed.close(&delivered(house.worker()));
    house.becomes(&token, TokenState::Consumed).await;
    let record = house.record();
    assert_eq!(
        (record.head.call_id, record.head.mode),
        (call_id, Mode::Token)
    );
    assert!(record.head.limited && record.tail.billable);
    assert_eq!((record.tail.units, record.tail.spent), (5, 5));
    house.assert_left(id, 7).await;
    assert_eq!(
        refusal(house.present("GET", PATH, &token).await),
        Refusal::TokenInvalid
    );
    let kept = house.licensing.token(token.as_bytes()).await.unwrap();
    assert_eq!(kept.unwrap().status, Some(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_parallel_consumes_one_succeeds_and_one_is_charged() {
    let house = Arc::new(house().await);
    let (id, _) = house.license(remaining(5)).await;
    let token = house.token(id).await;
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (house, token) = (house.clone(), token.clone());
        tries.spawn(async move {
            if number % 2 == 0 {
                house.consume(&token, 200).await.is_ok()
            } else {
                let admitted = house.present("GET", PATH, &token).await;
                let won = admitted.is_ok();
                if let Ok(admitted) = admitted {
                    let mut forwarding = admitted.mark().unwrap();
                    forwarding.sending();
                    let (committed, _durable) = forwarding.commit(200, true);
                    committed.close(&delivered(house.worker()));
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
    let record = house.record();
    assert_eq!((record.head.mode, record.tail.spent), (Mode::Token, 5));
    house.becomes(&token, TokenState::Consumed).await;
    house.assert_left(id, 0).await;
}

#[tokio::test]
async fn a_token_consumed_with_another_status_is_spent_and_costs_nothing() {
    let house = house().await;
    let (id, _) = house.license(remaining(5)).await;
    let token = house.token(id).await;
    let consumed = house.consume(&token, 500).await.unwrap();
    assert_eq!(consumed.token.state, TokenState::Consumed);
    assert!(!consumed.spent.billable);
    assert_eq!(
        refusal(house.consume(&token, 200).await),
        Refusal::TokenInvalid
    );
    let record = house.record();
    assert_eq!((record.head.status, record.tail.spent), (500, 0));
    assert_eq!(record.tail.outcome, Outcome::Delivered);
    house.assert_left(id, 5).await;
}

#[tokio::test]
async fn a_token_is_for_its_method_its_path_its_app_and_its_time() {
    let house = house().await;
    let (id, _) = house.license(remaining(10)).await;
    let token = house.token(id).await;
    for (method, path) in [("POST", PATH), ("GET", "/reports/8"), ("GET", "/free")] {
        assert_eq!(
            refusal(house.present(method, path, &token).await),
            Refusal::TokenMismatch
        );
    }
    let (other, account) = ("other".parse().unwrap(), "acme".parse().unwrap());
    let path = NormalPath::parse("/free").unwrap();
    for (consume, expected) in [
        (
            ConsumeToken {
                app: Some(&other),
                ..told(&token, 200)
            },
            Refusal::TokenInvalid,
        ),
        (
            ConsumeToken {
                account: Some(&account),
                ..told(&token, 200)
            },
            Refusal::TokenInvalid,
        ),
        (
            ConsumeToken {
                target: Some((Method::Get, &path)),
                ..told(&token, 200)
            },
            Refusal::TokenMismatch,
        ),
    ] {
        let consumed = house.gate.consume_token(house.worker(), consume).await;
        assert_eq!(refusal(consumed), expected);
    }
    assert_eq!(house.state(&token).await, TokenState::Issued);
    house.clock.advance(Duration::from_secs(300));
    for result in [
        refusal(house.present("GET", PATH, &token).await),
        refusal(house.consume(&token, 200).await),
        refusal(
            house
                .consume("0a1b2c3d-0000-1111-2222-0123456789abcdef", 200)
                .await,
        ),
        refusal(house.consume("garbage", 200).await),
    ] {
        assert_eq!(result, Refusal::TokenInvalid);
    }
    assert_eq!(house.state(&token).await, TokenState::Expired);
    house.assert_left(id, 10).await;
}

#[tokio::test]
async fn a_license_that_was_revoked_meanwhile_is_refused() {
    let house = house().await;
    let (id, _) = house.license(remaining(5)).await;
    let token = house.token(id).await;
    house
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Revoked)
        .await
        .unwrap();
    assert_eq!(
        refusal(house.present("GET", PATH, &token).await),
        Refusal::LicenseRevoked
    );
    assert_eq!(
        refusal(house.consume(&token, 200).await),
        Refusal::LicenseRevoked
    );
    assert_eq!(
        refusal(house.token_of(id, None).await),
        Refusal::LicenseRevoked
    );
    let charged = house.records().iter().any(|record| record.tail.billable);
    assert!(!charged);
}

#[tokio::test]
async fn a_token_whose_call_reached_nobody_can_be_used_again() {
    let house = house().await;
    let (id, _) = house.license(remaining(5)).await;
    let token = house.token(id).await;
    let room = {
        drop(house.present("GET", PATH, &token).await.unwrap());
        house.becomes(&token, TokenState::Issued).await;
        house.room()
    };
    let unsent = house.present("GET", PATH, &token).await.unwrap();
    let unsent = unsent.mark().unwrap();
    let closing = broken(house.worker(), model::Blame::Caller, false);
    unsent.abandon(Failure::CallerLeft, &closing);
    house.becomes(&token, TokenState::Issued).await;
    let refused = house.present("GET", PATH, &token).await.unwrap();
    let (committed, _durable) = refused.mark().unwrap().commit(502, false);
    committed.close(&broken(house.worker(), model::Blame::Upstream, false));
    house.becomes(&token, TokenState::Issued).await;
    house.assert_nothing_held(&room);
    house.assert_left(id, 0).await;
    let mut sent = house
        .present("GET", PATH, &token)
        .await
        .unwrap()
        .mark()
        .unwrap();
    sent.sending();
    drop(sent);
    house.becomes(&token, TokenState::Consumed).await;
    let spent: Vec<u64> = house.records().iter().map(|r| r.tail.spent).collect();
    assert_eq!(spent, [0, 0, 0], "nothing was delivered");
    house.assert_left(id, 5).await;
}

#[tokio::test]
async fn a_rate_limit_refuses_the_call_and_leaves_the_token() {
    let house = house().await;
    let limits = Limits {
        rate_limits: vec!["1/1m".parse().unwrap()],
        ..remaining(10)
    };
    let (id, key) = house.license(limits).await;
    let token = house.token(id).await;
    drop(
        house
            .admit_on(0, "/free", &key)
            .await
            .unwrap()
            .mark()
            .unwrap(),
    );
    assert_eq!(
        refusal(house.consume(&token, 200).await),
        Refusal::RateLimited
    );
    assert_eq!(
        refusal(house.present("GET", PATH, &token).await),
        Refusal::RateLimited
    );
    house.becomes(&token, TokenState::Issued).await;
    house.pass(Duration::from_secs(60));
    house.consume(&token, 200).await.unwrap();
    house.assert_left(id, 5).await;
}

#[tokio::test]
async fn more_tokens_than_there_are_units_are_not_issued() {
    let house = house().await;
    let (id, _) = house.license(remaining(12)).await;
    for _ in 0..2 {
        house.token(id).await;
    }
    assert_eq!(
        refusal(house.token_of(id, None).await),
        Refusal::QuotaExhausted
    );
    let (id, _) = house
        .issue(licensing::IssueRequest {
            spec: LicenseSpec {
                permissions: vec!["GET /free".parse().unwrap()],
                ..LicenseSpec::default()
            },
            ..request("api", Limits::default())
        })
        .await;
    assert_eq!(
        refusal(house.token_of(id, None).await),
        Refusal::RouteNotPermitted
    );
}

#[tokio::test]
async fn what_expires_unused_gives_its_units_to_the_next_call() {
    let house = house().await;
    let (id, key) = house.license(remaining(5)).await;
    let brief = Some(Duration::from_secs(1));
    house.token_of(id, brief).await.unwrap();
    assert_eq!(house.refusal(PATH, &key).await, Refusal::QuotaExhausted);
    house.pass(Duration::from_secs(10));
    house.assert_left(id, 5).await;
    // That nothing is left is believed for a while.
    house.pass(Duration::from_secs(10));
    house.admit_on(0, PATH, &key).await.unwrap();
}

#[tokio::test]
async fn a_token_outlives_a_balance_that_was_set_anew_and_draws_on_the_new_one() {
    let house = house().await;
    let (id, key) = house.license(remaining(5)).await;
    let token = house.token(id).await;
    let limits = remaining(6);
    house
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_limits(id, limits, true)
        .await
        .unwrap();
    house.admit_on(0, "/free", &key).await.unwrap();
    house.consume(&token, 200).await.unwrap();
    house.assert_left(id, 1).await;
}

#[tokio::test]
async fn its_holder_confirms_or_disputes_what_was_reported() {
    let house = house().await;
    let (id, _) = house.license(remaining(5)).await;
    let token = house.token(id).await;
    let confirm = async |id, status| {
        house
            .licensing
            .confirm_token(token.as_bytes(), id, status)
            .await
    };
    assert!(confirm(id, 200).await.is_err(), "nobody used it yet");
    house.consume(&token, 200).await.unwrap();
    assert!(confirm(LicenseId::generate(), 200).await.is_err());
    assert_eq!(confirm(id, 500).await.unwrap().state, TokenState::Disputed);
    assert_eq!(confirm(id, 200).await.unwrap().state, TokenState::Confirmed);
}
