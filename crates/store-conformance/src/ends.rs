//! The properties of the ends of licenses: each is told once, with what a receiver needs of a license
//! that is gone.

use std::sync::Arc;

use model::{
    AppName, Clock, Device, EventType, InstanceId, LicenseStatus, Limits, SystemClock, Timestamp,
    WebhookForm,
};
use store::{LicenseChange, RollupBatch, SealedKey};

use crate::StoreFactory;
use crate::events::{change, create, kinds, roll_up, told};
use crate::fixtures::{batch, hours, new_credential, new_license};
use crate::webhooks::{event, hooks, keep, new_webhook};

/// The end of a license is told 7 days ahead, 1 day ahead and when it has come, once each, however
/// many gates look, and anew when it is set anew.
pub async fn the_end_of_a_license_is_told_ahead_and_once<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut only_ends = new_webhook();
    only_ends.webhook.events = vec![EventType::LicenseExpiring, EventType::LicenseExpired];
    let webhook = keep(&store, only_ends).await;
    let day = |days: i64| hours(days * 24);
    let note = async |now: Timestamp| {
        let mut looking = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let store = Arc::clone(&store);
            looking.spawn(async move {
                while hooks(&store).note_expiring(now, 2).await.expect("answers") > 0 {}
            });
        }
        looking.join_all().await;
    };
    note(day(0)).await;
    let ending = |end: Timestamp| {
        let mut new = new_license(Limits::default());
        new.license.spec.expires_at = Some(end);
        new
    };
    let many: Vec<_> = (0..5).map(|_| ending(day(30))).collect();
    let (near, other) = (ending(day(3)), {
        let mut other = ending(day(30));
        other.license.account = "else".parse().expect("valid");
        other
    });
    let (near_id, ids) = (
        near.license.id,
        many.iter().map(|new| new.license.id).collect::<Vec<_>>(),
    );
    create(&store, many).await;
    create(&store, vec![near, other]).await;
    let seen = async || {
        let all = told(&store, webhook).await.into_iter();
        let mut all: Vec<_> = all
            .map(|event| {
                (
                    event.kind,
                    event.license_id,
                    event.data.get("days").and_then(serde_json::Value::as_i64),
                )
            })
            .collect();
        all.sort();
        all
    };
    note(day(1)).await;
    assert_eq!(seen().await, [], "nothing comes near");
    let (soon, over) = (EventType::LicenseExpiring, EventType::LicenseExpired);
    note(day(2).plus_micros(6_000_000)).await;
    let mut expected = vec![(soon, Some(near_id), Some(1))];
    assert_eq!(seen().await, expected);
    note(day(23).plus_micros(6_000_000)).await;
    expected.push((over, Some(near_id), None));
    expected.extend(ids.iter().map(|id| (soon, Some(*id), Some(7))));
    expected.sort();
    assert_eq!(seen().await, expected);
    // One is prolonged, one is switched off; the others end.
    change(&store, ids[0], LicenseChange::ExpiresAt(Some(day(60)))).await;
    change(
        &store,
        ids[1],
        LicenseChange::Status(LicenseStatus::Disabled),
    )
    .await;
    note(day(30).plus_micros(6_000_000)).await;
    expected.extend(ids[2..].iter().map(|id| (over, Some(*id), None)));
    expected.sort();
    assert_eq!(seen().await, expected, "the day ahead had passed unseen");
    note(day(53).plus_micros(6_000_000)).await;
    expected.push((soon, Some(ids[0]), Some(7)));
    expected.sort();
    assert_eq!(seen().await, expected);
    let event = told(&store, webhook).await.pop().expect("it was told");
    assert_eq!(event.app, "api".parse::<AppName>().expect("valid"));
    assert_eq!(event.data["status"], "active");
}

/// A clock that goes back for a while skips none of the licenses that end at one moment.
pub async fn the_end_of_a_license_is_told_although_a_clock_went_back<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let webhook = keep(&store, new_webhook()).await;
    let day = |days: i64| hours(days * 24).plus_micros(6_000_000);
    let note = async |now| hooks(&store).note_expiring(now, 1).await.expect("answers");
    note(day(0)).await;
    let ending = (0..3).map(|_| {
        let mut new = new_license(Limits::default());
        new.license.spec.expires_at = Some(hours(30 * 24));
        new
    });
    create(&store, ending.collect()).await;
    assert_eq!(note(day(23)).await, 1, "one of the three");
    assert_eq!(note(day(22)).await, 0);
    while note(day(23)).await > 0 {}
    let kinds = kinds(&store, webhook).await;
    let soon = kinds
        .iter()
        .filter(|kind| **kind == EventType::LicenseExpiring);
    assert_eq!(soon.count(), 3, "{kinds:?}");
}

/// An end is told with its own time, once, whether it was noticed before the license was revoked or
/// not; nothing is written for a look that finds nothing.
pub async fn an_end_is_told_although_its_license_is_revoked_at_once<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut only_ends = new_webhook();
    only_ends.webhook.events = vec![EventType::LicenseExpired];
    let webhook = keep(&store, only_ends).await;
    let now = SystemClock.now();
    let note =
        async |now| while hooks(&store).note_expiring(now, 10).await.expect("answers") > 0 {};
    note(now).await;
    let end = now.plus_micros(-1_000_000);
    let ended = || {
        let mut new = new_license(Limits::default());
        new.license.spec.expires_at = Some(end);
        new
    };
    let (hidden, seen) = (ended(), ended());
    let ids = [hidden.license.id, seen.license.id];
    create(&store, vec![hidden, seen]).await;
    let revoke = async |id| {
        change(&store, id, LicenseChange::Status(LicenseStatus::Revoked)).await;
    };
    revoke(ids[0]).await;
    note(now.plus_micros(900_000)).await;
    assert_eq!(
        told(&store, webhook).await.len(),
        1,
        "the other waits for two seconds"
    );
    note(now.plus_micros(1_100_000)).await;
    revoke(ids[1]).await;
    note(now.plus_micros(10_000_000)).await;
    let told = told(&store, webhook).await;
    let told: Vec<_> = told.iter().map(|e| (e.license_id, e.kind, e.at)).collect();
    assert_eq!(
        told,
        ids.map(|id| (Some(id), EventType::LicenseExpired, end))
    );
}

/// A copy of the key of a license that is gone is kept for its events where a webhook tells keys,
/// and goes with the events.
pub async fn the_key_of_a_license_that_is_gone_is_kept_for_its_events<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let revoked = async || {
        let mut new = new_license(Limits::default());
        new.credentials = vec![new_credential(), new_credential()];
        new.credentials[1].sealed = Some(SealedKey::new(b"sealed".to_vec()));
        let (id, key) = (new.license.id, new.credentials[1].info.id);
        create(&store, vec![new]).await;
        change(&store, id, LicenseChange::Status(LicenseStatus::Revoked)).await;
        assert_eq!(store.sealed_keys(id).await, Ok(Vec::new()));
        (id, key)
    };
    let kept = async |id| hooks(&store).told_keys(id).await.expect("answers");
    keep(&store, new_webhook()).await;
    assert_eq!(kept(revoked().await.0).await, [], "nobody is told of it");
    let mut tells_keys = new_webhook();
    tells_keys.webhook.form = WebhookForm::Authforge;
    keep(&store, tells_keys).await;
    let (id, key) = revoked().await;
    let copy = (key, SealedKey::new(b"sealed".to_vec()));
    assert_eq!(kept(id).await, std::slice::from_ref(&copy));
    let now = SystemClock.now();
    let sweep = async |before| {
        hooks(&store)
            .sweep_events(before, 1_000)
            .await
            .expect("answers")
    };
    sweep(now.plus_micros(-Timestamp::HOUR)).await;
    assert_eq!(kept(id).await, [copy], "its events are kept, too");
    sweep(now.plus_micros(Timestamp::HOUR)).await;
    assert_eq!(kept(id).await, []);
}

/// The ledger knows a device by its digest. Who is told of it gets its name, if the license is bound
/// to it.
pub async fn a_device_is_told_by_its_name_if_the_license_is_bound_to_it<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut only = new_webhook();
    only.webhook.events = vec![EventType::LicenseValidated];
    let webhook = keep(&store, only).await;
    let mut new = new_license(Limits::default());
    new.devices = ["one", "two"]
        .map(|id| Device {
            id: id.parse().expect("valid"),
            bound_at: hours(0),
        })
        .to_vec();
    let (known, unknown) = (new.devices[1].id.digest(), new.devices[1].id.digest() ^ 1);
    let license = new.license.id.as_u128();
    create(&store, vec![new]).await;
    let events = [Some(known), Some(unknown), None].map(|digest| {
        let mut event = event(EventType::LicenseValidated, license, hours(1));
        if let Some(digest) = digest {
            event
                .data
                .insert(store::DEVICE_DIGEST.to_owned(), digest.into());
        }
        event
    });
    let batch = RollupBatch {
        events: events.to_vec(),
        ..batch(InstanceId::generate(), 0, Vec::new())
    };
    roll_up(&store, batch).await;
    let told = told(&store, webhook).await;
    let devices: Vec<_> = told.iter().map(|event| event.data.get("device")).collect();
    assert_eq!(devices, [Some(&"two".into()), None, None]);
    let has_digest = |event: &model::Event| event.data.contains_key(store::DEVICE_DIGEST);
    assert!(!told.iter().any(has_digest), "{told:?}");
}
