//! Tests of stamps: they are recorded once, signed, and completed after a crash.

use std::sync::Arc;

use control::protocol::Fault;
use control::{Stamp, StampError, StampRequest};
use gate::Holder;
use licensing::{Idempotency, IdempotentRequest};
use model::{CallId, LicenseId, LicenseStatus, Method, NormalPath, Refusal};
use store::ClaimKind;

use crate::support::World;

const PATH: &str = "/reports/7";

impl World {
    async fn stamp(&self, license: LicenseId, id: Option<&str>) -> Result<Stamp, StampError> {
        self.stamp_status(license, id, 200).await
    }

    async fn stamp_status(
        &self,
        license: LicenseId,
        id: Option<&str>,
        status: u16,
    ) -> Result<Stamp, StampError> {
        let path = NormalPath::parse(PATH).unwrap();
        let request = StampRequest {
            id,
            holder: Holder::License(license),
            account: None,
            app: None,
            method: Method::Get,
            path: &path,
            status,
            units: None,
        };
        self.services.stamp(&request).await
    }

    async fn licensed(&self, remaining: u64) -> LicenseId {
        let body = format!(r#"{{"app":"api","remaining":{remaining}}}"#);
        let license = self.license(&body).await;
        license["id"].as_str().unwrap().parse().unwrap()
    }

    async fn call_ids(&self, license: LicenseId) -> Vec<String> {
        let page = self.get(&format!("/calls?license={license}")).await;
        let calls = page["items"].as_array().unwrap();
        assert!(calls.iter().all(|call| call["mode"] == "stamp"));
        calls
            .iter()
            .map(|call| call["call_id"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[tokio::test]
async fn a_report_sent_twice_is_one_record_and_the_same_signed_stamp() {
    let world = World::start().await;
    let license = world.licensed(5).await;
    let first = world.stamp(license, Some("r-1")).await.unwrap();
    let again = world.stamp(license, Some("r-1")).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(world.call_ids(license).await, [first.call_id.to_string()]);
    assert!(first.billable && !first.over_quota);
    let content = world.signing.verify_stamp(&first.signed).unwrap();
    assert_eq!(content["call_id"], first.call_id.to_string());
    assert_eq!(content["path"], PATH);
    assert!(!content.contains_key("signed"));
    let other = world.stamp_status(license, Some("r-1"), 500).await;
    assert!(matches!(other, Err(StampError::Conflict)), "{other:?}");
    for _ in 0..2 {
        world.stamp(license, None).await.unwrap();
    }
    assert_eq!(world.call_ids(license).await.len(), 3);
    let long = world.stamp(license, Some(&"x".repeat(256))).await;
    assert!(matches!(long, Err(StampError::Id)));
}

#[tokio::test]
async fn a_report_beyond_the_quota_is_recorded_and_says_so_and_a_revoked_license_is_refused() {
    let world = World::start().await;
    let license = world.licensed(1).await;
    assert!(!world.stamp(license, Some("a")).await.unwrap().over_quota);
    let beyond = world.stamp(license, Some("b")).await.unwrap();
    assert!(beyond.over_quota && beyond.billable);
    let free = world.stamp_status(license, Some("c"), 404).await.unwrap();
    assert!(!free.over_quota && !free.billable);
    let revoked = world
        .services
        .licensing()
        .acting(model::Actor::OPERATOR)
        .set_status(license, LicenseStatus::Revoked)
        .await;
    revoked.unwrap();
    match world.stamp(license, Some("d")).await {
        Err(StampError::Refused(refused)) => assert_eq!(refused.refusal, Refusal::LicenseRevoked),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.stamp(license, Some("b")).await.unwrap(), beyond);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_reports_of_one_call_one_is_recorded() {
    let world = Arc::new(World::start().await);
    let license = world.licensed(100).await;
    let mut reports = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let world = world.clone();
        reports.spawn(async move {
            loop {
                match world.stamp(license, Some("r")).await {
                    Err(StampError::InProgress) => tokio::task::yield_now().await,
                    other => return other.unwrap(),
                }
            }
        });
    }
    let stamps = reports.join_all().await;
    assert!(stamps.iter().all(|stamp| *stamp == stamps[0]));
    assert_eq!(world.call_ids(license).await.len(), 1);
}

/// Makes the claim of a report that broke off, as a gate that died leaves it.
async fn broken_off(world: &World, license: LicenseId, id: &str, call_id: CallId) {
    let once = IdempotentRequest {
        kind: ClaimKind::Stamp,
        name: &[b"default", b"api", id.as_bytes()],
        content: &[
            &license.as_u128().to_le_bytes(),
            b"GET",
            PATH.as_bytes(),
            &200_u16.to_le_bytes(),
            b"",
        ],
        reference: call_id.as_u128(),
        prepared: None,
        waits_for_disk: true,
        lifetime: StampRequest::REMEMBERED,
        dead: &[],
    };
    let claim = world.services.licensing().once(&once).await.unwrap();
    assert!(matches!(claim, Idempotency::Run(_)));
}

#[tokio::test]
async fn a_report_that_broke_off_before_its_record_is_completed_with_the_same_call_id() {
    let world = World::start().await;
    let license = world.licensed(5).await;
    let call_id = CallId::generate();
    broken_off(&world, license, "r", call_id).await;
    let stamp = world.stamp(license, Some("r")).await.unwrap();
    assert_eq!(stamp.call_id, call_id);
    assert_eq!(world.call_ids(license).await, [call_id.to_string()]);
}

#[tokio::test]
async fn a_report_that_broke_off_after_its_record_makes_no_second_one() {
    let world = World::start().await;
    let license = world.licensed(5).await;
    let path = NormalPath::parse(PATH).unwrap();
    let call_id = CallId::generate();
    broken_off(&world, license, "r", call_id).await;
    let spend = gate::Spend {
        target: Some((Method::Get, &path)),
        call_id: Some(call_id),
        ..gate::Spend::one(Holder::License(license), model::Mode::Stamp)
    };
    world.services.spender().spend(spend).await.unwrap();
    let stamp = world.stamp(license, Some("r")).await.unwrap();
    assert_eq!((stamp.call_id, stamp.units), (call_id, 1));
    assert!(stamp.billable && !stamp.over_quota);
    assert_eq!(world.call_ids(license).await, [call_id.to_string()]);
    world.signing.verify_stamp(&stamp.signed).unwrap();
}

#[tokio::test]
async fn a_report_that_broke_off_is_not_recorded_again_while_its_record_cannot_be_looked_for() {
    let world = World::start().await;
    let license = world.licensed(5).await;
    broken_off(&world, license, "r", CallId::generate()).await;
    let other = world.license(r#"{"app":"api"}"#).await;
    world.call_without_a_disk(&other, 1, 1_790_000_000_000_000);
    let refused = world.stamp(license, Some("r")).await;
    assert!(
        matches!(refused, Err(StampError::Fault(Fault::Unavailable))),
        "{refused:?}"
    );
}
