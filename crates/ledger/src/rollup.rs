//! The sums of rows: many rows in, few rollup rows out.

use model::usage::{UsageKey, UsageSums};
use model::{Currency, LicenseId, Method, Mode, Money, Outcome, Symbol, Timestamp};
use store::Spent;

use crate::names::{NameCache, Names, NumberMap};
use crate::row::Row;

/// The key that the calls of one sum have in common, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    license_id: u128,
    has_license: bool,
    app: u32,
    route: u32,
    plan: u32,
    currency: Option<Currency>,
    start: i64,
    status: u16,
    method: Method,
    outcome: Outcome,
    mode: Mode,
    test: bool,
}

impl Key {
    fn of(row: &Row) -> Self {
        let head = &row.record.head;
        Self {
            license_id: head.license_id.map_or(0, LicenseId::as_u128),
            has_license: head.license_id.is_some(),
            app: head.app,
            route: head.route,
            plan: head.plan,
            currency: row.currency,
            start: head.started_at.quarter().micros(),
            status: head.status,
            method: head.method,
            outcome: row.record.tail.outcome,
            mode: head.mode,
            test: head.test,
        }
    }

    fn usage_key(&self, names: &mut NameCache<'_>) -> UsageKey {
        let (account, app) = match names.get(self.app) {
            Some(Symbol::App { account, app }) => (account.clone(), app.clone()),
            _ => (
                model::AccountName::default(),
                "unresolved".parse().expect("a valid name"),
            ),
        };
        let route = match names.get(self.route) {
            Some(Symbol::Route(path)) => path.clone(),
            _ => "/".to_owned(),
        };
        let plan = match names.get(self.plan) {
            Some(Symbol::Plan { name, revision }) => Some((name.clone(), *revision)),
            _ => None,
        };
        UsageKey {
            account,
            app,
            license_id: self
                .has_license
                .then(|| LicenseId::from_u128(self.license_id)),
            route,
            method: self.method,
            status: self.status,
            outcome: self.outcome,
            mode: self.mode,
            test: self.test,
            plan,
            currency: self.currency,
            start: Timestamp::from_micros(self.start),
        }
    }
}

/// The units and calls that one limited license paid.
#[derive(Debug, Default)]
struct Spending {
    /// Units by epoch; seldom more than one.
    units: Vec<(u32, u64)>,
    /// Calls by minute; about as many as the batch spans.
    calls: Vec<(u32, u64)>,
}

/// The sums of the rows that were added.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    rows: NumberMap<Key, UsageSums>,
    spent: NumberMap<u128, Spending>,
    calls: u64,
}

/// The length in seconds of the buckets that calls in long windows are counted in.
const MINUTE: u32 = 60;

impl Sums {
    /// Adds a row.
    pub(crate) fn add(&mut self, row: &Row) {
        let tail = &row.record.tail;
        let calls = u64::from(tail.calls);
        self.calls += calls;
        self.rows.entry(Key::of(row)).or_default().add(&UsageSums {
            calls,
            billable_calls: if tail.billable { calls } else { 0 },
            units: if tail.billable { tail.units } else { 0 },
            amount: row.amount,
            request_bytes: tail.request_bytes,
            response_bytes: tail.response_bytes,
        });
        self.spend(row);
    }

    fn spend(&mut self, row: &Row) {
        let (head, tail) = (&row.record.head, &row.record.tail);
        let Some(license_id) = row.record.draws_on() else {
            return;
        };
        // A refused call took nothing: neither units nor a place in a window.
        let admitted = tail.outcome != Outcome::Refused;
        let units = if head.limited { tail.spent } else { 0 };
        let counts = head.windowed && admitted;
        if units == 0 && !counts {
            return;
        }
        let spending = self.spent.entry(license_id.as_u128()).or_default();
        if units > 0 {
            count(&mut spending.units, head.epoch, units);
        }
        if counts {
            let minute = head.started_at.period(MINUTE);
            count(&mut spending.calls, minute, u64::from(tail.calls));
        }
    }

    /// Returns the number of rows so far, those of the rollups and those of spent units alike.
    pub(crate) fn len(&self) -> usize {
        self.rows.len().max(self.spent.len())
    }

    /// Returns the number of calls that were added; a folded record counts for all its calls.
    pub(crate) const fn calls(&self) -> u64 {
        self.calls
    }

    /// Returns the sums by their full keys, in order.
    pub(crate) fn rows(&self, names: &Names) -> Vec<(UsageKey, UsageSums)> {
        let mut cache = NameCache::new(names);
        let mut rows: Vec<_> = self
            .rows
            .iter()
            .map(|(key, sums)| (key.usage_key(&mut cache), *sums))
            .collect();
        for (key, sums) in &rows {
            if sums.amount == Money::MAX {
                let (app, license) = (&key.app, key.license_id);
                tracing::error!(%app, ?license, "a sum is beyond what an amount can say, and stays at the greatest");
            }
        }
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        // No route and the route `/` are the same to readers.
        rows.dedup_by(|(key, sums), (before, total)| {
            let same = key == before;
            if same {
                total.add(sums);
            }
            same
        });
        rows
    }

    /// Returns the units and calls that limited licenses paid, for themselves or for others, in
    /// order of their ids.
    pub(crate) fn spent(&self) -> Vec<Spent> {
        let mut spent: Vec<_> = self
            .spent
            .iter()
            .map(|(license_id, spending)| Spent {
                license_id: LicenseId::from_u128(*license_id),
                units: sorted(&spending.units),
                calls: sorted(&spending.calls),
            })
            .collect();
        spent.sort_unstable_by_key(|spent| spent.license_id);
        spent
    }
}

/// Adds to the bucket of a number; the newest is looked at first.
fn count(buckets: &mut Vec<(u32, u64)>, number: u32, by: u64) {
    match buckets.iter_mut().rev().find(|(known, _)| *known == number) {
        Some((_, sum)) => *sum = sum.saturating_add(by),
        None => buckets.push((number, by)),
    }
}

fn sorted(buckets: &[(u32, u64)]) -> Vec<(u32, u64)> {
    let mut buckets = buckets.to_vec();
    buckets.sort_unstable();
    buckets
}
