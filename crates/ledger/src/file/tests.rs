//! Tests that files read back the rows that were written, and only those that are asked for.

use model::{
    CallHead, CallId, CallRecord, CallTail, CallerPlace, CredentialId, InstanceId, LicenseId,
    Method, Mode, Money, Outcome, Refusal, Symbol, Timestamp, UnreadableUnits,
};
use proptest::prelude::*;
use store::SealIntent;

use super::*;
use crate::error::Error;
use crate::names::Names;
use crate::row::Row;

fn number<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

fn caller() -> impl Strategy<Value = CallerPlace> {
    prop_oneof![
        any::<u128>().prop_map(CallerPlace::Network),
        any::<u32>().prop_map(|v4| CallerPlace::Network(0xffff << 32 | u128::from(v4))),
        any::<u128>().prop_map(CallerPlace::Hash),
    ]
}

prop_compose! {
    /// Heads with the fields that only format 2 holds.
    fn second_format()(
        credential in prop::option::of(1_u128..5), caller in prop::option::of(caller()), correction: Option<u128>,
        unit in prop::sample::select(vec![0, 4]),
    ) -> CallHead {
        CallHead {
            credential_id: credential.map(CredentialId::from_u128),
            caller,
            correction_of: correction.map(CallId::from_u128),
            unit,
            ..CallHead::default()
        }
    }
}

prop_compose! {
    fn head()(
        call_id: u128, license in prop::option::of(0_u128..4), second in 0_i64..100, status: u16,
        method in number(&Method::ALL), mode in number(&Mode::ALL), epoch: u32, flags: [bool; 4], idempotency: u64,
        planned: bool, second_format in second_format(),
    ) -> CallHead {
        CallHead {
            call_id: CallId::from_u128(call_id),
            license_id: license.map(LicenseId::from_u128),
            app: 1,
            route: 2,
            plan: if planned { 3 } else { 0 },
            method,
            mode,
            status,
            started_at: Timestamp::from_micros(second * 1_000_000),
            reserved: 0,
            epoch,
            test: flags[0],
            billable_status: flags[1],
            bills_interrupted: false,
            limited: flags[2],
            windowed: flags[3],
            idempotency,
            keeps_units: false,
            ..second_format
        }
    }
}

prop_compose! {
    fn row()(
        mut head in head(), outcome in number(&Outcome::ALL), refusal in prop::option::of(number(Refusal::ALL)),
        attempts: u8, calls: u32, counts in prop::array::uniform6(0_u64..=i64::MAX as u64), amount: i64,
        paid: Option<(u128, u128)>, grpc_status: Option<u8>, unreadable in prop::option::of(number(&UnreadableUnits::ALL)),
    ) -> Row {
        if let Some(refusal) = refusal {
            // Two refusals of one code are told apart by their status.
            head.status = refusal.status();
        }
        let [units, spent, request_bytes, response_bytes, duration_us, upstream_us] = counts;
        let tail = CallTail {
            outcome, billable: head.billable_status, attempts, refusal, calls, units, spent, request_bytes, response_bytes,
            duration_us, upstream_us, payer: paid.map(|(payer, _)| payer), settlement_id: paid.map(|(_, id)| id), grpc_status,
            units_unreadable: unreadable,
        };
        let currency = (head.plan != 0).then(|| "EUR".parse().unwrap());
        Row { number: 0, record: CallRecord { head, tail }, amount: Money::from_nanos(i128::from(amount)), currency, source: 0 }
    }
}

fn names() -> Names {
    let names = Names::default();
    let symbols = [
        Symbol::App {
            account: "me".parse().unwrap(),
            app: "api".parse().unwrap(),
        },
        Symbol::Route("/v1/{id}".to_owned()),
        Symbol::Plan {
            name: "pro".parse().unwrap(),
            revision: model::PlanRevisionId::from_u128(5),
        },
        Symbol::Unit("token".to_owned()),
    ];
    for (index, symbol) in symbols.iter().enumerate() {
        assert_eq!(names.intern(symbol), index as u32 + 1);
    }
    names
}

fn meta(rows: u64) -> FileMeta {
    FileMeta {
        range: SealIntent {
            instance: InstanceId::from_u128(1),
            lane: 0,
            from: 0,
            through: rows,
        },
        node: "here".to_owned(),
        previous: [0; 32],
        calls: rows,
        first_started_at: Timestamp::from_micros(0),
        last_started_at: Timestamp::from_micros(0),
    }
}

fn write(directory: &std::path::Path, rows: &[Row], names: &Names) -> SealedReader {
    let meta = meta(rows.len() as u64);
    let mut sorted = rows.to_vec();
    let written = write_sealed(directory, &meta, &mut sorted, names).unwrap();
    let path = directory.join(file_name(&meta.range));
    assert_eq!(hash_file(&path).unwrap(), (written.bytes, written.hash));
    let reader = SealedReader::open(&path).unwrap();
    assert_eq!(*reader.meta(), meta);
    reader
}

fn read(reader: &SealedReader, filter: &Filter, names: &Names) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut keep = |row: &Row| -> Result<(), Error> {
        rows.push(*row);
        Ok(())
    };
    reader.scan(names, filter, &mut keep).unwrap();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_file_gives_back_the_rows_that_a_filter_takes(
        mut rows in prop::collection::vec(row(), 1..60), license in prop::option::of(0_u128..4), from in 0_i64..100,
        length in prop::option::of(0_i64..50),
    ) {
        for (index, row) in rows.iter_mut().enumerate() {
            row.number = index as u64 + 1;
        }
        let names = names();
        let directory = tempfile::tempdir().unwrap();
        let reader = write(directory.path(), &rows, &names);
        rows.sort_unstable_by_key(Row::file_order);
        prop_assert_eq!(&read(&reader, &Filter::default(), &names), &rows);

        let filter = Filter {
            license_id: license.map(LicenseId::from_u128),
            from: Some(Timestamp::from_micros(from * 1_000_000)),
            to: length.map(|length| Timestamp::from_micros((from + length) * 1_000_000)),
        };
        let taken: Vec<_> = rows.iter().filter(|row| filter.takes(row)).copied().collect();
        prop_assert_eq!(read(&reader, &filter, &names), taken);
    }
}

/// Returns more rows than a row group holds, many of each license.
fn many() -> Vec<Row> {
    let record = |index: u64| {
        let head = CallHead {
            call_id: CallId::from_u128(u128::from(index)),
            license_id: Some(LicenseId::from_u128(u128::from(index % 7))),
            app: 1,
            route: 2,
            plan: 3,
            method: Method::Get,
            mode: Mode::Proxy,
            status: 200,
            started_at: Timestamp::from_micros(index as i64 * 1_000),
            reserved: 0,
            epoch: 0,
            test: false,
            billable_status: true,
            bills_interrupted: false,
            limited: true,
            windowed: false,
            idempotency: 0,
            ..CallHead::default()
        };
        let tail = CallTail {
            units: 1,
            spent: 1,
            outcome: Outcome::Delivered,
            ..head.tail_of_recovery()
        };
        CallRecord { head, tail }
    };
    (0..150_000)
        .map(|index| Row {
            number: index + 1,
            record: record(index),
            amount: Money::from_nanos(10_000_000),
            currency: Some("EUR".parse().unwrap()),
            source: 0,
        })
        .collect()
}

#[test]
fn one_license_is_found_among_many_row_groups() {
    let names = names();
    let directory = tempfile::tempdir().unwrap();
    let rows = many();
    let reader = write(directory.path(), &rows, &names);
    for license in [0, 3, 6, 9] {
        let filter = Filter {
            license_id: Some(LicenseId::from_u128(license)),
            from: Some(Timestamp::from_micros(20_000_000)),
            to: Some(Timestamp::from_micros(140_000_000)),
        };
        let expected = rows.iter().filter(|row| filter.takes(row)).count();
        assert_eq!(read(&reader, &filter, &names).len(), expected);
    }
    let mut ids = Vec::new();
    reader.call_ids(&mut |id| ids.push(id)).unwrap();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..150_000));
}

#[test]
fn the_same_rows_make_the_same_bytes() {
    let names = names();
    let rows = many()[..1_000].to_vec();
    let hash = || {
        let directory = tempfile::tempdir().unwrap();
        let mut rows = rows.clone();
        rows.reverse();
        write_sealed(directory.path(), &meta(1_000), &mut rows, &names).unwrap()
    };
    assert_eq!(hash(), hash());
}

#[test]
fn what_is_not_a_sealed_file_is_refused() {
    let names = names();
    let directory = tempfile::tempdir().unwrap();
    let reader = write(directory.path(), &many()[..10], &names);
    let path = directory.path().join(file_name(&reader.meta().range));
    let bytes = std::fs::read(&path).unwrap();
    for length in [0, 3, 100, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = SealedReader::open(&path).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn changed_bytes_are_an_error_or_other_rows_and_never_a_panic(at: prop::sample::Index, byte: u8) {
        let names = names();
        let directory = tempfile::tempdir().unwrap();
        let reader = write(directory.path(), &many()[..300], &names);
        let path = directory.path().join(file_name(&reader.meta().range));
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= byte | 1;
        std::fs::write(&path, bytes).unwrap();
        if let Ok(reader) = SealedReader::open(&path) {
            let mut count = 0;
            let _ = reader.scan(&names, &Filter::default(), &mut |_| {
                count += 1;
                Ok(())
            });
            prop_assert!(count <= 300);
        }
    }
}
