//! The properties of the numbered changes that gates follow, and of the fingerprints they begin
//! with.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Limits, Timestamp};

use crate::StoreFactory;
use crate::fixtures::{keep, new_license};
use store::{AuditEntries, Change, ChangeNumber, LicenseChange, Store};

/// A reader beside the writers sees every number once and in order, and none twice or late,
/// whatever fails meanwhile.
pub async fn change_numbers_have_no_gaps_under_parallel_writers<F: StoreFactory>() {
    const WRITERS: u64 = 8;
    const CHANGES: u64 = 20;
    let place = F::fresh().await;
    let store = place.open().await;
    let taken = new_license(Limits::default());
    store
        .create_licenses(vec![taken.clone()], AuditEntries::none())
        .await
        .expect("new");
    let last = ChangeNumber(1 + WRITERS * (CHANGES + 1));
    let reader = tokio::spawn(follow(Arc::clone(&store), last));
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let (store, taken) = (Arc::clone(&store), taken.clone());
        writers.push(tokio::spawn(async move {
            let id = keep(&*store, Limits::default()).await;
            for number in 0..CHANGES {
                let label = LicenseChange::Label(Some(number.to_string()));
                store
                    .change_license(id, label, AuditEntries::none())
                    .await
                    .expect("answers")
                    .expect("there");
                let refused = store
                    .create_licenses(vec![taken.clone()], AuditEntries::none())
                    .await;
                assert!(refused.is_err());
            }
            id
        }));
    }
    let mut ids = BTreeSet::from([taken.license.id]);
    for writer in writers {
        ids.insert(writer.await.expect("no panic"));
    }
    let changes = reader.await.expect("no panic");
    let numbers: Vec<u64> = changes.iter().map(|change| change.number.0).collect();
    assert_eq!(numbers, (1..=last.0).collect::<Vec<_>>());
    let new_year: Timestamp = "2020-01-01T00:00:00Z".parse().expect("a time");
    assert!(changes.iter().all(|change| change.at >= new_year));
    let again = store.changes_since(ChangeNumber(0), numbers.len()).await;
    assert_eq!(
        again,
        Ok((changes.clone(), last)),
        "a change stays as it is"
    );
    let added = changes
        .iter()
        .filter(|change| change.added.is_some())
        .count() as u64;
    assert_eq!(
        added,
        1 + WRITERS,
        "one fingerprint for each license that was made"
    );
    assert_eq!(
        changes
            .iter()
            .map(|change| change.license_id)
            .collect::<BTreeSet<_>>(),
        ids
    );
}

async fn follow(store: Arc<dyn Store>, last: ChangeNumber) -> Vec<Change> {
    let mut seen: Vec<Change> = Vec::new();
    loop {
        let number = seen.last().map_or(ChangeNumber(0), |change| change.number);
        let (changes, newest) = store.changes_since(number, 7).await.expect("answers");
        assert!(changes.len() <= 7);
        assert!(changes.last().map_or(number, |change| change.number) <= newest);
        if changes.is_empty() {
            assert_eq!(newest, number, "nothing after the newest change");
            if newest == last {
                return seen;
            }
            tokio::task::yield_now().await;
        }
        seen.extend(changes);
    }
}

/// Pages end exactly, and credentials that are added meanwhile come at the end.
pub async fn fingerprints_by_pages_are_those_of_all_credentials<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    assert_eq!(store.fingerprints(None, 10).await, Ok((Vec::new(), None)));
    let mut expected = Vec::new();
    for _ in 0..12 {
        let new = new_license(Limits::default());
        expected.push(new.credentials[0].hash.fingerprint());
        store
            .create_licenses(vec![new], AuditEntries::none())
            .await
            .expect("new");
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let (page, next) = store.fingerprints(after, 4).await.expect("answers");
        assert_eq!(page.len(), 4);
        seen.extend(page);
        if next.is_none() {
            break;
        }
        after = next;
    }
    assert_eq!(seen, expected);
}
