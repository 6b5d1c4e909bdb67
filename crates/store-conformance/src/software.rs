//! The properties of devices, settings of apps and offline files.

use std::sync::Arc;

use model::{AppName, AppSettings, DeviceId, EventType, LicenseId, Limits};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::StoreFactory;
use crate::events::told;
use crate::fixtures::{changed, hours, new_license};
use crate::webhooks::{keep, new_webhook};
use store::{
    AuditEntries, Binding, ChangeNumber, LicenseChange, NewActivation, NewDevice,
    OfflineActivation, OfflineFile, SealedKey, SoftwareStore, Store, StoredAppSettings,
    StoredLicense,
};

fn software(store: &Arc<dyn Store>) -> &dyn SoftwareStore {
    store.software().expect("it keeps what software needs")
}

fn device(name: impl std::fmt::Display) -> DeviceId {
    name.to_string().parse().expect("valid")
}

/// Keeps a license of an app with slots for devices.
async fn licensed(store: &Arc<dyn Store>, app: &str, slots: Option<u8>) -> LicenseId {
    let mut new = new_license(Limits::default());
    let id = new.license.id;
    new.license.app = app.parse().expect("valid");
    new.license.spec.device_slots = slots;
    let creating = store.create_licenses(vec![new], AuditEntries::none());
    creating.await.expect("new");
    id
}

fn asking(license_id: LicenseId, name: impl std::fmt::Display) -> NewDevice {
    NewDevice {
        license_id,
        device: device(name),
        at: hours(1),
        frees_others_once: false,
    }
}

async fn bind(store: &Arc<dyn Store>, new: NewDevice) -> (Binding, StoredLicense) {
    let bound = software(store).bind_device(new, AuditEntries::none()).await;
    bound.expect("answers").expect("there is such a license")
}

fn names(stored: &StoredLicense) -> Vec<&str> {
    let names = stored.devices.iter().map(|device| device.id.as_str());
    names.collect()
}

/// Many new devices ask at once, again and again.
pub async fn parallel_devices_never_take_more_slots_than_there_are<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    for (tries, slots) in [(10, 2), (50, 16)] {
        let id = licensed(&store, "api", Some(slots)).await;
        let mut asked = JoinSet::new();
        for name in 0..tries {
            let store = Arc::clone(&store);
            asked.spawn(async move { bind(&store, asking(id, name)).await.0 });
        }
        let answers = asked.join_all().await;
        let bound = answers.iter().filter(|answer| **answer == Binding::Bound);
        assert_eq!(bound.count(), usize::from(slots), "{answers:?}");
        let full = answers.iter().filter(|answer| **answer == Binding::Full);
        assert_eq!(full.count(), tries - usize::from(slots), "{answers:?}");
        let stored = store.license(id).await.expect("answers").expect("there");
        assert_eq!(stored.devices.len(), usize::from(slots));
    }
}

/// A, B bind; A again needs no slot and changes nothing; C finds none until they are freed.
pub async fn a_device_is_bound_once_and_finds_a_slot_when_they_are_freed<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = licensed(&store, "api", Some(2)).await;
    let (binding, first) = bind(&store, asking(id, "A")).await;
    assert_eq!(binding, Binding::Bound);
    assert_eq!(first.devices[0].bound_at, hours(1));
    let (binding, second) = bind(&store, asking(id, "B")).await;
    assert_eq!(
        (binding, second.version),
        (Binding::Bound, ChangeNumber(first.version.0 + 1)),
        "a binding is a change of the license"
    );
    assert_eq!(names(&second), ["A", "B"]);
    let again = bind(&store, asking(id, "A")).await;
    assert_eq!(again, (Binding::There, second.clone()));
    let full = bind(&store, asking(id, "C")).await;
    assert_eq!(full, (Binding::Full, second.clone()));
    let kept = store.license(id).await.expect("answers");
    assert_eq!(kept, Some(second));

    let fewer = changed(&*store, id, LicenseChange::DeviceSlots(Some(1))).await;
    assert_eq!(names(&fewer), ["A", "B"], "those that are bound stay so");
    assert_eq!(bind(&store, asking(id, "B")).await.0, Binding::There);
    let free = changed(&*store, id, LicenseChange::ResetDevices).await;
    assert_eq!(free.devices, []);
    assert_eq!(free.version, ChangeNumber(fewer.version.0 + 1));
    assert_eq!(bind(&store, asking(id, "C")).await.0, Binding::Bound);
    drop(store);
    let store = place.open().await;
    let kept = store.license(id).await.expect("answers").expect("there");
    assert_eq!(names(&kept), ["C"]);
}

/// Neither a license without slots nor one whose slots are not looked at binds any.
pub async fn devices_that_are_not_counted_are_not_bound<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let without = licensed(&store, "api", None).await;
    let unlimited = licensed(&store, "api", Some(1)).await;
    changed(&*store, unlimited, LicenseChange::UnlimitedDevices(true)).await;
    for id in [without, unlimited] {
        for name in ["A", "B"] {
            let (binding, stored) = bind(&store, asking(id, name)).await;
            assert_eq!((binding, names(&stored)), (Binding::There, vec![]));
        }
    }
    let nobody = asking(LicenseId::generate(), "A");
    let bound = software(&store).bind_device(nobody, AuditEntries::none());
    assert_eq!(bound.await, Ok(None));
}

/// The first device that finds no slot frees all; the next does not, also after a reset.
pub async fn a_device_frees_the_others_once_in_the_life_of_a_license<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = licensed(&store, "api", Some(2)).await;
    for name in ["A", "B"] {
        bind(&store, asking(id, name)).await;
    }
    let freeing = move |name: u32| NewDevice {
        frees_others_once: true,
        ..asking(id, format_args!("new {name}"))
    };
    let mut asked = JoinSet::new();
    for name in 0..10 {
        let store = Arc::clone(&store);
        asked.spawn(async move { bind(&store, freeing(name)).await.0 });
    }
    let answers = asked.join_all().await;
    let of = |kind| answers.iter().filter(|answer| **answer == kind).count();
    let counts = [Binding::BoundAfterReset, Binding::Bound, Binding::Full].map(of);
    assert_eq!(counts, [1, 1, 8], "{answers:?}");
    changed(&*store, id, LicenseChange::ResetDevices).await;
    for (name, binding) in [
        (20, Binding::Bound),
        (21, Binding::Bound),
        (22, Binding::Full),
    ] {
        assert_eq!(bind(&store, freeing(name)).await.0, binding);
    }
}

/// Page by page, each license gets a number; those of other apps, without devices, and revoked ones
/// stay as they are.
pub async fn the_devices_of_an_app_are_freed_by_pages<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut bound = Vec::new();
    for _ in 0..5 {
        let id = licensed(&store, "api", Some(1)).await;
        bind(&store, asking(id, "A")).await;
        bound.push(id);
        licensed(&store, "api", Some(1)).await;
    }
    let other = licensed(&store, "other", Some(1)).await;
    bind(&store, asking(other, "A")).await;
    let revoked = licensed(&store, "api", Some(1)).await;
    bind(&store, asking(revoked, "A")).await;
    let status = LicenseChange::Status(model::LicenseStatus::Revoked);
    changed(&*store, revoked, status).await;
    let app: AppName = "api".parse().expect("valid");
    let (mut after, mut freed, mut pages) = (None, 0, 0);
    loop {
        let page = software(&store).reset_devices_of(&app, after, 2, AuditEntries::none());
        let (last, count) = page.await.expect("answers");
        freed += count;
        pages += 1;
        if last.is_none() {
            break;
        }
        after = last;
    }
    assert_eq!((freed, pages), (5, 4));
    let mut versions = Vec::new();
    for id in bound {
        let stored = store.license(id).await.expect("answers").expect("there");
        assert_eq!(stored.devices, []);
        versions.push(stored.version);
    }
    assert!(versions.is_sorted(), "{versions:?}");
    for id in [other, revoked] {
        let stored = store.license(id).await.expect("answers").expect("there");
        assert_eq!(names(&stored), ["A"]);
    }
}

/// In the order in which it happened, with the devices.
pub async fn devices_that_are_bound_and_freed_are_told<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let webhook = keep(&store, new_webhook()).await;
    let id = licensed(&store, "api", Some(1)).await;
    bind(&store, asking(id, "A")).await;
    bind(&store, asking(id, "A")).await;
    bind(&store, asking(id, "full")).await;
    let freeing = NewDevice {
        frees_others_once: true,
        ..asking(id, "B")
    };
    bind(&store, freeing).await;
    let app: AppName = "api".parse().expect("valid");
    let freed = software(&store).reset_devices_of(&app, None, 10, AuditEntries::none());
    assert_eq!(freed.await, Ok((Some(id), 1)));
    let events = told(&store, webhook).await.into_iter();
    let facts = events.map(|event| {
        assert_eq!(event.license_id, Some(id));
        let fact = |name| event.data.get(name).cloned().unwrap_or_default();
        (event.kind, fact("device"), fact("devices"))
    });
    let none = Value::Null;
    assert_eq!(
        facts.collect::<Vec<_>>(),
        [
            (EventType::LicenseCreated, none.clone(), none.clone()),
            (EventType::DeviceBound, json!("A"), none.clone()),
            (EventType::DevicesReset, none.clone(), json!(["A"])),
            (EventType::DeviceBound, json!("B"), none.clone()),
            (EventType::DevicesReset, none, json!(["B"])),
        ]
    );
}

fn called(id: u32) -> AppSettings {
    AppSettings {
        imported_id: Some(id.to_string()),
        ..AppSettings::default()
    }
}

async fn put(store: &Arc<dyn Store>, app: &AppName, in_place_of: u64, id: u32) -> Option<u64> {
    let putting =
        software(store).put_app_settings(app, in_place_of, called(id), AuditEntries::none());
    putting.await.expect("answers")
}

/// A change in place of another than the present one does nothing.
pub async fn settings_replace_those_that_were_seen_and_no_others<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let [one, two] = ["one", "two"].map(|name| name.parse::<AppName>().expect("valid"));
    assert_eq!(software(&store).app_settings(&one).await, Ok(None));
    assert_eq!(put(&store, &one, 1, 0).await, None);
    let first = put(&store, &one, 0, 1).await.expect("none were made");
    assert_eq!(put(&store, &one, 0, 2).await, None);
    let other = put(&store, &two, 0, 3).await.expect("none were made");
    let second = put(&store, &one, first, 4).await.expect("those were seen");
    assert!(first < other && other < second, "{first} {other} {second}");
    assert_eq!(put(&store, &one, first, 5).await, None);
    drop(store);
    let store = place.open().await;
    let kept = |app: &AppName, number, id| StoredAppSettings {
        app: app.clone(),
        number,
        settings: called(id),
    };
    let found = software(&store).app_settings(&one).await;
    assert_eq!(found, Ok(Some(kept(&one, second, 4))));
    let after = async |number, limit| software(&store).app_settings_after(number, limit).await;
    let all = vec![kept(&two, other, 3), kept(&one, second, 4)];
    assert_eq!(after(0, 10).await, Ok(all.clone()));
    assert_eq!(after(0, 1).await, Ok(all[..1].to_vec()));
    assert_eq!(after(other, 10).await, Ok(all[1..].to_vec()));
    assert_eq!(after(second, 10).await, Ok(Vec::new()));
}

/// A reader that follows while many apps are changed misses no last change of any.
pub async fn the_numbers_of_settings_are_in_the_order_of_commits<F: StoreFactory>() {
    const APPS: usize = 8;
    const CHANGES: u32 = 10;
    let place = F::fresh().await;
    let store = place.open().await;
    let mut writing = JoinSet::new();
    for app in 0..APPS {
        let store = Arc::clone(&store);
        writing.spawn(async move {
            let app: AppName = format!("app-{app}").parse().expect("valid");
            let mut number = 0;
            for id in 1..=CHANGES {
                let next = put(&store, &app, number, id).await;
                number = next.expect("nobody else writes this app");
            }
        });
    }
    let (mut number, mut seen) = (0, std::collections::BTreeMap::new());
    loop {
        let over = writing.is_empty();
        let read = software(&store).app_settings_after(number, 3).await;
        let read = read.expect("answers");
        for settings in &read {
            assert!(settings.number > number);
            number = settings.number;
            seen.insert(settings.app.clone(), settings.settings.clone());
        }
        if over && read.is_empty() {
            break;
        }
        while writing.try_join_next().is_some() {}
        tokio::task::yield_now().await;
    }
    assert_eq!(seen.len(), APPS);
    assert!(
        seen.values().all(|last| *last == called(CHANGES)),
        "{seen:?}"
    );
    assert_eq!(number, APPS as u64 * u64::from(CHANGES));
}

fn file(id: u128, license_id: LicenseId, activated_by: Option<&str>) -> OfflineFile {
    OfflineFile {
        id,
        license_id,
        activated_by: activated_by.map(device),
        devices: activated_by.map(device).into_iter().collect(),
        issued_at: hours(1),
        expires_at: Some(hours(9)),
        sealed: SealedKey::new(id.to_be_bytes().to_vec()),
    }
}

/// Has a device have a file made, of which a license may have two in its life.
async fn activate(store: &Arc<dyn Store>, file: OfflineFile) -> OfflineActivation {
    let device = file.activated_by.clone().expect("a device's");
    let new = NewActivation {
        device: asking(file.license_id, device.as_str()),
        file,
        most: 2,
    };
    let (bound, kept) = (AuditEntries::none(), AuditEntries::none());
    let activated = software(store).activate_offline(new, bound, kept).await;
    activated
        .expect("answers")
        .expect("there is such a license")
}

/// The same device gets the file that it has; devices that were freed count all the same. Who gets
/// no file gets no slot.
pub async fn as_many_devices_as_are_allowed_activate_offline_in_a_whole_life<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = licensed(&store, "api", Some(3)).await;
    let first = file(7, id, Some("A"));
    let OfflineActivation::Kept(binding, stored) = activate(&store, first.clone()).await else {
        panic!("it is the first");
    };
    assert_eq!((binding, names(&stored)), (Binding::Bound, vec!["A"]));
    let again = activate(&store, file(8, id, Some("A"))).await;
    let there = OfflineActivation::There(Box::new(first.clone()));
    assert_eq!(again, there);
    let of_device = software(&store).offline_file_of(id, &device("A")).await;
    assert_eq!(of_device, Ok(Some(first.clone())));
    let none = software(&store).offline_file_of(id, &device("B")).await;
    assert_eq!(none, Ok(None));
    let of_seller = OfflineFile {
        devices: Vec::new(),
        expires_at: None,
        ..file(3, id, None)
    };
    let kept = software(&store).add_offline_file(of_seller.clone(), AuditEntries::none());
    assert_eq!(kept.await, Ok(()), "the seller's do not count");
    let taken = software(&store).add_offline_file(file(3, id, None), AuditEntries::none());
    assert!(matches!(taken.await, Err(store::Error::Exists(_))));

    let mut asked = JoinSet::new();
    for name in 0..10 {
        let store = Arc::clone(&store);
        let file = file(100 + name, id, Some(&name.to_string()));
        asked.spawn(async move { activate(&store, file).await });
    }
    let answers = asked.join_all().await;
    let kept = answers
        .iter()
        .filter(|answer| matches!(answer, OfflineActivation::Kept(..)));
    assert_eq!(kept.count(), 1, "{answers:?}");
    let stored = store.license(id).await.expect("answers").expect("there");
    assert_eq!(stored.devices.len(), 2, "a third slot is free still");
    changed(&*store, id, LicenseChange::ResetDevices).await;
    let late = activate(&store, file(200, id, Some("late"))).await;
    assert_eq!(late, OfflineActivation::Full, "what is freed counts");

    let files = software(&store).offline_files(id, None, 10).await;
    let files = files.expect("answers");
    assert_eq!(files.len(), 3);
    assert_eq!(files[..2], [of_seller, first]);
    let rest = software(&store).offline_files(id, Some(3), 1).await;
    assert_eq!(rest, Ok(files[1..2].to_vec()));
    let none = software(&store).offline_files(LicenseId::generate(), None, 1);
    assert_eq!(none.await, Ok(Vec::new()));
}

/// Without a free slot no file is kept, and the one rebinding of a license is used for a file alone.
pub async fn a_device_that_finds_no_slot_activates_nothing<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = licensed(&store, "api", Some(1)).await;
    bind(&store, asking(id, "A")).await;
    let refused = activate(&store, file(1, id, Some("B"))).await;
    assert_eq!(refused, OfflineActivation::NoSlot);
    let none = software(&store).offline_file_of(id, &device("B")).await;
    assert_eq!(none, Ok(None));
    let freeing = |most| NewActivation {
        device: NewDevice {
            frees_others_once: true,
            ..asking(id, "B")
        },
        file: file(2, id, Some("B")),
        most,
    };
    for (most, bound) in [(0, "A"), (1, "B")] {
        let (entries, kept) = (AuditEntries::none(), AuditEntries::none());
        let asked = software(&store).activate_offline(freeing(most), entries, kept);
        let answer = asked
            .await
            .expect("answers")
            .expect("there is such a license");
        match answer {
            OfflineActivation::Full => assert_eq!(most, 0),
            OfflineActivation::Kept(Binding::BoundAfterReset, _) => assert_eq!(most, 1),
            other => panic!("{other:?}"),
        }
        let stored = store.license(id).await.expect("answers").expect("there");
        assert_eq!(names(&stored), [bound]);
    }
}
