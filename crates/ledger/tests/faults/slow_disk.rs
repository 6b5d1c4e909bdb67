//! A journal whose disk is behind: answers hold every call that had ended, or say that they cannot.

use std::time::{Duration, Instant};

use fail::FailScenario;
use ledger::{CallsQuery, Error, ExportFormat, Fault, LedgerOptions};
use model::CallId;
use model::usage::UsageQuery;

use crate::support::{Gate, Home, Shape, lines};

const SYNC: &str = "journal::fsync";

/// A short timeout, so that the test reaches it soon.
fn options(home: &Home) -> LedgerOptions {
    LedgerOptions {
        visibility_timeout: Duration::from_millis(300),
        ..home.options()
    }
}

/// Writes two calls that have ended, on two lanes, the earlier one on the lane that is synced last.
fn two_calls(gate: &Gate, second: i64) -> Vec<CallId> {
    let calls = [Shape::new(1, second), Shape::new(2, second + 1)];
    calls.map(|shape| gate.call(shape)).to_vec()
}

async fn listed(gate: &Gate) -> Vec<CallId> {
    let lines = lines(gate).await;
    lines.iter().map(|line| line.call_id).collect()
}

async fn counted(gate: &Gate) -> (u64, u64) {
    let usage = gate.ledger.usage(UsageQuery::default()).await.unwrap();
    let calls = usage.rows.iter().map(|row| row.sums.calls).sum();
    (calls, usage.behind)
}

async fn exported(gate: &Gate) -> Result<u64, Error> {
    let query = CallsQuery::default();
    let (format, mut output) = (ExportFormat::Csv, Vec::new());
    let export = gate.ledger.export(query, format, &mut output).await;
    assert_eq!(
        export.is_err(),
        output.is_empty(),
        "no word of a half answer"
    );
    export
}

fn assert_behind<T: std::fmt::Debug>(answer: Result<T, Error>) {
    let error = answer.unwrap_err();
    assert!(matches!(error, Error::Behind), "{error}");
    assert!(error.to_string().contains("try again"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_holds_the_calls_that_had_ended_however_slow_a_sync_is() {
    let scenario = FailScenario::setup();
    let home = Home::new();
    let gate = home.gate().await;
    fail::cfg(SYNC, "sleep(700)").unwrap();
    let mut expected = Vec::new();
    for round in 0..6 {
        expected.extend(two_calls(&gate, 10 * round));
        let calls = expected.len() as u64;
        match round {
            0 => assert_eq!(listed(&gate).await, expected),
            1 => assert_eq!(exported(&gate).await.unwrap(), calls),
            2 => assert_eq!(counted(&gate).await, (calls, 0)),
            3 => {
                let page = gate.ledger.follow(CallsQuery::default(), None, 100).await;
                let page = page.unwrap();
                assert_eq!((page.calls.len() as u64, page.more), (calls, false));
            }
            4 => {
                gate.ledger.ship().await.unwrap();
                assert_eq!(gate.ledger.counts().pending, 0);
            }
            _ => {
                let report = gate.ledger.verify().await.unwrap();
                assert!(report.is_clean(), "{report:?}");
                assert_eq!((report.stored, report.pending), (calls, 0));
            }
        }
    }
    fail::remove(SYNC);
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_would_lack_calls_that_had_ended_is_refused_or_says_so() {
    let scenario = FailScenario::setup();
    let home = Home::new();
    let gate = home.gate_with(options(&home)).await;
    let mut expected = two_calls(&gate, 0);
    assert_eq!(listed(&gate).await, expected);
    fail::cfg(SYNC, "pause").unwrap();
    expected.extend(two_calls(&gate, 10));

    assert_behind(gate.ledger.calls(CallsQuery::default()).await);
    assert_behind(exported(&gate).await);
    assert_behind(gate.ledger.ship().await);
    assert_behind(gate.ledger.seal().await);
    assert_eq!(counted(&gate).await, (2, 2), "it says what it lacks");
    let report = gate.ledger.verify().await.unwrap();
    assert!(!report.is_clean());
    assert_eq!((report.stored, report.lost), (2, 0));
    let faults: Vec<_> = report
        .problems
        .iter()
        .map(|problem| problem.fault)
        .collect();
    assert_eq!(faults, [Fault::NotShipped]);

    // A follower gets the calls that there are, and no page that would be its last.
    let follow = async |cursor| gate.ledger.follow(CallsQuery::default(), cursor, 100).await;
    let first = follow(None).await.unwrap();
    assert_eq!((first.calls.len(), first.more), (2, true));
    assert_behind(follow(Some(first.next.clone())).await);
    fail::remove(SYNC);
    assert_eq!(listed(&gate).await, expected);
    let second = follow(Some(first.next)).await.unwrap();
    assert_eq!((second.calls.len(), second.more), (2, false));
    assert_eq!(counted(&gate).await, (4, 0));
    assert!(gate.ledger.verify().await.unwrap().is_clean());
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_for_good_holds_up_no_answer_and_hides_none_that_is_whole() {
    let scenario = FailScenario::setup();
    let home = Home::new();
    let gate = home.gate().await;
    let mut expected = two_calls(&gate, 0);
    assert_eq!(listed(&gate).await, expected);
    fail::cfg(SYNC, "return").unwrap();
    fail::cfg("journal::prewrite", "return").unwrap();
    assert_eq!(listed(&gate).await, expected, "all of them are on disk");
    expected.extend(two_calls(&gate, 10));
    let begun = Instant::now();
    assert_behind(gate.ledger.calls(CallsQuery::default()).await);
    assert_eq!(counted(&gate).await, (2, 2));
    assert!(begun.elapsed() < Duration::from_secs(5), "{begun:?}");
    fail::remove("journal::prewrite");
    fail::remove(SYNC);
    while gate.ledger.ship().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(listed(&gate).await, expected);
    scenario.teardown();
}
