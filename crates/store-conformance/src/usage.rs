//! The comparison of usage reports with sums made by hand.

use std::collections::BTreeMap;

use model::usage::{UsageField, UsageKey, UsageQuery, UsageRow, UsageSums};
use model::{
    AccountName, AppName, Currency, InstanceId, LicenseId, Method, Mode, Money, Outcome, PlanName,
    PlanRevisionId, Timestamp,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::fixtures::{batch, hours};
use crate::{StoreFactory, for_all};
use store::RollupBatch;

const FIELDS: [UsageField; 10] = [
    UsageField::App,
    UsageField::Day,
    UsageField::Hour,
    UsageField::License,
    UsageField::Method,
    UsageField::Mode,
    UsageField::Outcome,
    UsageField::Plan,
    UsageField::Route,
    UsageField::Status,
];

fn quarters(quarters: i64) -> Timestamp {
    hours(0).plus_micros(quarters * Timestamp::QUARTER)
}

fn key() -> impl Strategy<Value = UsageKey> {
    let plans = vec![
        None,
        Some(("basic", 1, "EUR")),
        Some(("pro", 2, "EUR")),
        Some(("pro", 3, "EUR")),
        Some(("pro", 4, "USD")),
    ];
    let who = (
        select(vec!["acme", "default"]),
        select(vec!["api", "shop"]),
        0..4_u128,
    );
    let what = (
        select(vec!["/", "/a", "/a/b"]),
        select(vec![Method::Get, Method::Post]),
        select(vec![0_u16, 200, 404]),
        select(vec![
            Outcome::Delivered,
            Outcome::ClientGone,
            Outcome::Refused,
        ]),
        select(vec![Mode::Proxy, Mode::Token]),
    );
    (who, what, any::<bool>(), select(plans), -12..240_i64).prop_map(
        |((account, app, license), (route, method, status, outcome, mode), test, plan, quarter)| {
            UsageKey {
                account: account.parse().expect("valid"),
                app: app.parse().expect("valid"),
                license_id: (license > 0).then(|| LicenseId::from_u128(license << 120)),
                route: route.to_owned(),
                method,
                status,
                outcome,
                mode,
                test,
                plan: plan.map(|(name, revision, _)| {
                    (
                        name.parse().expect("valid"),
                        PlanRevisionId::from_u128(revision),
                    )
                }),
                currency: plan.map(|(_, _, currency)| currency.parse().expect("valid")),
                start: quarters(quarter),
            }
        },
    )
}

fn sums() -> impl Strategy<Value = UsageSums> {
    let count = || 0..1_000_000_000_000_u64;
    // The sum is far beyond 64 bits.
    let most = 10_i128.pow(33);
    let amount = -most..most;
    (count(), count(), count(), amount, count(), count()).prop_map(
        |(calls, billable_calls, units, nanos, request_bytes, response_bytes)| UsageSums {
            calls,
            billable_calls,
            units,
            amount: Money::from_nanos(nanos),
            request_bytes,
            response_bytes,
        },
    )
}

fn query() -> impl Strategy<Value = UsageQuery> {
    let who = (
        proptest::option::of(select(vec!["acme", "default", "nobody"])),
        proptest::option::of(select(vec!["api", "shop"])),
        proptest::option::of(0..5_u128),
    );
    let time = || proptest::option::of((-20..240_i64, -1..2_i64));
    let by = subsequence(FIELDS.to_vec(), 0..4).prop_shuffle();
    (who, time(), time(), by).prop_map(|((account, app, license), from, to, by)| {
        let time = |(quarter, micros)| quarters(quarter).plus_micros(micros);
        UsageQuery {
            account: account.map(|name| name.parse().expect("valid")),
            app: app.map(|name| name.parse().expect("valid")),
            license_id: license.map(|license| LicenseId::from_u128(license << 120)),
            from: from.map(time),
            to: to.map(time),
            by,
        }
    })
}

/// Neither an empty store nor a span without rows is gone through hour by hour, however long it is.
pub async fn usage_of_a_license_is_empty_where_nothing_was_rolled_up<F: StoreFactory>() {
    let place = F::fresh().await;
    let store = place.open().await;
    let mut query = UsageQuery {
        license_id: Some(LicenseId::from_u128(1 << 120)),
        ..UsageQuery::default()
    };
    // From the first year that can be written to the last.
    let (first, last) = (-62_167_219_200_000_000, 253_402_300_799_000_000);
    for micros in [None, Some(first), Some(0), Some(last)] {
        query.from = None;
        query.to = micros.map(Timestamp::from_micros);
        assert_eq!(
            store.usage(query.clone()).await,
            Ok(Vec::new()),
            "{query:?}"
        );
        query.from = query.to.take();
        assert_eq!(
            store.usage(query.clone()).await,
            Ok(Vec::new()),
            "{query:?}"
        );
    }
}

/// Usage agrees with a simple model, whatever was rolled up and whatever is asked.
pub async fn usage_agrees_with_a_simple_model<F: StoreFactory>() {
    let batches =
        proptest::collection::vec(proptest::collection::vec((key(), sums()), 0..30), 1..4);
    let queries = proptest::collection::vec(query(), 12);
    for_all(24, (batches, queries), |(batches, queries)| {
        ask::<F>(batches, queries)
    })
    .await;
}

async fn ask<F: StoreFactory>(batches: Vec<Vec<(UsageKey, UsageSums)>>, queries: Vec<UsageQuery>) {
    let place = F::fresh().await;
    let store = place.open().await;
    let instance = InstanceId::generate();
    for (from, rows) in batches.iter().enumerate() {
        let batch = RollupBatch {
            rows: rows.clone(),
            ..batch(instance, from as u64, Vec::new())
        };
        store.roll_up(batch).await.expect("rolled");
    }
    for query in queries {
        let expected = expected(batches.iter().flatten(), &query);
        let usage = store.usage(query.clone()).await.expect("answers");
        assert_eq!(usage, expected, "{query:?}");
    }
}

/// A value of a field, in the order of reports: none first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    App(AppName),
    Time(Timestamp),
    License(Option<LicenseId>),
    Method(Method),
    Mode(Mode),
    Outcome(Outcome),
    Plan(Option<PlanName>),
    Route(String),
    Status(u16),
}

fn expected<'rows>(
    rows: impl Iterator<Item = &'rows (UsageKey, UsageSums)>,
    query: &UsageQuery,
) -> Vec<UsageRow> {
    let mut groups: BTreeMap<(Vec<Value>, Option<Currency>), UsageSums> = BTreeMap::new();
    for (key, sums) in rows.filter(|(key, _)| matches(key, query)) {
        let values = query.by.iter().map(|field| value(key, *field)).collect();
        groups.entry((values, key.currency)).or_default().add(sums);
    }
    groups
        .into_iter()
        .map(|((values, currency), sums)| row(query, values, currency, sums))
        .collect()
}

fn matches(key: &UsageKey, query: &UsageQuery) -> bool {
    let account = |name: &AccountName| *name == key.account;
    query.account.as_ref().is_none_or(account)
        && query.app.as_ref().is_none_or(|app| *app == key.app)
        && query
            .license_id
            .is_none_or(|license| key.license_id == Some(license))
        && query.from.is_none_or(|from| key.start >= from)
        && query.to.is_none_or(|to| key.start < to)
}

fn value(key: &UsageKey, field: UsageField) -> Value {
    match field {
        UsageField::App => Value::App(key.app.clone()),
        UsageField::Day => {
            let day = 24 * Timestamp::HOUR;
            let micros = key.start.micros();
            Value::Time(Timestamp::from_micros(micros - micros.rem_euclid(day)))
        }
        UsageField::Hour => Value::Time(key.start.hour()),
        UsageField::License => Value::License(key.license_id),
        UsageField::Method => Value::Method(key.method),
        UsageField::Mode => Value::Mode(key.mode),
        UsageField::Outcome => Value::Outcome(key.outcome),
        UsageField::Plan => Value::Plan(key.plan.as_ref().map(|(name, _)| name.clone())),
        UsageField::Route => Value::Route(key.route.clone()),
        UsageField::Status => Value::Status(key.status),
    }
}

fn row(
    query: &UsageQuery,
    values: Vec<Value>,
    currency: Option<Currency>,
    sums: UsageSums,
) -> UsageRow {
    let mut row = UsageRow {
        sums,
        currency,
        ..UsageRow::default()
    };
    for (field, value) in query.by.iter().zip(values) {
        match value {
            Value::App(app) => row.app = Some(app),
            Value::Time(time) if *field == UsageField::Day => row.day = Some(time),
            Value::Time(time) => row.hour = Some(time),
            Value::License(license) => row.license_id = license,
            Value::Method(method) => row.method = Some(method),
            Value::Mode(mode) => row.mode = Some(mode),
            Value::Outcome(outcome) => row.outcome = Some(outcome),
            Value::Plan(plan) => row.plan = plan,
            Value::Route(route) => row.route = Some(route),
            Value::Status(status) => row.status = Some(status),
        }
    }
    row
}
