//! The row: a closed call with its number and its price, as every part of the ledger handles it.

use model::{CallRecord, Currency, Money};

/// A closed call with its price. The symbols of its head are numbers of [`Names`](crate::Names).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The close number in its lane.
    pub number: u64,
    /// The record of the call.
    pub record: CallRecord,
    /// The price, gross.
    pub amount: Money,
    /// The currency of its plan; `None` where it has no plan.
    pub currency: Option<Currency>,
    /// The index of its source in a list that the reader knows; 0 where there is one.
    pub(crate) source: u32,
}

/// The largest count that signed columns of files and databases hold.
const COUNT_MAX: u64 = i64::MAX as u64;

/// Returns the record with every count clipped to what a signed column holds, so that rollups,
/// files and reports agree on it.
pub(crate) fn clip(mut record: CallRecord) -> CallRecord {
    let tail = &mut record.tail;
    for count in [
        &mut tail.units,
        &mut tail.spent,
        &mut tail.request_bytes,
        &mut tail.response_bytes,
        &mut tail.duration_us,
        &mut tail.upstream_us,
    ] {
        *count = (*count).min(COUNT_MAX);
    }
    record
}

impl Row {
    /// Returns the key that rows of one file are sorted by: calls of one license lie together, in
    /// order of time.
    pub(crate) fn file_order(&self) -> (Option<u128>, i64, u128) {
        let head = &self.record.head;
        (
            head.license_id.map(model::LicenseId::as_u128),
            head.started_at.micros(),
            head.call_id.as_u128(),
        )
    }

    /// Returns the key that reports are sorted by: oldest first.
    pub(crate) fn time_order(&self) -> (i64, u128) {
        let head = &self.record.head;
        (head.started_at.micros(), head.call_id.as_u128())
    }
}
