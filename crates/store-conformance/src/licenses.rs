//! The properties of licenses and their credentials.

use model::{
    CredentialId, CredentialStatus, Device, KeyHash, LicenseId, LicenseSpec, LicenseStatus, Limits,
    Variables,
};

use crate::StoreFactory;
use crate::fixtures::{BIRTH, changed, hours, keep, known, new_credential, new_license, units};
use store::{
    AuditEntries, ChangeNumber, Error, KeyOwner, LicenseChange, LicenseFilter, NewCredential,
    NewLicense, SealedKey, Store,
};

/// Look-ups find the license that was kept, before and after the store was opened again.
pub async fn a_license_is_found_by_its_id_and_by_each_of_its_keys<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut new = new_license(Limits::default());
    new.credentials.push(new_credential());
    let version = store
        .create_licenses(vec![new.clone()], AuditEntries::none())
        .await
        .expect("new");
    drop(store);
    let store = place.open().await;
    let stored = known(&*store, new.license.id).await;
    assert_eq!(stored.license, new.license);
    assert_eq!(stored.version, version);
    for credential in &new.credentials {
        let found = store
            .license_by_key(credential.hash)
            .await
            .expect("answers");
        let found = found.expect("it is there");
        assert_eq!(*found.license, new.license);
        assert_eq!(found.credential, credential.info);
        assert_eq!(found.version, version);
    }
    let unknown = KeyHash::from_bytes([7; 32]);
    assert_eq!(store.license_by_key(unknown).await, Ok(None));
    assert_eq!(store.license(LicenseId::generate()).await, Ok(None));
}

/// Returns the fields of a license's terms that are as in a license without any.
fn unset(spec: &LicenseSpec) -> Vec<&'static str> {
    let fields = |spec| serde_json::to_value(spec).expect("plain data");
    let (fields, without) = (fields(spec), fields(&LicenseSpec::default()));
    let mut names = LicenseSpec::field_names();
    names.retain(|name| fields[name] == without[name]);
    names
}

/// Keys of all licenses are found with one question, revoked ones too, and no others.
pub async fn the_owners_of_many_keys_are_found_at_once<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let (mut expected, mut asked) = (Vec::new(), vec![KeyHash::from_bytes([7; 32])]);
    for _ in 0..300 {
        let mut new = new_license(Limits::default());
        new.credentials.push(new_credential());
        new.credentials[1].info.status = CredentialStatus::Revoked;
        for credential in &new.credentials {
            asked.push(credential.hash);
            expected.push(KeyOwner {
                hash: credential.hash,
                license_id: new.license.id,
                account: new.license.account.clone(),
                app: new.license.app.clone(),
            });
        }
        let made = store.create_licenses(vec![new], AuditEntries::none()).await;
        made.expect("new");
    }
    let mut found = store.owners_of_keys(asked).await.expect("answers");
    found.sort_by_key(|owner| owner.hash);
    expected.sort_by_key(|owner| owner.hash);
    assert_eq!(found, expected);
    assert_eq!(store.owners_of_keys(Vec::new()).await, Ok(Vec::new()));
}

/// No field is lost or cut short.
pub async fn a_license_with_everything_comes_back_as_it_was<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut new = new_license(Limits {
        remaining: Some(u64::MAX),
        refill: Some("18446744073709551615/30d,add".parse().expect("valid")),
        rate_limits: vec![
            "10/1s".parse().expect("valid"),
            "4294967295/1d".parse().expect("valid"),
        ],
        concurrency: Some(u32::MAX),
    });
    new.license.spec.plan = Some("pro".parse().expect("valid"));
    new.license.spec.user = Some("Łukasz ' -- 用户".to_owned());
    new.license.spec.label = Some(String::new());
    new.license.status = LicenseStatus::Disabled;
    new.license.spec.expires_at = Some(hours(5));
    new.license.spec.permissions = vec![
        "GET /a".parse().expect("valid"),
        "* /".parse().expect("valid"),
    ];
    new.license.spec.allow_ips = vec![
        "10.0.0.0/8".parse().expect("valid"),
        "::1/128".parse().expect("valid"),
    ];
    new.license.spec.device_slots = Some(16);
    new.license.spec.unlimited_devices = true;
    // A number whose last digit a reader that is not exact changes.
    let values =
        serde_json::json!({ "quoted \u{0} '": "\u{0} 用户", "rate": 97.453_653_200_346_85 });
    let values = values.as_object().expect("an object");
    new.license.spec.variables = Variables::of(values).expect("valid");
    let whose =
        r#"{"operator":"OpenAI","agent":"GPTBot","payer":"lic_0198c0de0198c0de0198c0de0198c0de"}"#;
    new.license.spec.agent = Some(serde_json::from_str(whose).expect("valid"));
    let device = |id: &str, bound_at| Device {
        id: id.parse().expect("valid"),
        bound_at,
    };
    new.devices = vec![device("küche ' 1", hours(2)), device("a", hours(1))];
    new.credentials[0].info.status = CredentialStatus::Revoked;
    new.credentials[0].info.expires_at = Some(hours(4));
    let unset = unset(&new.license.spec);
    assert!(unset.is_empty(), "give these a value here: {unset:?}");
    store
        .create_licenses(vec![new.clone()], AuditEntries::none())
        .await
        .expect("new");
    let stored = known(&*store, new.license.id).await;
    assert_eq!(stored.license, new.license);
    assert_eq!(stored.credentials, [new.credentials[0].info.clone()]);
    assert_eq!(stored.devices, new.devices);
    let seen = store.license_by_key(new.credentials[0].hash).await;
    let seen = seen.expect("answers").expect("there");
    assert_eq!((*seen.license).clone(), new.license);
    assert_eq!(seen.devices, new.devices);
}

/// A batch with a key that is there already leaves no trace, not even a change number.
pub async fn a_key_is_kept_once_and_a_batch_is_kept_wholly_or_not_at_all<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let first = new_license(Limits::default());
    let before = store
        .create_licenses(vec![first.clone()], AuditEntries::none())
        .await
        .expect("new");
    let good = new_license(Limits::default());
    let mut bad = new_license(Limits::default());
    bad.credentials[0].hash = first.credentials[0].hash;
    let result = store
        .create_licenses(vec![good.clone(), bad], AuditEntries::none())
        .await;
    assert!(matches!(result, Err(Error::Exists(_))), "{result:?}");
    assert_eq!(store.license(good.license.id).await, Ok(None));
    let copy = NewLicense {
        credentials: Vec::new(),
        ..first.clone()
    };
    let result = store
        .create_licenses(vec![copy], AuditEntries::none())
        .await;
    assert!(matches!(result, Err(Error::Exists(_))), "{result:?}");
    let mut again = new_credential();
    again.hash = first.credentials[0].hash;
    let change = LicenseChange::AddCredential {
        credential: again,
        others_expire_at: None,
    };
    let result = store
        .change_license(first.license.id, change, AuditEntries::none())
        .await;
    assert!(matches!(result, Err(Error::Exists(_))), "{result:?}");
    let after = store
        .create_licenses(vec![good], AuditEntries::none())
        .await
        .expect("new now");
    assert_eq!(after, ChangeNumber(before.0 + 1));
}

/// Licenses are found as one by one; unknown ids are left out.
pub async fn licenses_are_found_by_many_ids_at_once<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut expected = Vec::new();
    let mut ids = vec![LicenseId::generate()];
    for _ in 0..300 {
        let mut new = new_license(Limits::default());
        new.credentials.push(new_credential());
        ids.push(new.license.id);
        store
            .create_licenses(vec![new], AuditEntries::none())
            .await
            .expect("new");
    }
    for id in &ids[1..] {
        let stored = store.license(*id).await.expect("answers");
        expected.push(stored.expect("there"));
    }
    let mut found = store.licenses_by_ids(ids).await.expect("answers");
    found.sort_by_key(|stored| stored.license.id);
    expected.sort_by_key(|stored| stored.license.id);
    assert_eq!(found, expected);
    assert_eq!(store.licenses_by_ids(Vec::new()).await, Ok(Vec::new()));
}

/// Each kind of change is seen by the next look-up and has a number of its own.
pub async fn a_change_is_in_force_when_it_returns<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let new = new_license(Limits::default());
    let id = new.license.id;
    let mut number = store
        .create_licenses(vec![new.clone()], AuditEntries::none())
        .await
        .expect("new");
    let mut expected = new.license.clone();
    let limits = units(5, Some("5/1h"));
    let changes = [
        LicenseChange::Status(LicenseStatus::Disabled),
        LicenseChange::ExpiresAt(Some(hours(1))),
        LicenseChange::Plan(Some("pro".parse().expect("valid"))),
        LicenseChange::Label(Some("for the demo".to_owned())),
        LicenseChange::Limits {
            limits: limits.clone(),
            balance: true,
        },
        LicenseChange::Permissions(vec!["GET /a".parse().expect("valid")]),
        LicenseChange::AllowIps(vec!["192.0.2.0/24".parse().expect("valid")]),
        LicenseChange::DeviceSlots(Some(2)),
        LicenseChange::UnlimitedDevices(true),
        LicenseChange::Variables(variables(r#"{"seats":5}"#)),
        LicenseChange::Together(vec![
            LicenseChange::Label(Some("for the demo, together".to_owned())),
            LicenseChange::AllowIps(vec!["2001:db8::/32".parse().expect("valid")]),
        ]),
    ];
    expected.spec.permissions = vec!["GET /a".parse().expect("valid")];
    expected.spec.allow_ips = vec!["2001:db8::/32".parse().expect("valid")];
    expected.spec.device_slots = Some(2);
    expected.spec.unlimited_devices = true;
    expected.spec.variables = variables(r#"{"seats":5}"#);
    expected.status = LicenseStatus::Disabled;
    expected.spec.expires_at = Some(hours(1));
    expected.spec.plan = Some("pro".parse().expect("valid"));
    expected.spec.label = Some("for the demo, together".to_owned());
    expected.spec.limits = limits;
    for change in changes {
        let stored = changed(&*store, id, change).await;
        number = ChangeNumber(number.0 + 1);
        assert_eq!(stored.version, number);
    }
    assert_eq!(known(&*store, id).await.license, expected);
    let emptied = LicenseChange::Together(vec![
        LicenseChange::DeviceSlots(None),
        LicenseChange::UnlimitedDevices(false),
        LicenseChange::Variables(Variables::default()),
    ]);
    let stored = changed(&*store, id, emptied).await;
    expected.spec.device_slots = None;
    expected.spec.unlimited_devices = false;
    expected.spec.variables = Variables::default();
    assert_eq!(stored.license, expected);
    let free = changed(&*store, id, LicenseChange::ResetDevices).await;
    assert_eq!(free, stored, "none is bound: nothing changes");
    let gone = new.credentials[0].info.id;
    let stored = changed(&*store, id, LicenseChange::RevokeCredential(gone)).await;
    assert_eq!(stored.credentials[0].status, CredentialStatus::Revoked);
    let seen = store
        .license_by_key(new.credentials[0].hash)
        .await
        .expect("answers")
        .expect("there");
    assert_eq!(seen.credential.status, CredentialStatus::Revoked);
    assert_eq!(seen.version, stored.version);
    let strange = LicenseChange::RevokeCredential(CredentialId::generate());
    assert_eq!(changed(&*store, id, strange).await, stored);
    let nobody = store
        .change_license(
            LicenseId::generate(),
            LicenseChange::Label(None),
            AuditEntries::none(),
        )
        .await;
    assert_eq!(nobody, Ok(None));
}

/// A revoked license stays so whatever status it is given; other changes still work.
pub async fn a_revoked_license_stays_revoked<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = keep(&*store, Limits::default()).await;
    let revoked = changed(&*store, id, LicenseChange::Status(LicenseStatus::Revoked)).await;
    for status in [LicenseStatus::Active, LicenseStatus::Disabled] {
        assert_eq!(
            changed(&*store, id, LicenseChange::Status(status)).await,
            revoked
        );
    }
    let labelled = changed(&*store, id, LicenseChange::Label(Some("late".to_owned()))).await;
    assert_eq!(labelled.license.status, LicenseStatus::Revoked);
    assert_eq!(labelled.license.spec.label.as_deref(), Some("late"));
}

/// An end that was nearer stays; revoked credentials stay as they are.
pub async fn a_rotation_ends_the_credentials_before_it_and_never_later_than_they_would_have<
    F: StoreFactory,
>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut new = new_license(Limits::default());
    new.credentials = vec![new_credential(), new_credential(), new_credential()];
    new.credentials[1].info.expires_at = Some(hours(1));
    new.credentials[2].info.status = CredentialStatus::Revoked;
    let id = new.license.id;
    store
        .create_licenses(vec![new], AuditEntries::none())
        .await
        .expect("new");
    let mut next = new_credential();
    next.info.created_at = hours(1);
    let rotation = LicenseChange::AddCredential {
        credential: next.clone(),
        others_expire_at: Some(hours(2)),
    };
    let stored = changed(&*store, id, rotation).await;
    let ends: Vec<_> = stored
        .credentials
        .iter()
        .map(|info| info.expires_at)
        .collect();
    assert_eq!(ends, [Some(hours(2)), Some(hours(1)), None, None]);
    assert_eq!(stored.credentials[3], next.info);
    let found = store.license_by_key(next.hash).await.expect("answers");
    assert_eq!(found.expect("it is there").version, stored.version);
}

/// The newest comes first; a copy goes when its key is revoked or replaced, and all go with their
/// license.
pub async fn a_sealed_copy_is_kept_with_its_key_and_goes_with_it<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let with_copy = |text: &str| NewCredential {
        sealed: Some(SealedKey::new(text.as_bytes().to_vec())),
        ..new_credential()
    };
    let (mut new, mut other) = (
        new_license(Limits::default()),
        new_license(Limits::default()),
    );
    new.credentials = vec![with_copy("first"), new_credential(), with_copy("second")];
    other.credentials = vec![with_copy("another's")];
    let (id, other_id) = (new.license.id, other.license.id);
    let ids: Vec<_> = new.credentials.iter().map(|new| new.info.id).collect();
    let creating = store.create_licenses(vec![new, other], AuditEntries::none());
    creating.await.expect("new");
    drop(store);
    let store = place.open().await;
    let kept = async |id| {
        let kept = store.sealed_keys(id).await.expect("answers");
        let text = |sealed: &SealedKey| String::from_utf8_lossy(sealed.as_bytes()).into_owned();
        let kept = kept.iter().map(|(id, sealed)| (*id, text(sealed)));
        kept.collect::<Vec<_>>()
    };
    let copy = |id: CredentialId, text: &str| (id, text.to_owned());
    assert_eq!(
        kept(id).await,
        [copy(ids[2], "second"), copy(ids[0], "first")]
    );
    assert_eq!(kept(LicenseId::generate()).await, []);

    let gone = LicenseChange::RevokeCredential(ids[2]);
    changed(&*store, id, gone).await;
    assert_eq!(kept(id).await, [copy(ids[0], "first")]);

    let add = |new: &NewCredential, others_expire_at| LicenseChange::AddCredential {
        credential: new.clone(),
        others_expire_at,
    };
    let third = with_copy("third");
    changed(&*store, id, add(&third, None)).await;
    assert_eq!(kept(id).await.len(), 2, "those before go on");
    let fourth = with_copy("fourth");
    changed(&*store, id, add(&fourth, Some(hours(9)))).await;
    assert_eq!(kept(id).await, [copy(fourth.info.id, "fourth")]);

    changed(&*store, id, LicenseChange::Status(LicenseStatus::Disabled)).await;
    assert_eq!(kept(id).await.len(), 1, "it may be enabled again");
    changed(&*store, id, LicenseChange::Status(LicenseStatus::Revoked)).await;
    assert_eq!(kept(id).await, []);
    assert_eq!(kept(other_id).await.len(), 1, "another license's");
}

/// Ids grow with time, so that licenses that are added during a listing come after it.
pub async fn a_listing_by_pages_misses_nothing_while_licenses_come_in<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut there = Vec::new();
    for _ in 0..25 {
        there.push(keep(&*store, Limits::default()).await);
    }
    there.sort();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = page(&*store, LicenseFilter::default(), after, 4).await;
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { break };
        after = Some(*last);
        seen.extend(page);
        if seen.len() < 40 {
            keep(&*store, Limits::default()).await;
        }
    }
    assert!(seen.is_sorted());
    assert_eq!(seen[..there.len()], there);
}

/// Filters combine.
pub async fn a_listing_shows_what_its_filter_names<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut all = Vec::new();
    for number in 0..8_u32 {
        let mut new = new_license(Limits::default());
        let of =
            |bit: u32, yes: &str, no: &str| if number & bit == 0 { no } else { yes }.to_owned();
        new.license.app = of(1, "api", "shop").parse().expect("valid");
        new.license.account = of(2, "default", "other").parse().expect("valid");
        new.license.spec.user = (number & 4 == 0).then(|| "alice".to_owned());
        new.license.status = if number == 7 {
            LicenseStatus::Disabled
        } else {
            LicenseStatus::Active
        };
        all.push(new.license.id);
        store
            .create_licenses(vec![new], AuditEntries::none())
            .await
            .expect("new");
    }
    let chosen = |choose: fn(u32) -> bool| -> Vec<LicenseId> {
        (0..8)
            .filter(|number| choose(*number))
            .map(|number| all[number as usize])
            .collect()
    };
    let app = Some("api".parse().expect("valid"));
    let account = Some("other".parse().expect("valid"));
    let user = Some("alice".to_owned());
    let status = Some(LicenseStatus::Disabled);
    let any = LicenseFilter::default;
    let filters = [
        (
            LicenseFilter {
                app: app.clone(),
                ..any()
            },
            chosen(|n| n & 1 != 0),
        ),
        (
            LicenseFilter {
                account: account.clone(),
                ..any()
            },
            chosen(|n| n & 2 == 0),
        ),
        (
            LicenseFilter {
                user: user.clone(),
                ..any()
            },
            chosen(|n| n & 4 == 0),
        ),
        (LicenseFilter { status, ..any() }, chosen(|n| n == 7)),
        (
            LicenseFilter {
                account,
                app,
                user,
                ..any()
            },
            chosen(|n| n == 1),
        ),
    ];
    for (filter, expected) in filters {
        assert_eq!(page(&*store, filter, None, 100).await, expected);
    }
}

/// An import is one call and one transaction.
pub async fn ten_thousand_licenses_are_kept_in_one_call<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let new: Vec<_> = (0..10_000)
        .map(|_| new_license(Limits::default()))
        .collect();
    let last = new[9_999].clone();
    let number = store
        .create_licenses(new, AuditEntries::none())
        .await
        .expect("new");
    assert_eq!(number, ChangeNumber(10_000));
    let stored = known(&*store, last.license.id).await;
    assert_eq!(stored.version, number);
    assert_eq!(stored.license.created_at, BIRTH);
}

fn variables(json: &str) -> Variables {
    serde_json::from_str(json).expect("valid")
}

async fn page(
    store: &dyn Store,
    filter: LicenseFilter,
    after: Option<LicenseId>,
    limit: usize,
) -> Vec<LicenseId> {
    let page = store.licenses(filter, after, limit).await.expect("answers");
    page.into_iter().map(|stored| stored.license.id).collect()
}
