//! Uses whose units are taken first and recorded later, and uses that nobody pays for.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod support;

use gate::{Holder, Payer, Spend};
use model::{CallId, Limits, Mode, Refusal, Symbol};

use support::{TestGate, remaining};

#[tokio::test]
async fn units_that_are_held_come_back_when_the_use_comes_to_nothing() {
    let fixture = TestGate::new().await;
    let room = fixture.room();
    let (user, _) = fixture.license(Limits::default()).await;
    let (payer, _) = fixture.license(remaining(1)).await;
    let spend = Spend {
        payer: Payer::Other(Holder::License(payer)),
        ..Spend::one(Holder::License(user), Mode::Verify)
    };
    let held = fixture.gate.hold(fixture.worker(), spend).await.unwrap();
    let second = fixture.gate.hold(fixture.worker(), spend).await;
    let refused = second.expect_err("the only unit is held");
    assert_eq!(refused.refusal, Refusal::QuotaExhausted);
    drop(held);
    let mut held = fixture.gate.hold(fixture.worker(), spend).await.unwrap();
    let begun = CallId::from_u128(0xabc1);
    held.set_call_id(begun);
    let spent = held.record().await.unwrap();
    assert_eq!((spent.call_id, spent.left), (begun, Some(0)));
    let records = fixture.records();
    let mut paid = records.iter().filter(|record| record.tail.spent == 1);
    assert_eq!(paid.next().unwrap().head.call_id, begun);
    assert!(paid.next().is_none());
    fixture.assert_left(payer, 0).await;
    fixture.assert_nothing_held(&room);
}

#[tokio::test]
async fn a_use_that_nobody_pays_for_is_recorded_and_touches_no_limit() {
    let fixture = TestGate::new().await;
    let limits = Limits {
        rate_limits: vec!["1/1h".parse().unwrap()],
        ..remaining(1)
    };
    let (user, _) = fixture.license(limits).await;
    for _ in 0..3 {
        let spend = Spend {
            payer: Payer::Nobody,
            ..Spend::one(Holder::License(user), Mode::Verify)
        };
        let spent = fixture.gate.spend(fixture.worker(), spend).await.unwrap();
        assert_eq!((spent.units, spent.left), (1, None));
    }
    let records = fixture.records();
    assert_eq!(records.len(), 3);
    for record in records {
        assert_eq!(record.head.license_id, Some(user));
        assert!(!record.head.limited && !record.head.windowed);
        assert_eq!(record.head.plan, Symbol::NONE);
    }
    fixture.assert_left(user, 1).await;
}
