//! Uses that another license pays for, such as the wallet of an account.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod support;

use std::sync::Arc;

use gate::{Holder, Payer, Refused, Spend, Spent};
use licensing::IssueRequest;
use model::{
    AccountName, CallId, LicenseId, LicenseStatus, Limits, Mode, Outcome, Refusal, Symbol,
};

use store::Adjustment;

use support::{Setup, TestGate, app, remaining, request};

impl TestGate {
    async fn pay(&self, user: LicenseId, payer: LicenseId, units: u64) -> Result<Spent, Refused> {
        let spend = Spend {
            payer: Payer::Other(Holder::License(payer)),
            units: Some(units),
            ..Spend::one(Holder::License(user), Mode::Verify)
        };
        self.gate.spend(self.worker(), spend).await
    }

    async fn set_status(&self, id: LicenseId, status: LicenseStatus) {
        let acting = self.licensing.acting(model::Actor::OPERATOR);
        acting.set_status(id, status).await.unwrap();
    }
}

fn refusal(result: Result<Spent, Refused>) -> Refusal {
    result.expect_err("it is refused").refusal
}

#[tokio::test]
async fn the_payers_units_are_taken_and_the_record_names_both() {
    let fixture = TestGate::new().await;
    let room = fixture.room();
    // Limits of its own, which a second use would break if they were touched.
    let own = Limits {
        rate_limits: vec!["1/1h".parse().unwrap()],
        ..remaining(1)
    };
    let (user, _) = fixture.license(own).await;
    let (payer, _) = fixture.license(remaining(5)).await;
    for left in [3, 1] {
        let spent = fixture.pay(user, payer, 2).await.unwrap();
        assert_eq!((spent.units, spent.left), (2, Some(left)));
        assert_eq!(spent.entry.license().id, user);
        let records = fixture.records();
        let record = records
            .iter()
            .find(|record| record.head.call_id == spent.call_id)
            .unwrap();
        assert_eq!(record.head.license_id, Some(user));
        assert_eq!(record.tail.payer, Some(payer.as_u128()));
        assert_eq!(record.draws_on(), Some(payer));
        assert!(record.head.limited && !record.head.windowed);
        assert_eq!((record.tail.units, record.tail.spent), (2, 2));
        assert_eq!(record.tail.outcome, Outcome::Delivered);
        // The plan of the app prices what its users pay, not what their seller does.
        assert_eq!(record.head.plan, Symbol::NONE);
    }
    // One unit is left, and two are asked for.
    let refused = fixture.pay(user, payer, 2).await;
    assert_eq!(refusal(refused), Refusal::QuotaExhausted);
    let records = fixture.records();
    assert_eq!(records.len(), 3);
    assert_eq!(records[2].head.license_id, Some(user));
    assert_eq!(records[2].tail.refusal, Some(Refusal::QuotaExhausted));
    assert_eq!(records[2].tail.payer, None, "nothing was paid");
    fixture.pay(user, payer, 1).await.unwrap();
    fixture.assert_left(payer, 0).await;
    fixture.assert_left(user, 1).await;
    fixture.assert_nothing_held(&room);
}

#[tokio::test]
async fn the_units_of_a_payer_stay_spent_even_where_nothing_is_billed() {
    let mut free = app("api");
    free.billable = vec![];
    let fixture = TestGate::with_app(free).await;
    let (user, _) = fixture.license(Limits::default()).await;
    let (payer, _) = fixture.license(remaining(3)).await;
    let spent = fixture.pay(user, payer, 2).await.unwrap();
    assert!(!spent.billable);
    assert_eq!(fixture.record().tail.spent, 2);
    fixture.assert_left(payer, 1).await;
}

#[tokio::test]
async fn a_payer_that_may_not_be_used_pays_nothing_and_a_user_is_refused_for_its_own_state() {
    let fixture = TestGate::new().await;
    let (user, _) = fixture.license(remaining(1)).await;
    let (payer, _) = fixture.license(remaining(5)).await;
    fixture.set_status(payer, LicenseStatus::Disabled).await;
    let refused = fixture.pay(user, payer, 1).await;
    assert_eq!(refusal(refused), Refusal::QuotaExhausted);
    fixture.set_status(payer, LicenseStatus::Active).await;
    fixture.pay(user, payer, 1).await.unwrap();
    let nobody = fixture.pay(user, LicenseId::generate(), 1).await;
    assert_eq!(refusal(nobody), Refusal::QuotaUnavailable);
    fixture.set_status(user, LicenseStatus::Revoked).await;
    let refused = fixture.pay(user, payer, 1).await;
    assert_eq!(refusal(refused), Refusal::LicenseRevoked);
    fixture.assert_left(payer, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_users_at_once_never_take_more_than_their_payer_has() {
    let fixture = Arc::new(TestGate::of(Setup::default()).await);
    let (payer, _) = fixture.license(remaining(20)).await;
    let users: Vec<_> = fixture
        .licensing
        .acting(model::Actor::OPERATOR)
        .issue(IssueRequest {
            quantity: 16,
            ..request("api", Limits::default())
        })
        .await
        .unwrap();
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..96 {
        let fixture = fixture.clone();
        let user = users[number % users.len()].license.license.id;
        let worker = number % 2;
        tries.spawn(async move {
            let spend = Spend {
                payer: Payer::Other(Holder::License(payer)),
                call_id: Some(CallId::from_u128(number as u128 + 1)),
                ..Spend::one(Holder::License(user), Mode::Verify)
            };
            fixture.gate.spend(&fixture.workers[worker], spend).await
        });
    }
    let results = tries.join_all().await;
    let passed = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(passed, 20);
    let others = results.into_iter().filter_map(Result::err);
    assert!(
        others
            .into_iter()
            .all(|refused| refused.refusal == Refusal::QuotaExhausted)
    );
    let spent: u64 = fixture.records().iter().map(|r| r.tail.spent).sum();
    assert_eq!(spent, 20);
    fixture.assert_left(payer, 0).await;
}

#[tokio::test]
async fn five_credits_of_an_account_pay_five_uses_and_the_sixth_is_refused_until_there_is_more() {
    let fixture = TestGate::new().await;
    let account = AccountName::default();
    let (user, _) = fixture.license(Limits::default()).await;
    let acting = fixture.licensing.acting(model::Actor::OPERATOR);
    let use_one = async || {
        let wallet = fixture.licensing.wallet(&account).await.unwrap();
        let spend = Spend {
            payer: match &wallet {
                Some(wallet) => Payer::Other(Holder::Found(wallet)),
                None => Payer::Nobody,
            },
            ..Spend::one(Holder::License(user), Mode::Verify)
        };
        fixture.gate.spend(fixture.worker(), spend).await
    };
    // Without a wallet credits are not counted.
    assert_eq!(use_one().await.unwrap().left, None);
    let credit = Adjustment::Credit(5);
    acting
        .adjust_account(&account, credit, "a test")
        .await
        .unwrap();
    for left in (0..5).rev() {
        assert_eq!(use_one().await.unwrap().left, Some(left));
    }
    assert_eq!(refusal(use_one().await), Refusal::QuotaExhausted);
    let credit = Adjustment::Credit(1);
    acting
        .adjust_account(&account, credit, "a test")
        .await
        .unwrap();
    use_one().await.unwrap();
    assert_eq!(refusal(use_one().await), Refusal::QuotaExhausted);
    let payers = fixture
        .records()
        .into_iter()
        .filter_map(|record| record.tail.payer);
    assert_eq!(
        payers.collect::<Vec<_>>(),
        [LicenseId::of_wallet(&account).as_u128(); 6]
    );
}
