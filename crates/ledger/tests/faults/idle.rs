//! A gate without calls, whose roll-ups have nothing to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fail::FailScenario;
use ledger::LedgerOptions;

use crate::support::{Home, Shape, comes_true};

/// The age of what webhooks want, as the roll-up knows it, beyond which it is read anew.
const AGE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn the_roll_up_of_a_gate_without_calls_asks_the_store_for_nothing() {
    let scenario = FailScenario::setup();
    let home = Home::new();
    let options = LedgerOptions {
        rollup_every: Duration::from_millis(1),
        ..home.options()
    };
    let gate = home.gate_with(options).await;
    gate.call(Shape::new(1, 0));
    let rolled = async || gate.ledger.counts().pending == 0;
    assert!(comes_true(60, rolled).await, "{:?}", gate.ledger.counts());

    let (rounds, asked) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let count = |counter: &Arc<AtomicU64>| {
        let counter = Arc::clone(counter);
        move || {
            if std::thread::current().name() == Some("ledger-rollup") {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    fail::cfg_callback("ledger::roll::round", count(&rounds)).unwrap();
    fail::cfg_callback("ledger::store::ask", count(&asked)).unwrap();
    let begun = Instant::now();
    let idle = async || rounds.load(Ordering::SeqCst) >= 10 && begun.elapsed() > 2 * AGE;
    assert!(comes_true(60, idle).await, "it rolls up");
    assert_eq!(asked.load(Ordering::SeqCst), 0);

    gate.call(Shape::new(1, 1));
    let noted = async || asked.load(Ordering::SeqCst) > 0;
    assert!(comes_true(60, noted).await, "a call is noted");
    gate.ledger.shutdown().await.unwrap();
    scenario.teardown();
}
