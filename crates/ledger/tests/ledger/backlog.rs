//! The roll-up of a gate that is far behind, after a time without its store.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ledger::{LedgerObserver, LedgerOptions};
use rusqlite::Connection;

use crate::support::{Home, Shape, comes_true};

/// The time, records and duration of each batch that came into the rollups.
#[derive(Default)]
struct Batches(Mutex<Vec<(Instant, u64, Duration)>>);

impl LedgerObserver for Batches {
    fn rolled_up(&self, records: u64, took: Duration) {
        let mut batches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        batches.push((Instant::now(), records, took));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_rolled_up_in_batches_with_pauses_as_long_as_the_work() {
    const ROWS: u64 = 500;
    const BATCHES: u64 = 12;
    let (home, batches) = (Home::new(), Arc::new(Batches::default()));
    let options = LedgerOptions {
        rollup_every: Duration::from_millis(20),
        rollup_rows: ROWS as usize,
        observer: batches.clone(),
        ..home.options()
    };
    let gate = home.gate_with(options).await;
    let file = Connection::open(home.path("store").join("ledger.db")).unwrap();
    file.busy_timeout(Duration::from_secs(60)).unwrap();
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    for license in 0..ROWS * BATCHES {
        let shape = Shape::new(license, 0);
        gate.call(Shape { lane: 0, ..shape });
    }
    file.execute_batch("ROLLBACK").unwrap();
    let rolled_up = async || gate.ledger.counts().pending == 0;
    assert!(
        comes_true(120, rolled_up).await,
        "{:?}",
        gate.ledger.counts()
    );
    let batches = std::mem::take(&mut *batches.0.lock().unwrap());
    let full = |batch: &(Instant, u64, Duration)| batch.1 == ROWS;
    // A batch that was begun with the first calls, and waited for the file, is a small one.
    let whole = batches.iter().filter(|batch| full(batch)).count() as u64;
    assert!((BATCHES - 1..=BATCHES).contains(&whole), "{whole}");
    for pair in batches.windows(2).filter(|pair| full(&pair[0])) {
        let [(ended, _, took), (next, _, work)] = pair else {
            unreachable!("windows of two")
        };
        let pause = (*next - *work).duration_since(*ended);
        assert!(pause >= *took, "{pause:?} after {took:?}");
    }
    assert_eq!(gate.ledger.verify().await.unwrap().lost, 0);
}
