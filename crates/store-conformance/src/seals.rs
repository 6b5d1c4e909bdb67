//! The properties of sealing: intents, the manifest and the sealed positions.

use std::time::Duration;

use model::InstanceId;

use crate::StoreFactory;
use crate::fixtures::hours;
use store::{Error, SealIntent, SealedFile, SealedFiles, Store};

fn file(instance: InstanceId, lane: u32, from: u64, through: u64) -> SealedFile {
    SealedFile {
        range: SealIntent {
            instance,
            lane,
            from,
            through,
        },
        name: format!("{instance}-{lane}-{from}-{through}.parquet"),
        bytes: 1_000,
        records: through - from,
        calls: 2 * (through - from),
        hash: [through as u8; 32],
        previous: [from as u8; 32],
        first_started_at: hours(from as i64),
        last_started_at: hours(through as i64).plus_micros(-1),
        sealed_at: hours(100),
        removed_at: None,
    }
}

/// A crash at any point is answered by doing it all again.
pub async fn a_seal_is_intended_and_committed_once_however_often_it_is_tried<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let instance = InstanceId::generate();
    let first = file(instance, 1, 0, 4);
    for _ in 0..2 {
        store.intend_seal(first.range).await.expect("intended");
    }
    drop(store);
    let store = place.open().await;
    assert_eq!(store.seal_intents(instance).await, Ok(vec![first.range]));
    assert_eq!(
        store.seal_intents(InstanceId::generate()).await,
        Ok(Vec::new())
    );
    let longer = SealIntent {
        through: 5,
        ..first.range
    };
    let refused = store.intend_seal(longer).await;
    assert_eq!(
        refused,
        Err(Error::Position {
            expected: 5,
            found: 4
        }),
        "another name for the same records"
    );
    for _ in 0..2 {
        store.commit_seal(first.clone()).await.expect("committed");
    }
    store
        .intend_seal(first.range)
        .await
        .expect("nothing is left to do");
    assert_eq!(store.seal_intents(instance).await, Ok(Vec::new()));
    let position = store.positions(instance).await.expect("answers")[0];
    assert_eq!((position.lane, position.rolled, position.sealed), (1, 0, 4));
    let gap = store.commit_seal(file(instance, 1, 5, 6)).await;
    assert_eq!(
        gap,
        Err(Error::Position {
            expected: 5,
            found: 4
        })
    );
    let behind = store
        .intend_seal(SealIntent {
            from: 1,
            ..first.range
        })
        .await;
    assert_eq!(
        behind,
        Err(Error::Position {
            expected: 1,
            found: 4
        })
    );
    store
        .commit_seal(file(instance, 1, 4, 6))
        .await
        .expect("the next");
    store
        .commit_seal(file(instance, 0, 0, 2))
        .await
        .expect("another lane");
    let ranges: Vec<_> = store.manifest(None, None).await.expect("answers");
    let ranges: Vec<_> = ranges
        .iter()
        .map(|file| (file.range.lane, file.range.from))
        .collect();
    assert_eq!(ranges, [(0, 0), (1, 0), (1, 4)]);
}

/// Files whose earliest and latest calls lie on both sides of the time are shown too; removed ones
/// stay.
pub async fn the_manifest_shows_the_files_that_may_hold_calls_of_a_time<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let instance = InstanceId::generate();
    let files = [
        file(instance, 0, 0, 2),
        file(instance, 0, 2, 6),
        file(instance, 0, 6, 7),
    ];
    for file in &files {
        store.commit_seal(file.clone()).await.expect("committed");
    }
    for (from, to, expected) in [
        (None, None, &files[..]),
        (Some(2), None, &files[1..]),
        (None, Some(2), &files[..1]),
        (Some(3), Some(4), &files[1..2]),
        (Some(1), Some(7), &files[..]),
        (Some(7), None, &[]),
    ] {
        let seen = store
            .manifest(from.map(hours), to.map(hours))
            .await
            .expect("answers");
        assert_eq!(seen, expected, "{from:?} to {to:?}");
    }
    for at in [8, 9] {
        store
            .mark_removed(&files[0].name, hours(at))
            .await
            .expect("noted");
    }
    store
        .mark_removed("no such file", hours(8))
        .await
        .expect("nothing to note");
    let seen = store.manifest(None, None).await.expect("answers");
    assert_eq!(seen[0].removed_at, Some(hours(8)));
    assert_eq!(seen[1..], files[1..]);
}

/// The files are found without reading all of the manifest.
pub async fn files_are_found_by_their_lane_their_age_and_their_names<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let (one, two) = (InstanceId::generate(), InstanceId::generate());
    let own = [file(one, 0, 0, 3), file(one, 0, 3, 5), file(one, 0, 5, 9)];
    let others = [file(one, 1, 0, 4), file(two, 0, 0, 4)];
    for file in own.iter().chain(&others) {
        store.commit_seal(file.clone()).await.expect("committed");
    }
    for (after, limit, expected) in [
        (0, 10, &own[..]),
        (2, 2, &own[..2]),
        (3, 10, &own[1..]),
        (4, 1, &own[1..2]),
        (8, 10, &own[2..]),
        (9, 10, &[]),
    ] {
        let found = store.lane_files(one, 0, after, limit).await;
        assert_eq!(found.as_deref(), Ok(expected), "after {after}");
    }
    let none = store.lane_files(two, 1, 0, 10).await;
    assert_eq!(none, Ok(Vec::new()));

    let old = async |before, limit| {
        let files = store
            .old_files(hours(before), limit)
            .await
            .expect("answers");
        let names = files.into_iter().map(|file| file.name);
        names.collect::<Vec<_>>()
    };
    let name = |number: usize| own[number].name.clone();
    assert_eq!(
        old(100, 10).await,
        Vec::<String>::new(),
        "none is rolled up"
    );
    let rolled = super::fixtures::batch(one, 0, Vec::new());
    let through = store.roll_up(store::RollupBatch {
        through: 5,
        ..rolled
    });
    through.await.expect("rolled up");
    assert_eq!(old(100, 10).await, [name(0), name(1)]);
    assert_eq!(old(100, 1).await, [name(0)], "the oldest first");
    assert_eq!(old(4, 10).await, [name(0)], "only what began before");
    store
        .mark_removed(&name(0), hours(50))
        .await
        .expect("noted");
    assert_eq!(old(100, 10).await, [name(1)], "each is removed once");

    let asked = vec![name(0), "no such file".to_owned(), others[1].name.clone()];
    let mut named = store.files_named(asked).await.expect("answers");
    named.sort_by_key(|file| file.range.instance == two);
    assert_eq!(named.len(), 2);
    assert_eq!(
        (named[0].removed_at, &named[1]),
        (Some(hours(50)), &others[1])
    );
}

/// The gate that asks for a freeze may die before it is over.
pub async fn one_gate_at_a_time_has_the_others_stand_still_and_never_for_ever<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let (one, two) = (InstanceId::generate(), InstanceId::generate());
    let (long, short) = (Duration::from_secs(3_600), Duration::from_millis(50));
    assert_eq!(store.frozen_by().await, Ok(None));
    assert_eq!(store.begin_freeze(one, long).await, Ok(true));
    assert_eq!(store.begin_freeze(one, long).await, Ok(true), "prolonged");
    assert_eq!(store.begin_freeze(two, long).await, Ok(false));
    store.end_freeze(two).await.expect("nothing to end");
    assert_eq!(store.frozen_by().await, Ok(Some(one)));
    store.end_freeze(one).await.expect("ended");
    assert_eq!(store.frozen_by().await, Ok(None));
    assert_eq!(store.begin_freeze(two, short).await, Ok(true));
    let over = async {
        while store.frozen_by().await != Ok(None) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let over = tokio::time::timeout(Duration::from_secs(60), over).await;
    assert!(over.is_ok(), "it ends by itself");
    assert_eq!(store.begin_freeze(one, long).await, Ok(true));
}

/// The manifest is replaced as a rebuild does it, from the files that it found.
pub async fn the_manifest_and_the_sealed_positions_can_be_replaced<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let (known, lost) = (InstanceId::generate(), InstanceId::generate());
    store
        .commit_seal(file(known, 0, 0, 3))
        .await
        .expect("committed");
    store
        .commit_seal(file(known, 1, 0, 3))
        .await
        .expect("committed");
    store
        .intend_seal(file(known, 1, 3, 9).range)
        .await
        .expect("intended");
    let found = vec![
        file(known, 1, 0, 3),
        file(known, 1, 3, 9),
        file(lost, 0, 0, 4),
    ];
    for _ in 0..2 {
        store
            .replace_manifest(found.clone())
            .await
            .expect("replaced");
        let mut seen = store.manifest(None, None).await.expect("answers");
        seen.sort_by_key(|file| (file.range.instance == lost, file.range.from));
        assert_eq!(seen, found);
    }
    let sealed = store.positions(known).await.expect("answers");
    let sealed: Vec<_> = sealed
        .iter()
        .map(|position| (position.lane, position.sealed))
        .collect();
    assert_eq!(sealed, [(0, 0), (1, 9)]);
    assert_eq!(store.positions(lost).await.expect("answers")[0].sealed, 4);
    assert_eq!(
        store.seal_intents(known).await,
        Ok(Vec::new()),
        "its file was found"
    );
}

/// Bytes and line are one transaction. A store that keeps no files has nothing to show here.
pub async fn files_that_a_store_keeps_come_back_as_they_were_and_go_with_their_lines<
    F: StoreFactory,
>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let Some(files) = store.sealed_files() else {
        return;
    };
    let (name, content) = kept_files_come_back_as_they_were(&*store, files).await;
    drop(store);
    let store = place.open().await;
    let files = store.sealed_files().expect("it kept them before");
    assert_eq!(files.content(&name).await, Ok(Some(content)));
    assert_eq!(files.content_names().await, Ok(vec![name.clone()]));
    store.mark_removed(&name, hours(8)).await.expect("noted");
    assert_eq!(files.content(&name).await, Ok(None));
    assert_eq!(files.content_names().await, Ok(Vec::new()));
}

/// Checks a store of files: bytes come back, a seal is committed once however often it is tried,
/// and one that comes too late leaves neither line nor bytes. Returns the file that is kept in the
/// end.
pub async fn kept_files_come_back_as_they_were(
    store: &dyn Store,
    files: &dyn SealedFiles,
) -> (String, Vec<u8>) {
    let instance = InstanceId::generate();
    let (first, late) = (file(instance, 0, 0, 4), file(instance, 0, 9, 10));
    let content: Vec<u8> = (0..300_000_u32)
        .map(|number| (number.wrapping_mul(number) >> 3) as u8)
        .collect();
    for _ in 0..2 {
        let commit = files.commit_seal_with(first.clone(), content.clone());
        commit.await.expect("committed");
    }
    let refused = files.commit_seal_with(late.clone(), content.clone()).await;
    let elsewhere = Error::Position {
        expected: 9,
        found: 4,
    };
    assert_eq!(refused, Err(elsewhere));
    assert_eq!(
        files.content(&late.name).await,
        Ok(None),
        "neither line nor bytes"
    );
    assert_eq!(files.content(&first.name).await, Ok(Some(content)));
    assert_eq!(store.manifest(None, None).await, Ok(vec![first.clone()]));
    let other = vec![1, 2, 3];
    files
        .put_content(&first.name, other.clone())
        .await
        .expect("replaced");
    (first.name, other)
}
