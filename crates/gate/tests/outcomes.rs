//! The endings of calls: the table of endings row by row, and every combination against a model
//! written from the rules alone.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod support;

use gate::{AppRules, Failure};
use ledger::ClosedReader;
use model::{Blame, CallRecord, Ending, LicenseId, Outcome};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use support::{Setup, TestGate, app, call, closing, named_units, remaining};

const UNITS: u64 = 1_000_000_000;
/// The units that the route of this file's apps reserves, and those of a response that names none.
const RESERVED: u64 = 5;

/// The end of a call, as the phases of a proxy see it.
#[derive(Clone, Copy, Debug)]
enum Exit {
    /// The call ended without a status.
    Abandoned(Failure),
    /// The call was dropped without a status.
    Dropped,
    /// The call had a status, and was closed or dropped.
    Committed {
        status: u16,
        forwarded: bool,
        /// Whose error it was, and whether the response was handed over whole; `None`: dropped.
        ending: Option<(Option<Blame>, bool)>,
        /// The units that the response names in its header.
        named: Option<&'static str>,
    },
}

#[derive(Clone, Copy, Debug)]
struct Scenario {
    app: usize,
    sent: bool,
    exit: Exit,
}

/// The expected content of a record.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    status: u16,
    outcome: Outcome,
    billable: bool,
    spent: u64,
}

/// Apps with all combinations of the rules that decide about money, each on a host of its own.
fn apps() -> Vec<AppRules> {
    let mut apps = Vec::new();
    for (number, outcomes) in [
        &[
            Outcome::Delivered,
            Outcome::ClientGone,
            Outcome::Interrupted,
        ][..],
        &[Outcome::Delivered],
        &[],
        &Outcome::ALL,
    ]
    .into_iter()
    .enumerate()
    {
        for (counts_all, test) in [(false, false), (false, true), (true, false), (true, true)] {
            let name = format!("app{number}-{counts_all}-{test}");
            apps.push(AppRules {
                forwards_ambiguous: true,
                hosts: vec![format!("{name}.test").parse().unwrap()],
                billable: vec![200, 204, 413],
                billable_outcomes: outcomes.to_vec(),
                counts_all,
                test,
                routes: vec![named_units("/", RESERVED, RESERVED)],
                ..app(&name)
            });
        }
    }
    apps
}

fn units(named: Option<&str>) -> u64 {
    named.map_or(RESERVED, |text| {
        text.parse().map_or(RESERVED, |n: u64| n.min(RESERVED))
    })
}

/// The rules: a call is billed as its app says; a billed call spends its units; a call that was
/// never sent spends none; a caller who leaves or breaks the call before the upstream's status
/// loses the units; an app that counts all keeps the units of every call that was sent.
fn expected(app: &AppRules, scenario: &Scenario) -> Expected {
    let (status, forwarded, outcome, units) = match scenario.exit {
        Exit::Abandoned(Failure::CallerLeft) => (0, false, Outcome::ClientGone, RESERVED),
        Exit::Abandoned(Failure::Ours) | Exit::Dropped => {
            (0, false, Outcome::GatewayFailed, RESERVED)
        }
        Exit::Committed {
            status,
            forwarded,
            ending,
            named,
        } => {
            let outcome = match ending {
                None => Outcome::GatewayFailed,
                Some((error, complete)) => outcome(error, complete, forwarded),
            };
            (status, forwarded, outcome, units(named))
        }
    };
    let billed = forwarded && app.billable.contains(&status) && bills(app, outcome);
    let left = outcome == Outcome::ClientGone && !forwarded;
    let spent = if scenario.sent && (billed || left || app.counts_all) {
        units
    } else {
        0
    };
    Expected {
        status,
        outcome,
        billable: billed && !app.test,
        spent,
    }
}

fn bills(app: &AppRules, outcome: Outcome) -> bool {
    app.billable_outcomes.contains(&outcome)
}

fn outcome(error: Option<Blame>, complete: bool, forwarded: bool) -> Outcome {
    match error {
        None if complete => Outcome::Delivered,
        Some(_) if complete && forwarded => Outcome::Delivered,
        Some(Blame::Caller) => Outcome::ClientGone,
        Some(Blame::Upstream) => Outcome::UpstreamFailed,
        Some(Blame::Us) | None => Outcome::GatewayFailed,
    }
}

fn scenarios(apps: usize) -> impl Strategy<Value = Scenario> {
    let failure = prop_oneof![Just(Failure::CallerLeft), Just(Failure::Ours)];
    let blame = prop_oneof![Just(Blame::Caller), Just(Blame::Upstream), Just(Blame::Us)];
    let ending = proptest::option::of((proptest::option::of(blame), any::<bool>()));
    let named = prop_oneof![
        Just("0"),
        Just("1"),
        Just("5"),
        Just("6"),
        Just("-1"),
        Just("many"),
        Just("18446744073709551616"),
    ];
    let status = prop_oneof![
        Just(101),
        Just(200),
        Just(204),
        Just(304),
        Just(404),
        Just(413),
        Just(500),
        Just(999)
    ];
    let committed = (status, any::<bool>(), ending, proptest::option::of(named)).prop_map(
        |(status, forwarded, ending, named)| Exit::Committed {
            status,
            forwarded,
            ending,
            named,
        },
    );
    let exit = prop_oneof![
        1 => Just(Exit::Dropped),
        2 => failure.prop_map(Exit::Abandoned),
        6 => committed,
    ];
    (0..apps, any::<bool>(), exit).prop_map(|(app, sent, exit)| {
        // The upstream's own status comes only after something was sent.
        let forwarded = matches!(
            exit,
            Exit::Committed {
                forwarded: true,
                ..
            }
        );
        Scenario {
            app,
            sent: sent || forwarded,
            exit,
        }
    })
}

async fn run(fixture: &TestGate, host: &str, key: &str, scenario: &Scenario) {
    let worker = fixture.worker();
    let routed = fixture.gate.route(worker, host, "GET", b"/").unwrap();
    let admitted = fixture.gate.admit(worker, routed, call("/", key)).await;
    let mut forwarding = admitted.unwrap().mark().unwrap();
    if scenario.sent {
        forwarding.sending();
    }
    match scenario.exit {
        Exit::Dropped => drop(forwarding),
        Exit::Abandoned(failure) => {
            let claims = Ending {
                error: None,
                response_complete: true,
                forwarded_status: true,
            };
            forwarding.abandon(failure, &closing(worker, claims));
        }
        Exit::Committed {
            status,
            forwarded,
            ending,
            named,
        } => {
            if let Some(text) = named {
                forwarding.read_units(text.as_bytes());
            }
            let (committed, durable) = forwarding.commit(status, forwarded);
            durable.await.unwrap();
            match ending {
                None => drop(committed),
                Some((error, complete)) => committed.close(&closing(
                    worker,
                    Ending {
                        error,
                        response_complete: complete,
                        forwarded_status: forwarded,
                    },
                )),
            }
        }
    }
}

/// A gate with every app, and a license of each.
async fn street() -> (TestGate, Vec<(LicenseId, String, String)>) {
    let apps = apps();
    let fixture = TestGate::of(Setup {
        apps: apps.clone(),
        lanes: 1,
        // Room for all records, however slow the disk is at preparing more.
        segment_bytes: 4 << 20,
        ..Setup::default()
    })
    .await;
    let mut keys = Vec::new();
    for app in &apps {
        let request = support::request(app.name.as_str(), remaining(UNITS));
        let (id, key) = fixture.issue(request).await;
        keys.push((id, key, app.hosts[0].to_string()));
    }
    (fixture, keys)
}

#[test]
fn every_ending_is_recorded_billed_and_spent_by_the_rules() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (fixture, keys) = runtime.block_on(street());
    let apps = apps();
    let entries = fixture.journal.lane(0).reader_from(0).unwrap();
    let reader = ClosedReader::live(entries, fixture.names.clone(), fixture.instance, 0, 0);
    let state = std::cell::RefCell::new((reader, vec![0; apps.len()]));
    let config = ProptestConfig {
        cases: 3_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let checked = TestRunner::new(config).run(&scenarios(apps.len()), |scenario| {
        let (reader, spent) = &mut *state.borrow_mut();
        let (id, key, host) = &keys[scenario.app];
        runtime.block_on(run(&fixture, host, key, &scenario));
        let record = reader
            .next_call()
            .unwrap()
            .expect("every call is recorded")
            .record;
        prop_assert!(reader.next_call().unwrap().is_none(), "and once");
        let seen = Expected {
            status: record.head.status,
            outcome: record.tail.outcome,
            billable: record.tail.billable,
            spent: record.tail.spent,
        };
        prop_assert_eq!(&seen, &expected(&apps[scenario.app], &scenario));
        prop_assert_eq!(record.head.license_id, Some(*id));
        prop_assert_eq!(record.head.test, apps[scenario.app].test);
        // What is billed for is what is taken.
        prop_assert!(!record.tail.billable || record.tail.units == record.tail.spent);
        spent[scenario.app] += record.tail.spent;
        Ok(())
    });
    checked.unwrap();
    let spent = state.into_inner().1;
    for ((id, ..), spent) in keys.iter().zip(spent) {
        runtime.block_on(fixture.assert_left(*id, UNITS - spent));
    }
    assert_eq!(fixture.journal.stats().marks, 0);
    assert_eq!(fixture.journal.lane(0).open_count(), 0);
}

/// One row of the table: what the proxy saw, and the expected record.
struct Case {
    what: &'static str,
    sent: bool,
    /// The status, and whether it is the upstream's own.
    status: (u16, bool),
    error: Option<Blame>,
    complete: bool,
    outcome: Outcome,
    billable: bool,
}

const TABLE: [Case; 11] = [
    Case {
        what: "a response, whole",
        sent: true,
        status: (200, true),
        error: None,
        complete: true,
        outcome: Outcome::Delivered,
        billable: true,
    },
    Case {
        what: "an error of the upstream's own, whole",
        sent: true,
        status: (500, true),
        error: None,
        complete: true,
        outcome: Outcome::Delivered,
        billable: false,
    },
    Case {
        what: "connection refused, our 502",
        sent: false,
        status: (502, false),
        error: Some(Blame::Upstream),
        complete: true,
        outcome: Outcome::UpstreamFailed,
        billable: false,
    },
    Case {
        what: "the upstream silent after the request, our 504",
        sent: true,
        status: (504, false),
        error: Some(Blame::Upstream),
        complete: true,
        outcome: Outcome::UpstreamFailed,
        billable: false,
    },
    Case {
        what: "the upstream breaks off within the body",
        sent: true,
        status: (200, true),
        error: Some(Blame::Upstream),
        complete: false,
        outcome: Outcome::UpstreamFailed,
        billable: false,
    },
    Case {
        what: "the caller resets within a download",
        sent: true,
        status: (200, true),
        error: Some(Blame::Caller),
        complete: false,
        outcome: Outcome::ClientGone,
        billable: true,
    },
    Case {
        what: "the upstream answers early and the caller leaves",
        sent: true,
        status: (413, true),
        error: Some(Blame::Caller),
        complete: true,
        outcome: Outcome::Delivered,
        billable: false,
    },
    Case {
        what: "the caller's body is too large, our 413 in the middle of it",
        sent: true,
        status: (413, false),
        error: Some(Blame::Caller),
        complete: true,
        outcome: Outcome::ClientGone,
        billable: false,
    },
    Case {
        what: "the caller's body breaks a rule before anything was sent, our 400",
        sent: false,
        status: (400, false),
        error: Some(Blame::Caller),
        complete: true,
        outcome: Outcome::ClientGone,
        billable: false,
    },
    Case {
        what: "an error seen after a whole response",
        sent: true,
        status: (200, true),
        error: Some(Blame::Upstream),
        complete: true,
        outcome: Outcome::Delivered,
        billable: true,
    },
    Case {
        what: "our own error within a response",
        sent: true,
        status: (200, true),
        error: Some(Blame::Us),
        complete: false,
        outcome: Outcome::GatewayFailed,
        billable: false,
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_endings_holds_row_by_row() {
    let fixture = TestGate::new().await;
    let (id, key) = fixture.license(remaining(100)).await;
    let mut left = 100;
    for (number, case) in TABLE.iter().enumerate() {
        let mut forwarding = fixture.admit(&key).await.unwrap().mark().unwrap();
        if case.sent {
            forwarding.sending();
        }
        let (committed, _) = forwarding.commit(case.status.0, case.status.1);
        let ending = Ending {
            error: case.error,
            response_complete: case.complete,
            forwarded_status: case.status.1,
        };
        committed.close(&closing(fixture.worker(), ending));
        let records = fixture.records();
        assert_eq!(records.len(), number + 1, "{}", case.what);
        let CallRecord { head, tail } = records[number];
        assert_eq!(head.status, case.status.0, "{}", case.what);
        assert_eq!(tail.outcome, case.outcome, "{}", case.what);
        assert_eq!(tail.billable, case.billable, "{}", case.what);
        let own_fault = case.error == Some(Blame::Caller) && !case.status.1 && case.sent;
        let spent = u64::from(case.billable || own_fault);
        assert_eq!(tail.spent, spent, "{}", case.what);
        left -= tail.spent;
        fixture.assert_left(id, left).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_a_response_names_are_read_clipped_and_counted() {
    let mut api = app("api");
    api.routes = vec![named_units("/", 2, 10)];
    let fixture = TestGate::with_app(api).await;
    let (_, key) = fixture.license(model::Limits::default()).await;
    // What the header says, what is recorded, whether it was clipped or not read.
    let cases: [(Option<&[u8]>, u64, bool); 16] = [
        (None, 2, false),
        (Some(b"0"), 0, false),
        (Some(b"1"), 1, false),
        (Some(b" 7 "), 7, false),
        (Some(b"10"), 10, false),
        (Some(b"0000000000000000000000010"), 10, false),
        (Some(b"7.0"), 7, false),
        (Some(b"1e1"), 10, false),
        (Some(b"11"), 10, true),
        (Some(b"18446744073709551615"), 10, true),
        (Some(b"18446744073709551616"), 10, true),
        (Some(b"-1"), 2, true),
        (Some(b"1.5"), 2, true),
        (Some(b""), 2, true),
        (Some(b"\xff\xfe"), 2, true),
        (Some(b"7, 7"), 2, true),
    ];
    let mut clipped = 0.0;
    for (number, (value, units, is_clipped)) in cases.into_iter().enumerate() {
        let mut forwarding = fixture.admit(&key).await.unwrap().mark().unwrap();
        forwarding.sending();
        if let Some(value) = value {
            forwarding.read_units(value);
        }
        let (committed, _) = forwarding.commit(200, true);
        committed.close(&support::delivered(fixture.worker()));
        let record = fixture.records()[number];
        let what = value.map(String::from_utf8_lossy);
        assert_eq!(record.tail.units, units, "{what:?}");
        assert!(record.tail.billable, "{what:?}");
        assert_eq!(
            record.head.reserved, units,
            "what a crash would leave to pay"
        );
        clipped += f64::from(u8::from(is_clipped));
        assert_eq!(fixture.metric("tallygate_units_clipped_total"), clipped);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_cannot_be_read_cost_what_the_route_says_and_the_record_says_why() {
    use gate::UnitsUnreadable as U;
    for (rule, units, billable, left) in [
        (U::Units, 2, true, 98),
        (U::Max, 10, true, 90),
        (U::Unbilled, 2, false, 100),
    ] {
        let mut api = app("api");
        api.routes = vec![gate::RouteRules {
            units_unreadable: rule,
            ..named_units("/", 2, 10)
        }];
        let fixture = TestGate::with_app(api).await;
        let (id, key) = fixture.license(support::remaining(100)).await;
        let mut forwarding = fixture.admit(&key).await.unwrap().mark().unwrap();
        forwarding.sending();
        forwarding.read_units(b"5, 5");
        let (committed, _) = forwarding.commit(200, true);
        committed.close(&support::delivered(fixture.worker()));
        let record = fixture.record();
        assert_eq!((record.tail.units, record.tail.billable), (units, billable));
        let reason = record.tail.units_unreadable;
        assert_eq!(reason, Some(model::UnreadableUnits::Several), "{rule:?}");
        let crashed = record.head.tail_of_recovery();
        assert_eq!(
            (crashed.billable, crashed.spent),
            (billable, record.tail.spent)
        );
        fixture.assert_left(id, left).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_route_is_recorded_without_a_license() {
    let mut api = app("api");
    api.routes = vec![gate::RouteRules {
        open: true,
        ..support::route("/open")
    }];
    let fixture = TestGate::with_app(api).await;
    let routed = fixture.route("OPTIONS", "/open/x").unwrap();
    let request = gate::CallRequest {
        presented: gate::Presented::Ambiguous,
        ..call("/open/x", "")
    };
    let admitted = fixture
        .gate
        .admit(fixture.worker(), routed, request)
        .await
        .unwrap();
    assert!(admitted.license().is_none());
    let mut forwarding = admitted.mark().unwrap();
    assert!(forwarding.cut_check().is_none() && forwarding.rate().is_none());
    forwarding.sending();
    let (committed, _) = forwarding.commit(200, true);
    committed.close(&support::delivered(fixture.worker()));
    let record = fixture.record();
    assert_eq!(record.head.license_id, None);
    assert!(!record.head.limited && !record.head.windowed);
    assert_eq!(record.tail.outcome, Outcome::Delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn units_named_by_a_response_come_from_what_was_reserved_and_never_overspend() {
    let mut api = app("api");
    api.routes = vec![named_units("/", 1, 10)];
    let fixture = TestGate::with_app(api).await;
    let (id, key) = fixture.license(remaining(25)).await;
    let mut spent = 0;
    while let Ok(admitted) = fixture.admit(&key).await {
        let mut forwarding = admitted.mark().unwrap();
        forwarding.sending();
        forwarding.read_units(b"9");
        let (committed, _) = forwarding.commit(200, true);
        committed.close(&support::delivered(fixture.worker()));
        spent += 9;
    }
    assert_eq!(spent, 18);
    fixture.assert_left(id, 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_status_means_that_the_call_was_sent() {
    let fixture = TestGate::new().await;
    let (_, key) = fixture.license(remaining(5)).await;
    let (committed, _) = fixture
        .admit(&key)
        .await
        .unwrap()
        .mark()
        .unwrap()
        .commit(200, true);
    committed.close(&support::delivered(fixture.worker()));
    let record = fixture.record();
    assert_eq!(
        (record.tail.outcome, record.tail.billable, record.tail.spent),
        (Outcome::Delivered, true, 1)
    );
}
