//! The recovery of dead processes: their records are rolled up and sealed once.

use journal::DeadInstance;
use ledger::CallLine;
use model::usage::{UsageField, UsageQuery};
use model::{CallId, InstanceId, Outcome};
use store::LedgerStore;
use tokio::runtime::Handle;

use crate::support::{Gate, Home, Shape, comes_true, lines, recover};

async fn outcomes(gate: &Gate) -> Vec<(Outcome, u64, u64)> {
    let query = UsageQuery {
        by: vec![UsageField::Outcome],
        ..UsageQuery::default()
    };
    let rows = gate.ledger.usage(query).await.unwrap().rows;
    let mut outcomes: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.outcome.unwrap(),
                row.sums.calls,
                row.sums.billable_calls,
            )
        })
        .collect();
    outcomes.sort_unstable();
    outcomes
}

fn of(lines: &[CallLine], outcome: Outcome) -> Vec<CallId> {
    let same = |line: &&CallLine| line.outcome == outcome;
    lines.iter().filter(same).map(|line| line.call_id).collect()
}

/// Leaves ten calls that ended, of which six are rolled up and four sealed, two that did not, and
/// three marks of which one has a head.
async fn leave_a_mess(home: &Home) -> (Vec<CallId>, Vec<CallId>, Vec<CallId>) {
    let gate = home.gate().await;
    let mut ended = Vec::new();
    for second in 0..10 {
        ended.push(gate.call(Shape::new(second as u64, second)));
        if second == 3 {
            gate.ledger.seal().await.unwrap();
        }
        if second == 5 {
            gate.ledger.ship().await.unwrap();
        }
    }
    let open = vec![gate.open(Shape::new(0, 20)), gate.open(Shape::new(1, 21))];
    let mut marks = Vec::new();
    for second in 30..32 {
        let (id, slot) = gate.mark(Shape::new(2, second));
        std::mem::forget(slot);
        marks.push(id);
    }
    // The gate is killed between the head and the end of the mark.
    let head = gate.head(Shape::new(0, 40));
    std::mem::forget(gate.journal.mark(&head.encode()).unwrap());
    let lane = gate.lane(0);
    let mut space = lane.reserve(160, 2).unwrap();
    let _ = lane.open(&mut space, &head.encode());
    let mut open = open;
    open.push(head.call_id);
    gate.die().await;
    (ended, open, marks)
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_without_a_tail_are_interrupted_and_marks_without_a_head_unknown() {
    let home = Home::new();
    let (ended, open, marks) = leave_a_mess(&home).await;
    let recovery = recover(&home).await;
    assert_eq!(recovery.recovered.len(), 1);
    assert!(recovery.failed.is_empty(), "{:?}", recovery.failed);

    let gate = home.gate().await;
    let lines = lines(&gate).await;
    assert_eq!(of(&lines, Outcome::Delivered), ended);
    assert_eq!(of(&lines, Outcome::Interrupted), open);
    assert_eq!(of(&lines, Outcome::Unknown), marks);
    let unknown = lines
        .iter()
        .find(|line| line.outcome == Outcome::Unknown)
        .unwrap();
    assert_eq!(
        (unknown.status, unknown.app.as_str(), unknown.billable),
        (0, "api", false)
    );
    assert_eq!(
        outcomes(&gate).await,
        [
            (Outcome::Delivered, 10, 10),
            (Outcome::Interrupted, 3, 3),
            (Outcome::Unknown, 2, 0)
        ]
    );
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(
        (report.accepted, report.stored, report.pending),
        (15, 15, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_can_be_repeated() {
    let home = Home::new();
    leave_a_mess(&home).await;
    assert_eq!(recover(&home).await.recovered.len(), 1);
    let files = home.files();
    let again = recover(&home).await;
    assert!(again.recovered.is_empty() && again.failed.is_empty());
    assert_eq!(home.files(), files);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_restored_from_an_old_copy_gets_everything_again() {
    let home = Home::new();
    // A first life, then a copy of the store, then more.
    let gate = home.gate().await;
    for second in 0..20 {
        gate.call(Shape::new(second as u64, second));
    }
    gate.ledger.shutdown().await.unwrap();
    gate.die().await;
    home.copy("store", "old");
    leave_a_mess(&home).await;
    recover(&home).await;
    let gate = home.gate().await;
    gate.call(Shape::new(1, 50));
    gate.ledger.shutdown().await.unwrap();
    let before = (lines(&gate).await, outcomes(&gate).await);
    let files = home.files();
    gate.die().await;

    home.copy("old", "store");
    let recovery = recover(&home).await;
    assert_eq!(recovery.recovered.len(), 2);
    let gate = home.gate().await;
    assert_eq!((lines(&gate).await, outcomes(&gate).await), before);
    assert_eq!(home.files(), files, "files are adopted, not made anew");
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.stored, 36);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_alone_are_enough_when_store_and_journal_are_gone() {
    let home = Home::new();
    let gate = home.gate().await;
    for second in 0..20 {
        gate.call(Shape {
            limited: true,
            ..Shape::new(second as u64, second)
        });
        if second % 7 == 0 {
            gate.ledger.seal().await.unwrap();
        }
    }
    gate.ledger.shutdown().await.unwrap();
    let before = (lines(&gate).await, outcomes(&gate).await);
    gate.die().await;
    std::fs::remove_dir_all(home.path("store")).unwrap();
    std::fs::remove_dir_all(home.path("journals")).unwrap();

    let recovery = recover(&home).await;
    assert_eq!((recovery.recovered.len(), recovery.failed.len()), (1, 0));
    let gate = home.gate().await;
    assert_eq!((lines(&gate).await, outcomes(&gate).await), before);
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_can_be_shipped_by_its_directory() {
    let home = Home::new();
    let gate = home.gate().await;
    gate.call(Shape::new(1, 0));
    let instance = gate.die().await;
    let directory = home
        .path("journals")
        .join(format!("{:032x}", instance.as_u128()));
    for anew in [true, false] {
        let store = home.store().await;
        let options = home.options();
        let shipped = ledger::ship(&options, directory.clone(), store, Handle::current());
        assert_eq!(shipped.await.unwrap(), anew);
    }
    let store = home.store().await;
    let instances = store.instances().await.unwrap();
    assert!(instances.iter().all(|state| state.finished_at.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_instances_of_a_journal_directory_are_shipped_by_its_name() {
    let home = Home::new();
    for call in 0..3 {
        let gate = home.gate().await;
        gate.call(Shape::new(call, 0));
        gate.die().await;
    }
    let ship = async |directory: std::path::PathBuf| {
        let (options, store) = (home.options(), home.store().await);
        ledger::ship(&options, directory, store, Handle::current()).await
    };
    assert!(ship(home.path("journals")).await.unwrap());
    assert!(!ship(home.path("journals")).await.unwrap());
    let store = home.store().await;
    let instances = store.instances().await.unwrap();
    assert_eq!(instances.len(), 3);
    assert!(instances.iter().all(|state| state.finished_at.is_some()));
    drop(store);
    // A directory that holds none is refused.
    std::fs::create_dir(home.path("elsewhere")).unwrap();
    let error = ship(home.path("elsewhere")).await.unwrap_err();
    assert!(error.to_string().contains("elsewhere"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_journals_of_finished_instances_are_removed() {
    let home = Home::new();
    leave_a_mess(&home).await;
    let options = ledger::LedgerOptions {
        keep: std::time::Duration::ZERO,
        ..home.options()
    };
    let store = home.store().await;
    let recovery = ledger::recover(&options, store, Handle::current())
        .await
        .unwrap();
    assert_eq!((recovery.recovered.len(), recovery.removed), (1, 1));
    assert_eq!(std::fs::read_dir(home.path("journals")).unwrap().count(), 0);
    let gate = home.gate().await;
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_journals_that_are_too_large_together_go_oldest_first() {
    let home = Home::new();
    let mut died = Vec::new();
    for number in 0..3 {
        let gate = home.gate().await;
        gate.call(Shape::new(number, 0));
        died.push(gate.die().await);
    }
    let directory = |instance: &InstanceId| {
        home.path("journals")
            .join(format!("{:032x}", instance.as_u128()))
    };
    let names = |instance: &InstanceId| -> Vec<String> {
        let files = std::fs::read_dir(directory(instance)).unwrap();
        files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert!(names(&died[2]).iter().any(|name| name.starts_with("spare")));
    recover(&home).await;
    for instance in &died {
        let spares = names(instance).iter().any(|name| name.starts_with("spare"));
        assert!(!spares, "what was never used is gone");
    }
    let bytes = DeadInstance::open(&directory(&died[2])).unwrap().bytes();
    let options = ledger::LedgerOptions {
        keep_bytes: bytes,
        ..home.options()
    };
    let store = home.store().await;
    let recovery = ledger::recover(&options, store, Handle::current())
        .await
        .unwrap();
    assert_eq!(recovery.removed, 2);
    let left: Vec<_> = died.iter().map(|died| directory(died).exists()).collect();
    assert_eq!(left, [false, false, true]);
    let gate = home.gate().await;
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.stored, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_the_store_lacks_stops_the_lane_and_loses_nothing() {
    let home = Home::new();
    let gate = home.gate().await;
    gate.call(Shape::new(1, 0));
    gate.die().await;
    std::fs::remove_dir_all(home.path("store")).unwrap();
    let bare = || async {
        let options = store::sqlite::SqliteOptions::new(home.path("store"));
        let store = std::sync::Arc::new(store::sqlite::SqliteStore::open(options).unwrap());
        ledger::recover(&home.options(), store, Handle::current())
            .await
            .unwrap()
    };
    let recovery = bare().await;
    assert_eq!((recovery.recovered.len(), recovery.failed.len()), (0, 1));
    // With the plan back it goes through.
    assert_eq!(recover(&home).await.recovered.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_recovery_are_made_again_from_its_journal() {
    let home = Home::new();
    leave_a_mess(&home).await;
    recover(&home).await;
    let gate = home.gate().await;
    let before = lines(&gate).await;
    for name in home.files() {
        let path = home.path("ledger").join(name);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let rebuilt = gate.ledger.rebuild().await.unwrap();
        assert_eq!((rebuilt.remade.len(), rebuilt.missing.len()), (1, 0));
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
    assert_eq!(lines(&gate).await, before);
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn journals_that_are_caught_up_with_and_old_are_removed() {
    let home = Home::new();
    leave_a_mess(&home).await;
    let gate = home
        .gate_behind(ledger::LedgerOptions {
            keep: std::time::Duration::ZERO,
            ..home.options()
        })
        .await;
    let kept = || std::fs::read_dir(home.path("journals")).unwrap().count();
    assert!(
        comes_true(60, async || kept() <= 1).await,
        "only its own is left"
    );
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean() && report.stored == 15, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_another_node_are_not_taken_for_those_of_a_dead_gate() {
    let home = Home::new();
    let gate = home.gate().await;
    gate.call(Shape::new(1, 0));
    gate.ledger.seal().await.unwrap();
    gate.ledger.ship().await.unwrap();
    // Another node of this machine, with a journal of its own and the same folder of files.
    let other = ledger::LedgerOptions {
        journals: home.path("journals-of-another"),
        node: "another".to_owned(),
        ..home.options()
    };
    let another = home.gate_behind(other).await;
    assert!(
        another
            .ledger
            .caught_up(std::time::Duration::ZERO)
            .await
            .unwrap()
    );
    let instances = another.store.instances().await.unwrap();
    let living = instances.iter().filter(|state| state.finished_at.is_none());
    assert_eq!(living.count(), 2, "both live: {instances:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_does_not_wait_for_a_dead_instance_whose_journal_is_elsewhere() {
    let home = Home::new();
    let gate = home.gate().await;
    gate.call(Shape::new(1, 0));
    gate.ledger.ship().await.unwrap();
    let _ = gate.die().await;
    std::fs::rename(home.path("journals"), home.path("elsewhere")).unwrap();
    let gate = home.gate().await;
    let begun = std::time::Instant::now();
    let report = gate.ledger.verify().await.unwrap();
    // A living gate is given ten seconds.
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.accepted, report.stored), (1, 1));
    // The report says that its record cannot be seen.
    assert_eq!(report.problems.len(), 1, "{report:?}");
}
