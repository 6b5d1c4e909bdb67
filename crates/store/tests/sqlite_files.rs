//! The SQLite store when its files are locked, removed, damaged, of newer versions, or left by
//! sudden death.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::{Actor, AuditEntry, InstanceId};
use rusqlite::Connection;
use store::{
    AuditEntries, AuditFilter, AuditStore, Error, LedgerStore, LicenseChange, LicenseStore,
    ManagementStore, QuotaStore, SqliteOptions, SqliteStore, Store,
};
use store_conformance::fixtures::{balance_figures, hours, keep, lease, new_license, units};
use tempfile::TempDir;

/// A time far above the bound that every call keeps.
const DEADLINE: Duration = Duration::from_secs(30);

fn directory() -> TempDir {
    TempDir::new().expect("a temporary directory")
}

fn open(directory: &Path) -> Result<SqliteStore, Error> {
    SqliteStore::open(SqliteOptions {
        busy_timeout: Duration::from_millis(200),
        ..SqliteOptions::new(directory)
    })
}

async fn in_time<T>(call: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(DEADLINE, call).await;
    answer.expect("the store answers within its bound")
}

/// Asks until the answer is the one that is waited for.
async fn wait_for<T, F: Future<Output = T>>(ask: impl Fn() -> F, is_it: impl Fn(&T) -> bool) -> T {
    in_time(async {
        loop {
            let answer = ask().await;
            if is_it(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

fn unavailable<T>(answer: &Result<T, Error>) -> bool {
    answer.as_ref().is_err_and(Error::is_unavailable)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_file_fails_writes_in_time_and_leaves_look_ups_alone_until_it_is_free() {
    let directory = directory();
    let store = open(directory.path()).expect("opens");
    let new = new_license(units(5, None));
    store
        .create_licenses(vec![new.clone()], AuditEntries::none())
        .await
        .expect("new");
    let (id, hash) = (new.license.id, new.credentials[0].hash);
    for name in ["licenses.db", "ledger.db"] {
        let other = Connection::open(directory.path().join(name)).expect("opens");
        other.execute_batch("BEGIN IMMEDIATE").expect("locks");
        let writes = async || match name {
            "licenses.db" => store
                .put_if_absent("a", vec![1], AuditEntries::none())
                .await
                .map(drop),
            _ => {
                store
                    .begin_instance(InstanceId::generate(), String::new(), hours(0))
                    .await
            }
        };
        // More than one at a time: those that wait behind a lock share its delay.
        let (first, second) = in_time(async { tokio::join!(writes(), writes()) }).await;
        assert!(
            unavailable(&first) && unavailable(&second),
            "{first:?} {second:?}"
        );
        let found = in_time(store.license_by_key(hash))
            .await
            .expect("readers do not wait for writers");
        assert_eq!(found.expect("there").license.id, id);
        assert_eq!(
            in_time(store.balance(id, hours(0)))
                .await
                .expect("answers")
                .expect("counted")
                .granted,
            5
        );
        other.execute_batch("ROLLBACK").expect("unlocks");
        in_time(writes()).await.expect("free again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_file_is_noticed_never_made_anew_and_used_again_when_it_is_back() {
    let directory = directory();
    let store = open(directory.path()).expect("opens");
    let new = new_license(units(5, None));
    store
        .create_licenses(vec![new.clone()], AuditEntries::none())
        .await
        .expect("new");
    let gate = InstanceId::generate();
    assert_eq!(
        lease(&store, gate, new.license.id, 2, hours(0)).await.units,
        2
    );
    let hash = new.credentials[0].hash;
    assert!(store.license_by_key(hash).await.expect("answers").is_some());

    for (number, name) in ["licenses.db", "ledger.db"].into_iter().enumerate() {
        let (path, away) = (directory.path().join(name), directory.path().join("away"));
        fs::rename(&path, &away).expect("moves");
        let lost = match name {
            "licenses.db" => in_time(store.put_if_absent("b", vec![1], AuditEntries::none()))
                .await
                .map(drop),
            _ => in_time(store.give_back(gate, Vec::new())).await,
        };
        assert!(
            unavailable(&lost),
            "nothing is written to a file that is gone: {lost:?}"
        );
        match name {
            "licenses.db" => {
                wait_for(|| store.license_by_key(hash), unavailable)
                    .await
                    .expect_err("gone");
            }
            _ => {
                wait_for(|| store.instances(), unavailable)
                    .await
                    .expect_err("gone");
            }
        }
        assert!(!path.exists());
        if number == 0 {
            fs::rename(&away, &path).expect("moves back");
        } else {
            fs::copy(&away, &path).expect("restores a copy");
        }
        let found = wait_for(|| store.license_by_key(hash), Result::is_ok).await;
        assert!(found.expect("answers").is_some());
        let back = wait_for(|| store.give_back(gate, Vec::new()), Result::is_ok).await;
        back.expect("answers");
    }
    let rest = lease(&store, gate, new.license.id, 9, hours(0)).await;
    assert_eq!(
        (rest.units, rest.left),
        (3, 0),
        "what was leased before is still leased"
    );
}

#[test]
fn a_newer_schema_is_refused_by_name_and_left_as_it_is() {
    for name in ["licenses.db", "ledger.db"] {
        let directory = directory();
        drop(open(directory.path()).expect("opens"));
        let path = directory.path().join(name);
        let file = Connection::open(&path).expect("opens");
        file.pragma_update(None, "user_version", 99)
            .expect("written");
        drop(file);
        let before = fs::read(&path).expect("reads");
        let refused = open(directory.path()).expect_err("newer");
        let Error::NewerSchema {
            path: named,
            found: 99,
            known: 1..99,
        } = &refused
        else {
            panic!("{refused:?}");
        };
        assert_eq!(*named, path.display().to_string());
        assert!(refused.to_string().contains("use a newer tallygate"));
        assert_eq!(fs::read(&path).expect("reads"), before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_of_the_audit_log_can_be_changed_deleted_or_replaced() {
    let directory = directory();
    let store = open(directory.path()).expect("opens");
    let line = AuditEntry::new(&Actor::OPERATOR, hours(0), "license.create", "lic_1");
    store.add_audit(vec![line.clone()]).await.expect("added");
    let other = Connection::open(directory.path().join("licenses.db")).expect("opens");
    let columns = "at, account, who, address, action, subject, before, after, count";
    let by_number = format!("(number, id, {columns}) SELECT number, randomblob(16), {columns}");
    let by_id = format!("(id, {columns}) SELECT id, {columns}");
    let of = |verb: &str, line: &str| format!("{verb} INTO audit {line} FROM audit WHERE true");
    let sneaking = "ON CONFLICT DO UPDATE SET who = 'gate'";
    let tries = [
        "UPDATE audit SET who = 'gate'".to_owned(),
        "UPDATE OR REPLACE audit SET who = 'gate'".to_owned(),
        "DELETE FROM audit".to_owned(),
        of("REPLACE", &by_number),
        of("REPLACE", &by_id),
        of("INSERT OR REPLACE", &by_id),
        format!("{} {sneaking}", of("INSERT", &by_id)),
    ];
    for sql in tries {
        let refused = other.execute(&sql, []).expect_err(&sql);
        assert!(refused.to_string().contains("audit log"), "{refused}");
    }
    let lines = store.audit(AuditFilter::default(), 0, 9).await;
    let lines: Vec<_> = lines.expect("answers").into_iter().collect();
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].number, &lines[0].entry), (1, &line));
}

#[test]
fn what_is_not_our_database_is_corrupt_and_left_as_it_is() {
    let whole = directory();
    drop(open(whole.path()).expect("opens"));
    let mut damaged = fs::read(whole.path().join("licenses.db")).expect("reads");
    damaged[100..4_096].fill(0xff);
    let swapped = fs::read(whole.path().join("ledger.db")).expect("reads");
    for content in [b"not a database at all, but longer than a header of a hundred bytes or so, for sure it is!!!!".repeat(9), swapped, damaged] {
        let directory = directory();
        let path = directory.path().join("licenses.db");
        fs::write(&path, &content).expect("writes");
        let refused = open(directory.path()).expect_err("not ours");
        assert!(matches!(refused, Error::Corrupt(_)), "{refused:?}");
        assert!(refused.to_string().contains("licenses.db"), "{refused}");
        assert_eq!(fs::read(&path).expect("reads"), content);
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_unavailable() {
    let directory = directory();
    let file = directory.path().join("file");
    fs::write(&file, "").expect("writes");
    assert!(unavailable(&open(&file.join("below"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_a_new_store_at_once_and_all_see_what_one_writes() {
    let directory = directory();
    let openings: Vec<_> = (0..8)
        .map(|_| {
            let path = directory.path().to_owned();
            std::thread::spawn(move || SqliteStore::open(SqliteOptions::new(path)))
        })
        .collect();
    let mut stores = Vec::new();
    for opening in openings {
        stores.push(opening.join().expect("no panic").expect("opens"));
    }
    let license = keep(&stores[0], units(16, None)).await;
    for store in &stores {
        assert_eq!(
            lease(store, InstanceId::generate(), license, 2, hours(0))
                .await
                .units,
            2
        );
    }
    for store in &stores {
        assert_eq!(
            balance_figures(store, license, hours(0)).await,
            [16, 0, 16, 0]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_store_leaves_whole_files_that_its_owner_alone_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory();
    let place = directory.path().join("made");
    let store: Arc<dyn Store> = Arc::new(open(&place).expect("opens"));
    let license = keep(&*store, units(5, None)).await;
    lease(&*store, InstanceId::generate(), license, 1, hours(0)).await;
    drop(store);
    let mut names = Vec::new();
    for entry in fs::read_dir(&place).expect("reads") {
        let entry = entry.expect("reads");
        assert_eq!(
            entry.metadata().expect("reads").permissions().mode() & 0o077,
            0
        );
        names.push(entry.file_name());
    }
    names.sort();
    assert_eq!(
        names,
        ["ledger.db", "licenses.db"],
        "no log is left beside them"
    );
    assert_eq!(
        fs::metadata(&place).expect("reads").permissions().mode() & 0o077,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balance_outlives_an_older_copy_of_the_licenses_and_obeys_the_next_hand() {
    let directory = directory();
    let path = directory.path().join("licenses.db");
    let store = open(directory.path()).expect("opens");
    let license = keep(&store, units(10, None)).await;
    drop(store);
    let older = fs::read(&path).expect("reads");
    let by_hand = |remaining| LicenseChange::Limits {
        limits: units(remaining, None),
        balance: true,
    };
    let store = open(directory.path()).expect("opens");
    lease(&store, InstanceId::generate(), license, 4, hours(0)).await;
    store
        .change_license(license, by_hand(3), AuditEntries::none())
        .await
        .expect("changed");
    lease(&store, InstanceId::generate(), license, 2, hours(0)).await;
    drop(store);
    fs::write(&path, older).expect("restores");
    let store = open(directory.path()).expect("opens");
    let rest = lease(&store, InstanceId::generate(), license, 99, hours(0)).await;
    assert_eq!(
        rest.units, 1,
        "the older copy gives nothing back that was taken"
    );
    store
        .change_license(license, by_hand(7), AuditEntries::none())
        .await
        .expect("changed");
    assert_eq!(
        balance_figures(&store, license, hours(0)).await,
        [7, 0, 0, 2]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_by_hand_survives_a_death_before_the_ledger_heard_of_it() {
    let directory = directory();
    let store = open(directory.path()).expect("opens");
    let license = keep(&store, units(10, None)).await;
    lease(&store, InstanceId::generate(), license, 10, hours(0)).await;
    let limits = units(4, None);
    let change = LicenseChange::Limits {
        limits,
        balance: true,
    };
    store
        .change_license(license, change, AuditEntries::none())
        .await
        .expect("changed");
    // As after a death: the files as they are on disk now, with their logs.
    let copy = self::directory();
    for entry in fs::read_dir(directory.path()).expect("reads") {
        let entry = entry.expect("reads");
        let name = entry.file_name();
        if !name.to_string_lossy().ends_with("-shm") {
            fs::copy(entry.path(), copy.path().join(name)).expect("copies");
        }
    }
    let store = open(copy.path()).expect("opens");
    let grant = lease(&store, InstanceId::generate(), license, 99, hours(0)).await;
    assert_eq!((grant.units, grant.left), (4, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_writes_behind_a_lock_is_refused_and_bounded() {
    let directory = directory();
    let store = Arc::new(open(directory.path()).expect("opens"));
    let other = Connection::open(directory.path().join("licenses.db")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..6_000 {
        let store = Arc::clone(&store);
        flood.spawn(async move {
            store
                .put_if_absent("c", vec![1], AuditEntries::none())
                .await
        });
    }
    let answers = in_time(flood.join_all()).await;
    assert!(answers.iter().all(unavailable));
    other.execute_batch("ROLLBACK").expect("unlocks");
    in_time(store.put_if_absent("c", vec![2], AuditEntries::none()))
        .await
        .expect("free again");
}
