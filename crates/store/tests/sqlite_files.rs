//! What can happen to the files of the SQLite store: locks, removal, damage, newer versions, sudden death.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::{InstanceId, LicenseId, Limits};
use rusqlite::Connection;
use store::conformance::fixtures::{books, hours, keep, lease, new_license, units};
use store::{
    ChangeNumber, Error, LedgerStore, LicenseChange, LicenseStore, ManagementStore, QuotaStore,
    SqliteOptions, SqliteStore, Store,
};
use tempfile::TempDir;

/// No call waits longer than its bound; this is far above it.
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
    store.create_licenses(vec![new.clone()]).await.expect("new");
    let (id, hash) = (new.license.id, new.credentials[0].hash);
    for name in ["licenses.db", "ledger.db"] {
        let other = Connection::open(directory.path().join(name)).expect("opens");
        other.execute_batch("BEGIN IMMEDIATE").expect("locks");
        let writes = async || match name {
            "licenses.db" => store.put_if_absent("a", vec![1]).await.map(drop),
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
    store.create_licenses(vec![new.clone()]).await.expect("new");
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
            "licenses.db" => in_time(store.put_if_absent("b", vec![1])).await.map(drop),
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
        let expected = Error::NewerSchema {
            path: path.display().to_string(),
            found: 99,
            known: 1,
        };
        assert_eq!(refused, expected);
        assert!(refused.to_string().contains("use a newer tallygate"));
        assert_eq!(fs::read(&path).expect("reads"), before);
    }
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
        assert_eq!(books(store, license, hours(0)).await, [16, 0, 16, 0]);
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
        .change_license(license, by_hand(3))
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
        .change_license(license, by_hand(7))
        .await
        .expect("changed");
    assert_eq!(books(&store, license, hours(0)).await, [7, 0, 0, 2]);
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
        .change_license(license, change)
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
        flood.spawn(async move { store.put_if_absent("c", vec![1]).await });
    }
    let answers = in_time(flood.join_all()).await;
    assert!(answers.iter().all(unavailable));
    other.execute_batch("ROLLBACK").expect("unlocks");
    in_time(store.put_if_absent("c", vec![2]))
        .await
        .expect("free again");
}

mod death {
    //! A child that writes until it is killed.

    use std::env;
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    use model::usage::{UsageKey, UsageQuery, UsageSums};
    use model::{AccountName, Method, Mode, Outcome};
    use store::{RollupBatch, Spent};

    use super::*;

    const PLACE: &str = "TALLYGATE_TEST_STORE_CHILD";

    /// Not a test by itself: the part of the child, which does nothing unless it is asked to.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_child_writes_until_it_is_killed() {
        let Ok(place) = env::var(PLACE) else { return };
        let store = SqliteStore::open(SqliteOptions::new(place)).expect("opens");
        let instance = InstanceId::generate();
        let license = keep(&store, units(1_000_000, None)).await;
        say(&format!("start {instance} {license}"));
        for rolled in 0_u64.. {
            let kept = keep(&store, Limits::default()).await;
            say(&format!("license {kept}"));
            let label = LicenseChange::Label(Some("seen".to_owned()));
            let stored = store
                .change_license(kept, label)
                .await
                .expect("answers")
                .expect("there");
            say(&format!("change {kept} {}", stored.version.0));
            lease(&store, instance, license, 1, hours(0)).await;
            store
                .roll_up(batch(instance, license, rolled))
                .await
                .expect("rolled");
            say(&format!("rolled {}", rolled + 1));
        }
    }

    fn say(line: &str) {
        let mut out = std::io::stdout().lock();
        writeln!(out, "child: {line}")
            .and_then(|()| out.flush())
            .expect("the parent listens");
    }

    fn batch(instance: InstanceId, license: LicenseId, rolled: u64) -> RollupBatch {
        let key = UsageKey {
            account: AccountName::default(),
            app: "api".parse().expect("valid"),
            license_id: Some(license),
            route: "/".to_owned(),
            method: Method::Get,
            status: 200,
            outcome: Outcome::Delivered,
            mode: Mode::Proxy,
            test: false,
            plan: None,
            currency: None,
            hour: hours(rolled as i64 % 7),
        };
        let one = UsageSums {
            calls: 1,
            ..UsageSums::default()
        };
        RollupBatch {
            instance,
            lane: 0,
            from: rolled,
            through: rolled + 1,
            rows: vec![(key, one)],
            spent: vec![Spent {
                license_id: license,
                units: vec![(0, 1)],
                calls: Vec::new(),
            }],
        }
    }

    #[derive(Default)]
    struct Acknowledged {
        instance: InstanceId,
        license: LicenseId,
        kept: Vec<LicenseId>,
        changed: Vec<(LicenseId, u64)>,
        rolled: u64,
    }

    impl Acknowledged {
        fn hear(&mut self, line: &str) {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["start", instance, license] => {
                    self.instance = instance.parse().expect("an id");
                    self.license = license.parse().expect("an id");
                }
                ["license", id] => self.kept.push(id.parse().expect("an id")),
                ["change", id, number] => {
                    let number = number.parse().expect("a number");
                    self.changed.push((id.parse().expect("an id"), number));
                }
                ["rolled", through] => self.rolled = through.parse().expect("a number"),
                _ => panic!("{line}"),
            }
        }
    }

    /// Runs the child until it acknowledged so many writes, and kills it.
    fn live_and_die(place: &Path, writes: usize) -> Acknowledged {
        let mut child = Command::new(env::current_exe().expect("we run"))
            .args([
                "--exact",
                "death::the_child_writes_until_it_is_killed",
                "--nocapture",
            ])
            .env(PLACE, place)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the child starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let mut acknowledged = Acknowledged::default();
        let mut heard = 0;
        for line in out.lines() {
            let line = line.expect("text");
            // The test harness may print before the child does, on the same line.
            let Some((_, line)) = line.split_once("child: ") else {
                continue;
            };
            acknowledged.hear(line);
            heard += 1;
            if heard == writes {
                // SIGKILL; what the child still says before it dies counts too.
                child.kill().expect("killed");
            }
        }
        child.wait().expect("reaped");
        assert!(
            heard >= writes,
            "the child ended by itself after {heard} writes"
        );
        acknowledged
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_killed_process_loses_no_acknowledged_write_and_leaves_no_half_of_one() {
        let directory = directory();
        for writes in [1, 2, 5, 40, 143] {
            let acknowledged = live_and_die(directory.path(), writes);
            let store = open(directory.path()).expect("opens");
            check(&store, &acknowledged).await;
        }
    }

    async fn check(store: &SqliteStore, acknowledged: &Acknowledged) {
        for id in &acknowledged.kept {
            assert!(store.license(*id).await.expect("answers").is_some());
        }
        for (id, number) in &acknowledged.changed {
            let stored = store.license(*id).await.expect("answers").expect("there");
            assert_eq!(
                (stored.version, stored.license.label.as_deref()),
                (ChangeNumber(*number), Some("seen"))
            );
        }
        let (changes, last) = store
            .changes_since(ChangeNumber(0), 100_000)
            .await
            .expect("answers");
        let numbers: Vec<u64> = changes.iter().map(|change| change.number.0).collect();
        assert_eq!(numbers, (1..=last.0).collect::<Vec<_>>());

        let positions = store
            .positions(acknowledged.instance)
            .await
            .expect("answers");
        let rolled = positions.first().map_or(0, |position| position.rolled);
        assert!(rolled >= acknowledged.rolled);
        let query = UsageQuery {
            license_id: Some(acknowledged.license),
            ..UsageQuery::default()
        };
        let usage = store.usage(query).await.expect("answers");
        let calls: u64 = usage.iter().map(|row| row.sums.calls).sum();
        assert_eq!(calls, rolled, "rows and position are one");
        let [granted, spent, leased, _] = books(store, acknowledged.license, hours(0)).await;
        assert_eq!(
            (granted, spent),
            (1_000_000, rolled),
            "leases and position are one"
        );
        assert!(leased <= 1, "at most the lease of the call under way");
    }
}
