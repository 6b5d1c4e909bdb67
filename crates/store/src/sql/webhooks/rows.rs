//! Events and deliveries as rows.

use model::{DeliveryState, Event, EventType};
use serde::Serialize;

use crate::error::Error;
use crate::sql::{Row, json};
use crate::webhooks::{Attempt, Delivery};

/// The columns in the order that [`read_event`] reads, of events `e`.
pub(super) const EVENT: &str = "e.id, e.kind, e.at, e.account, e.app, e.license_id, e.data";
/// The columns in the order that [`read_delivery`] reads, of deliveries `d` with their events `e`.
pub(super) const DELIVERY: &str = "e.id, e.kind, e.at, e.account, e.app, e.license_id, e.data, d.number, d.webhook_id, \
    d.state, d.attempts, d.next_at, d.tried_at, d.duration_us, d.status, d.answer";
/// The number of columns of [`EVENT`], after which those of the delivery begin.
const EVENT_COLUMNS: usize = 7;

/// An event, as a statement reads it.
#[derive(Debug, Serialize)]
struct WrittenEvent<'a> {
    id: String,
    kind: u8,
    at: i64,
    account: &'a str,
    app: &'a str,
    license_id: Option<String>,
    data: String,
}

/// Returns events as a statement reads them.
pub(super) fn written(events: &[Event]) -> String {
    let written = events.iter().map(|event| WrittenEvent {
        id: hex(event.id.as_u128()),
        kind: event.kind as u8,
        at: event.at.micros(),
        account: event.account.as_str(),
        app: event.app.as_str(),
        license_id: event.license_id.map(|id| hex(id.as_u128())),
        data: json(&event.data),
    });
    json(&written.collect::<Vec<_>>())
}

/// Returns an id in the digits that both engines read.
pub(super) fn hex(bits: u128) -> String {
    format!("{bits:032x}")
}

/// Reads an event, whose columns come first.
pub(super) fn read_event(row: &Row) -> Result<Event, Error> {
    Ok(Event {
        id: row.get(0)?,
        kind: row.word(1, EventType::from_number)?,
        at: row.get(2)?,
        account: row.text(3)?,
        app: row.text(4)?,
        license_id: row.get(5)?,
        data: row.json(6)?.unwrap_or_default(),
    })
}

pub(super) fn read_delivery(row: &Row) -> Result<Delivery, Error> {
    let at = |column: usize| EVENT_COLUMNS + column;
    let last = match row.get(at(5))? {
        None => None,
        Some(tried_at) => Some(Attempt {
            at: tried_at,
            duration_us: row.count(at(6))?,
            status: row.get(at(7))?,
            answer: row.get(at(8))?,
        }),
    };
    Ok(Delivery {
        number: row.count(at(0))?,
        webhook_id: row.get(at(1))?,
        event: read_event(row)?,
        state: row.word(at(2), DeliveryState::from_number)?,
        attempts: row.get(at(3))?,
        next_at: row.get(at(4))?,
        last,
    })
}
