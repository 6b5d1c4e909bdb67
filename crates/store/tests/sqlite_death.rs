//! A process that writes to the SQLite store and is killed: kill -9 loses nothing that was
//! acknowledged.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use model::usage::{UsageKey, UsageQuery, UsageSums};
use model::{AccountName, InstanceId, LicenseId, Limits, Method, Mode, Outcome};
use store::{
    AuditEntries, ChangeNumber, ClaimKey, ClaimKind, ClaimStore, Claimed, LedgerStore,
    LicenseChange, LicenseStore, NewClaim, RollupBatch, SqliteOptions, SqliteStore,
};
use store_conformance::fixtures::{balance_figures, hours, keep, lease, spent_units, units};

const PLACE: &str = "TALLYGATE_TEST_STORE_CHILD";

/// The part of the child, which is no test by itself and does nothing unless it is asked to.
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
            .change_license(kept, label, AuditEntries::none())
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
        // The kernel has it, the disk perhaps not.
        let claimed = store.claim(claim(rolled)).await.expect("answers");
        assert_eq!(claimed, Claimed::Won);
        say(&format!("claim {rolled}"));
    }
}

fn claim(number: u64) -> NewClaim {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&number.to_be_bytes());
    NewClaim {
        key: ClaimKey {
            kind: ClaimKind::Nonce,
            digest,
        },
        content: [1; 32],
        owner: InstanceId::from_u128(9),
        reference: number.into(),
        prepared: Some(vec![7; 1_000]),
        waits_for_disk: false,
        at: hours(0),
        expires_at: hours(1),
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
        start: hours(rolled as i64 % 7),
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
        spent: vec![spent_units(license, 0, 1)],
        ..RollupBatch::default()
    }
}

#[derive(Default)]
struct Acknowledged {
    instance: InstanceId,
    license: LicenseId,
    kept: Vec<LicenseId>,
    changed: Vec<(LicenseId, u64)>,
    rolled: u64,
    claims: Vec<u64>,
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
            ["claim", number] => self.claims.push(number.parse().expect("a number")),
            _ => panic!("{line}"),
        }
    }
}

/// Runs the child until it acknowledged `writes` writes, and kills it.
fn live_and_die(place: &Path, writes: usize) -> Acknowledged {
    let mut child = Command::new(env::current_exe().expect("we run"))
        .args([
            "--exact",
            "the_child_writes_until_it_is_killed",
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
            // SIGKILL; writes that the child still acknowledges before it dies count too.
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
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    for writes in [1, 2, 5, 40, 143] {
        // Each child names its claims anew.
        let directory = directory.path().join(writes.to_string());
        std::fs::create_dir(&directory).expect("made");
        let acknowledged = live_and_die(&directory, writes);
        let store = SqliteStore::open(SqliteOptions::new(&directory)).expect("opens");
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
            (stored.version, stored.license.spec.label.as_deref()),
            (ChangeNumber(*number), Some("seen"))
        );
    }
    for number in &acknowledged.claims {
        let kept = store.claimed(claim(*number).key).await.expect("answers");
        assert_eq!(kept.expect("there").reference, u128::from(*number));
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
    let [granted, spent, leased, _] = balance_figures(store, acknowledged.license, hours(0)).await;
    assert_eq!(
        (granted, spent),
        (1_000_000, rolled),
        "leases and position are one"
    );
    assert!(leased <= 1, "at most the lease of the call under way");
}
