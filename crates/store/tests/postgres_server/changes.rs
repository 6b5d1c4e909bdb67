//! Numbers of changes in commit order, with transactions that are slow on purpose.

use std::sync::Arc;

use model::{AccountName, Alias, AppName, Device, LicenseId, Limits, User, UserId};
use store::{
    AuditEntries, Change, ChangeNumber, LicenseChange, LicenseStore, PostgresStore, SoftwareStore,
    UserStore,
};
use store_conformance::fixtures::{hours, keep, new_license};
use testkit::Postgres;

use crate::support::{connect, in_time, open, wait_for};

/// Reads changes as a gate does, until the last change of each of these licenses was seen; checks
/// that none is skipped.
async fn follow(store: Arc<PostgresStore>, licenses: Vec<(LicenseId, usize)>) -> Vec<Change> {
    let mut seen: Vec<Change> = Vec::new();
    let count = |seen: &[Change], id| seen.iter().filter(|change| change.license_id == id).count();
    loop {
        let number = seen.last().map_or(ChangeNumber(0), |change| change.number);
        let (changes, _) = store.changes_since(number, 100).await.expect("answers");
        seen.extend(changes);
        let numbers = seen.iter().map(|change| change.number.0);
        assert!(
            numbers.eq(1..=seen.len() as u64),
            "a change was skipped: {seen:?}"
        );
        if licenses
            .iter()
            .all(|(id, times)| count(&seen, *id) >= *times)
        {
            return seen;
        }
        tokio::task::yield_now().await;
    }
}

fn label(text: &str) -> LicenseChange {
    LicenseChange::Label(Some(text.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_commits_slowly_hides_no_change_that_came_after_it() {
    let server = Postgres::shared();
    let url = server.schema();
    let store = Arc::new(open(&url).await);
    let slow = keep(&*store, Limits::default()).await;
    let quick = keep(&*store, Limits::default()).await;
    // The commit itself takes long, which is after the number was given: with numbers of a
    // sequence, the changes of the other license would be seen first.
    let raw = connect(&url).await;
    let uuid = uuid::Uuid::from_u128(slow.as_u128());
    raw.batch_execute(&format!(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
           BEGIN IF NEW.license_id = '{uuid}' THEN PERFORM pg_sleep(0.3); END IF; RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON changes DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION dawdle()"
    ))
    .await
    .expect("made");
    let reader = tokio::spawn(follow(Arc::clone(&store), vec![(slow, 4), (quick, 21)]));
    let mut writers = tokio::task::JoinSet::new();
    for (license, times) in [(slow, 3), (quick, 20)] {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for number in 0..times {
                let changed = store
                    .change_license(license, label(&number.to_string()), AuditEntries::none())
                    .await;
                changed.expect("answers").expect("there");
            }
        });
    }
    in_time(writers.join_all()).await;
    let seen = in_time(reader).await.expect("nothing was skipped");
    assert_eq!(seen.len(), 25);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_waits_long_before_it_has_its_number_is_numbered_last() {
    let server = Postgres::shared();
    let url = server.schema();
    let store = Arc::new(open(&url).await);
    let (held, free) = (
        keep(&*store, Limits::default()).await,
        keep(&*store, Limits::default()).await,
    );
    let raw = connect(&url).await;
    let uuid = uuid::Uuid::from_u128(held.as_u128());
    raw.batch_execute(&format!(
        "BEGIN; SELECT FROM licenses WHERE id = '{uuid}' FOR UPDATE"
    ))
    .await
    .expect("locked");
    let changing = Arc::clone(&store);
    let waiting = tokio::spawn(async move {
        changing
            .change_license(held, label("held"), AuditEntries::none())
            .await
    });
    let other = connect(&url).await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    wait_for(
        || other.query_one(waits, &[]),
        |row| row.as_ref().is_ok_and(|row| row.get::<_, i64>(0) > 0),
    )
    .await
    .expect("it waits");
    for number in 0..5 {
        let changed = store
            .change_license(free, label(&number.to_string()), AuditEntries::none())
            .await;
        changed.expect("nobody waits for it").expect("there");
    }
    let (before, last) = store
        .changes_since(ChangeNumber(0), 100)
        .await
        .expect("answers");
    assert_eq!((before.len(), last), (7, ChangeNumber(7)));
    raw.batch_execute("COMMIT").await.expect("let go");
    let changed = in_time(waiting).await.expect("no panic");
    let changed = changed.expect("answers").expect("there");
    assert_eq!(changed.version, ChangeNumber(8));
    let (after, last) = store.changes_since(last, 100).await.expect("answers");
    assert_eq!((after[0].license_id, last), (held, ChangeNumber(8)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_frees_many_licenses_at_once_removes_old_changes_too() {
    let server = Postgres::shared();
    let url = server.schema();
    let store = open(&url).await;
    let raw = connect(&url).await;
    let app: AppName = "api".parse().expect("valid");
    let user = User {
        id: UserId::generate(),
        account: AccountName::default(),
        app: app.clone(),
        login: "zoe".to_owned(),
        alias: Alias::from_u64(7),
        first_name: None,
        last_name: None,
        created_at: hours(0),
        updated_at: hours(0),
    };
    let created = store.create_user(user, AuditEntries::none()).await;
    created.expect("new");
    let mut held = new_license(Limits::default());
    held.license.spec.user = Some("zoe".to_owned());
    held.devices = vec![Device {
        id: "A".parse().expect("valid"),
        bound_at: hours(0),
    }];
    let created = store.create_licenses(vec![held], AuditEntries::none());
    created.await.expect("new");
    let many_more = async |last: i64| {
        let set = format!("UPDATE change_counter SET last = {last}");
        raw.batch_execute(&set).await.expect("set");
    };
    many_more(1_000_000_000 - 1).await;
    let freed = store.reset_devices_of(&app, None, 10, AuditEntries::none());
    assert_eq!(freed.await.expect("answers").1, 1);
    let oldest = "SELECT min(number) FROM changes";
    let oldest = async || {
        raw.query_one(oldest, &[])
            .await
            .expect("answers")
            .get::<_, i64>(0)
    };
    assert_eq!(oldest().await, 1_000_000_000);
    many_more(2_000_000_000 - 1).await;
    let deleted = store.delete_user(&app, "zoe", AuditEntries::none());
    assert_eq!(deleted.await, Ok(true));
    assert_eq!(oldest().await, 2_000_000_000);
}
