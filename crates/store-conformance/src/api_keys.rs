//! The properties of API keys with their licenses.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use model::{
    Actor, ApiKey, AppName, AuditEntry, LicenseId, LicenseStatus, Limits, ResourcePermissions,
    Timestamp,
};

use crate::StoreFactory;
use crate::fixtures::{BIRTH, hours, new_license, units};
use store::{
    ApiKeyChange, ApiKeyFilter, ApiKeyPage, ApiKeySort, ApiKeyStore, AuditEntries, AuditFilter,
    ChangeNumber, Error, LicenseChange, NewApiKey, Store, StoredApiKey,
};

fn keys(store: &dyn Store) -> &dyn ApiKeyStore {
    store.api_keys().expect("it keeps api keys")
}

fn new_key(limits: Limits) -> NewApiKey {
    let license = new_license(limits);
    NewApiKey {
        key: ApiKey {
            license_id: license.license.id,
            name: None,
            prefix: None,
            metadata: None,
            permissions: None,
            parked_rate: None,
            updated_at: BIRTH,
            last_request: None,
        },
        license,
    }
}

async fn kept(store: &dyn Store, new: NewApiKey) -> LicenseId {
    let id = new.key.license_id;
    keys(store)
        .create_api_key(new, AuditEntries::none())
        .await
        .expect("it is new");
    id
}

async fn known(store: &dyn Store, id: LicenseId) -> StoredApiKey {
    let found = keys(store).api_key(id).await.expect("answers");
    found.expect("it is there")
}

fn permissions(text: &str) -> ResourcePermissions {
    text.parse().expect("valid")
}

const ALL: ApiKeyPage = ApiKeyPage {
    sort: ApiKeySort::CreatedAt,
    descending: false,
    offset: 0,
    limit: 100,
};

/// No field is lost, before and after the store was opened again; the key's license is one like any
/// other.
pub async fn an_api_key_comes_back_as_it_was_with_its_license<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut new = new_key(units(5, Some("5/1h")));
    new.key.name = Some("Łukasz ' -- 用户".to_owned());
    new.key.prefix = Some("pk_".parse().expect("valid"));
    new.key.metadata = Some(r#"{"a":[1,null,{"b":"c"}]}"#.parse().expect("valid"));
    new.key.permissions = Some(permissions(r#"{"files":["write","read"],"none":[]}"#));
    new.key.parked_rate = Some("10/1d,idle".parse().expect("valid"));
    new.key.last_request = Some(hours(1));
    new.license.license.app = AppName::every();
    let version = keys(&*store)
        .create_api_key(new.clone(), AuditEntries::none())
        .await
        .expect("new");
    let plain = kept(&*store, new_key(Limits::default())).await;
    drop(store);
    let store = place.open().await;
    let stored = known(&*store, new.key.license_id).await;
    assert_eq!(stored.key, new.key);
    assert_eq!(stored.license.license, new.license.license);
    assert_eq!(stored.license.version, version);
    let hash = new.license.credentials[0].hash;
    let snapshot = store.license_by_key(hash).await.expect("answers");
    assert_eq!(snapshot.expect("there").version, version);
    let plain = known(&*store, plain).await.key;
    assert_eq!((plain.name, plain.metadata), (None, None));
    let license = new_license(Limits::default());
    let id = license.license.id;
    store
        .create_licenses(vec![license], AuditEntries::none())
        .await
        .expect("new");
    assert_eq!(keys(&*store).api_key(id).await, Ok(None), "a plain license");
}

/// A refused audit line undoes the making of a key, its change, and the change of its license.
pub async fn a_line_that_is_refused_leaves_an_api_key_as_it_was<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let line = AuditEntry::new(&Actor::OPERATOR, hours(1), "first", "taken");
    let log = store.audit_log().expect("it keeps an audit log");
    log.add_audit(vec![line.clone()]).await.expect("new");
    let numbered = async || {
        let changes = store.changes_since(ChangeNumber(0), 10).await;
        changes.expect("answers").1
    };
    let there = kept(&*store, new_key(units(5, None))).await;
    let (before, number) = (known(&*store, there).await, numbered().await);
    let new = new_key(Limits::default());
    let (id, hash) = (new.key.license_id, new.license.credentials[0].hash);
    let creating = keys(&*store).create_api_key(new, AuditEntries::of(vec![line.clone()]));
    assert!(matches!(creating.await, Err(Error::Exists(_))));
    assert_eq!(keys(&*store).api_key(id).await, Ok(None));
    assert_eq!(store.license(id).await, Ok(None));
    assert_eq!(store.license_by_key(hash).await, Ok(None));
    let change = ApiKeyChange {
        name: Some(Some("another".to_owned())),
        license: vec![
            LicenseChange::Status(LicenseStatus::Disabled),
            LicenseChange::Limits {
                limits: units(9, None),
                balance: true,
            },
        ],
        updated_at: hours(2),
        ..ApiKeyChange::default()
    };
    let changing = keys(&*store).change_api_key(there, change, AuditEntries::of(vec![line]));
    assert!(matches!(changing.await, Err(Error::Exists(_))));
    assert_eq!(known(&*store, there).await, before);
    assert_eq!(numbered().await, number, "no change was numbered");
    let page = log.audit(AuditFilter::default(), 0, 10).await;
    assert_eq!(page.expect("answers").len(), 1);
}

/// A credential that is there already leaves no trace of the new key, not even a change number.
pub async fn an_api_key_is_kept_with_its_license_or_not_at_all<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let first = new_key(Limits::default());
    let hash = first.license.credentials[0].hash;
    let before = keys(&*store)
        .create_api_key(first, AuditEntries::none())
        .await
        .expect("new");
    let mut second = new_key(Limits::default());
    second.license.credentials[0].hash = hash;
    let result = keys(&*store)
        .create_api_key(second.clone(), AuditEntries::none())
        .await;
    assert!(matches!(result, Err(Error::Exists(_))), "{result:?}");
    assert_eq!(store.license(second.key.license_id).await, Ok(None));
    let third = keys(&*store)
        .create_api_key(new_key(Limits::default()), AuditEntries::none())
        .await;
    assert_eq!(third, Ok(ChangeNumber(before.0 + 1)));
}

/// Every part of a change is in force when it returns, and readers of the changes learn of it.
pub async fn a_change_of_an_api_key_is_made_wholly_and_gets_a_number<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = kept(&*store, new_key(units(5, None))).await;
    let before = known(&*store, id).await;
    let change = ApiKeyChange {
        name: Some(Some("second".to_owned())),
        metadata: Some(Some(r#"{"a":1}"#.parse().expect("valid"))),
        permissions: Some(Some(permissions(r#"{"a":["b"]}"#))),
        parked_rate: Some(Some("1/1m".parse().expect("valid"))),
        license: vec![
            LicenseChange::Status(LicenseStatus::Disabled),
            LicenseChange::Limits {
                limits: units(9, None),
                balance: true,
            },
        ],
        updated_at: hours(2),
    };
    let changed = keys(&*store)
        .change_api_key(id, change, AuditEntries::none())
        .await;
    let changed = changed.expect("answers").expect("there");
    assert_eq!(known(&*store, id).await, changed);
    let license = &changed.license.license;
    assert_eq!(license.status, LicenseStatus::Disabled);
    assert_eq!(license.spec.limits, units(9, None));
    assert_eq!(license.spec.label.as_deref(), Some("second"));
    assert_eq!(changed.key.name.as_deref(), Some("second"));
    assert_eq!(changed.key.updated_at, hours(2));
    assert!(changed.key.metadata.is_some() && changed.key.permissions.is_some());
    let (_, last) = store
        .changes_since(ChangeNumber(0), 10)
        .await
        .expect("answers");
    assert_eq!(changed.license.version, last);
    assert!(last > before.license.version);

    let cleared = ApiKeyChange {
        metadata: Some(None),
        permissions: Some(None),
        updated_at: hours(3),
        ..ApiKeyChange::default()
    };
    let cleared = keys(&*store)
        .change_api_key(id, cleared, AuditEntries::none())
        .await;
    let cleared = cleared.expect("answers").expect("there");
    assert_eq!(
        (&cleared.key.metadata, &cleared.key.permissions),
        (&None, &None)
    );
    assert_eq!(cleared.key.name, changed.key.name);
    assert_eq!(cleared.key.parked_rate, changed.key.parked_rate);
    assert!(cleared.license.version > changed.license.version);
    let nobody = keys(&*store)
        .change_api_key(
            LicenseId::generate(),
            ApiKeyChange::default(),
            AuditEntries::none(),
        )
        .await;
    assert_eq!(nobody, Ok(None));
}

/// The row of a revoked key stays for a look-up by its id.
pub async fn a_revoked_api_key_is_neither_listed_nor_changed<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = kept(&*store, new_key(Limits::default())).await;
    let other = kept(&*store, new_key(Limits::default())).await;
    let revoked = LicenseChange::Status(LicenseStatus::Revoked);
    store
        .change_license(id, revoked, AuditEntries::none())
        .await
        .expect("answers");
    let change = ApiKeyChange {
        name: Some(Some("back".to_owned())),
        ..ApiKeyChange::default()
    };
    assert_eq!(
        keys(&*store)
            .change_api_key(id, change, AuditEntries::none())
            .await,
        Ok(None)
    );
    let stored = known(&*store, id).await;
    assert_eq!(stored.license.license.status, LicenseStatus::Revoked);
    assert_eq!(stored.key.name, None);
    let (page, total) = keys(&*store)
        .api_keys(ApiKeyFilter::default(), ALL)
        .await
        .expect("answers");
    assert_eq!((page.len(), total), (1, 1));
    assert_eq!(page[0].key.license_id, other);
    let expired = keys(&*store)
        .expired_api_keys(ApiKeyFilter::default(), hours(9), 10)
        .await;
    assert_eq!(expired, Ok(Vec::new()));
}

/// Every order in both directions, by pages, equals that of a simple sort.
pub async fn a_list_of_api_keys_is_sorted_cut_and_counted_as_asked<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut made = Vec::new();
    for number in 0..12_i64 {
        let mut new = new_key(Limits::default());
        let some = |is: bool, at: i64| is.then(|| hours(at));
        new.license.license.created_at = hours(number / 2);
        new.license.license.spec.expires_at = some(number % 3 != 0, 7 * number % 5);
        if number % 4 == 1 {
            new.license.license.status = LicenseStatus::Disabled;
        }
        new.key.updated_at = hours(100 - number);
        new.key.last_request = some(number % 2 == 0, 3 * number % 7);
        new.key.name = (number % 5 != 0).then(|| format!("n{}", number % 4));
        new.key.prefix = (number > 5).then(|| format!("p{number}").parse().expect("valid"));
        if number == 11 {
            new.license.license.account = "other".parse().expect("valid");
        }
        let id = kept(&*store, new).await;
        made.push(known(&*store, id).await);
    }
    let filter = ApiKeyFilter {
        account: Some(model::AccountName::default()),
        ..ApiKeyFilter::default()
    };
    made.pop();
    for sort in [
        ApiKeySort::Id,
        ApiKeySort::CreatedAt,
        ApiKeySort::UpdatedAt,
        ApiKeySort::LastRequest,
        ApiKeySort::ExpiresAt,
        ApiKeySort::Name,
        ApiKeySort::Prefix,
        ApiKeySort::Enabled,
    ] {
        for descending in [false, true] {
            made.sort_by(|a, b| {
                let order = compare(sort, a, b).then(a.key.license_id.cmp(&b.key.license_id));
                if descending { order.reverse() } else { order }
            });
            for (offset, limit) in [(0, 100), (3, 4), (10, 5), (11, 5), (1_000, 5)] {
                let page = ApiKeyPage {
                    sort,
                    descending,
                    offset: offset as u64,
                    limit,
                };
                let (found, total) = keys(&*store)
                    .api_keys(filter.clone(), page)
                    .await
                    .expect("answers");
                let ids = |keys: &[StoredApiKey]| -> Vec<LicenseId> {
                    keys.iter().map(|stored| stored.key.license_id).collect()
                };
                let cut: Vec<_> = made.iter().skip(offset).take(limit).cloned().collect();
                assert_eq!(ids(&found), ids(&cut), "{page:?}");
                assert_eq!(total, 11);
            }
        }
    }
    for after in [4, 8, 10] {
        made.sort_by_key(|stored| stored.key.license_id);
        check_after(&*store, &filter, &made, after).await;
    }
    let every = ApiKeyFilter {
        app: Some(AppName::every()),
        ..ApiKeyFilter::default()
    };
    let (found, _) = keys(&*store).api_keys(every, ALL).await.expect("answers");
    assert_eq!(found, Vec::new());
}

/// Pages by a cursor hold every key once, whatever the times at which they were made, and whatever
/// is added in between.
pub async fn a_list_of_api_keys_by_cursor_skips_none_and_repeats_none<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let make = async |number: i64| {
        let mut new = new_key(Limits::default());
        // Two gates whose clocks differ: the times of making contradict the order of the ids.
        new.license.license.created_at = hours(100 - 7 * number % 20);
        kept(&*store, new).await
    };
    let mut stays = Vec::new();
    for number in 0..10 {
        stays.push(make(number).await);
    }
    stays.sort();
    let page = ApiKeyPage {
        sort: ApiKeySort::Id,
        limit: 3,
        ..ALL
    };
    let (mut seen, mut filter) = (Vec::new(), ApiKeyFilter::default());
    loop {
        let listed = keys(&*store).api_keys(filter.clone(), page).await;
        let (found, total) = listed.expect("answers");
        seen.extend(found.iter().map(|stored| stored.key.license_id));
        filter.after = seen.last().copied();
        if total <= found.len() as u64 {
            break;
        }
        if seen.len() < 7 {
            make(seen.len() as i64).await;
        }
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    seen.retain(|id| stays.contains(id));
    assert_eq!(seen, stays);
}

async fn check_after(
    store: &dyn Store,
    filter: &ApiKeyFilter,
    made: &[StoredApiKey],
    after: usize,
) {
    let filter = ApiKeyFilter {
        after: Some(made[after].key.license_id),
        app: Some("api".parse().expect("valid")),
        ..filter.clone()
    };
    let rest = made.len() - 1 - after;
    let (found, total) = keys(store).api_keys(filter, ALL).await.expect("answers");
    assert_eq!((found.len(), total), (rest, rest as u64));
}

fn compare(sort: ApiKeySort, a: &StoredApiKey, b: &StoredApiKey) -> Ordering {
    let prefix = |stored: &StoredApiKey| stored.key.prefix.as_ref().map(ToString::to_string);
    let enabled = |stored: &StoredApiKey| stored.license.license.status == LicenseStatus::Active;
    let license = |stored: &StoredApiKey| stored.license.license.clone();
    match sort {
        ApiKeySort::Id => Ordering::Equal,
        ApiKeySort::CreatedAt => license(a).created_at.cmp(&license(b).created_at),
        ApiKeySort::UpdatedAt => a.key.updated_at.cmp(&b.key.updated_at),
        ApiKeySort::LastRequest => a.key.last_request.cmp(&b.key.last_request),
        ApiKeySort::ExpiresAt => license(a).spec.expires_at.cmp(&license(b).spec.expires_at),
        ApiKeySort::Name => a.key.name.cmp(&b.key.name),
        ApiKeySort::Prefix => prefix(a).cmp(&prefix(b)),
        ApiKeySort::Enabled => enabled(a).cmp(&enabled(b)),
    }
}

/// The latest time stands, whatever the order in which gates report it, and it has no change
/// number.
pub async fn the_latest_request_of_an_api_key_is_noted<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = kept(&*store, new_key(Limits::default())).await;
    let before = known(&*store, id).await;
    let strange = LicenseId::generate();
    for (at, expected) in [(2, 2), (1, 2), (3, 3)] {
        let noted = vec![(id, hours(at)), (strange, hours(at))];
        keys(&*store).note_requests(noted).await.expect("noted");
        let stored = known(&*store, id).await;
        assert_eq!(stored.key.last_request, Some(hours(expected)));
        assert_eq!(stored.license.version, before.license.version);
    }
}

/// The largest batch of times that a gate sends at once holds up other writers for less than the
/// two seconds that they wait at most.
pub async fn the_requests_of_ten_thousand_api_keys_are_noted_within_a_second<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let id = kept(&*store, new_key(Limits::default())).await;
    let others = std::iter::repeat_with(LicenseId::generate).take(9_999);
    let noted = others.chain([id]).map(|id| (id, hours(2))).collect();
    let begun = Instant::now();
    keys(&*store).note_requests(noted).await.expect("noted");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    let stored = known(&*store, id).await;
    assert_eq!(stored.key.last_request, Some(hours(2)));
}

/// A key that ends at a moment has ended then.
pub async fn api_keys_that_have_ended_are_found_by_their_owner<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut ended = Vec::new();
    for end in [None, Some(1), Some(2), Some(3)] {
        let mut new = new_key(Limits::default());
        new.license.license.spec.expires_at = end.map(hours);
        ended.push(kept(&*store, new).await);
    }
    let found = |account: &str, now: Timestamp, limit| {
        let filter = ApiKeyFilter {
            account: Some(account.parse().expect("valid")),
            ..ApiKeyFilter::default()
        };
        let store = store.clone();
        async move {
            let found = keys(&*store).expired_api_keys(filter, now, limit).await;
            found.expect("answers")
        }
    };
    assert_eq!(found("default", hours(2), 10).await, ended[1..3]);
    assert_eq!(found("default", hours(2), 1).await, ended[1..2]);
    assert_eq!(found("default", BIRTH, 10).await, []);
    assert_eq!(found("other", hours(9), 10).await, []);
}
