//! The making of deliveries: which webhook gets which event.

use std::collections::HashSet;

use model::{AccountName, AppName, DeliveryState, EventType, LicenseId, Timestamp, Webhook};
use serde::Serialize;

use super::queue::numbers;
use super::rows::hex;
use crate::error::Error;
use crate::rules::numbers::WAITING;
use crate::sql::{Outcome, Row, Sql, Value, json, sql, values};

/// An event as far as it decides who gets it, and in which order.
#[derive(Clone, Debug)]
pub(super) struct EventHead {
    /// The number.
    pub(super) number: u64,
    kind: EventType,
    /// The account.
    pub(super) account: AccountName,
    app: AppName,
    license_id: Option<LicenseId>,
}

/// The columns in the order that [`EventHead::read`] reads.
pub(super) const EVENT_HEAD: &str = "number, kind, account, app, license_id";

impl EventHead {
    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            number: row.count(0)?,
            kind: row.word(1, EventType::from_number)?,
            account: row.text(2)?,
            app: row.text(3)?,
            license_id: row.get(4)?,
        })
    }

    /// Returns whether a webhook of its account gets it.
    pub(super) fn is_for(&self, webhook: &Webhook) -> bool {
        let of_app = |app: &AppName| self.app.is_every() || self.app == *app;
        webhook.app.as_ref().is_none_or(of_app) && webhook.gets(self.kind)
    }
}

/// An event that is to be delivered to a webhook, as a statement reads it.
#[derive(Debug, Serialize)]
pub(super) struct NewDelivery {
    event: u64,
    webhook: String,
    source: u8,
    license: String,
    /// Whether it is the first of those that are made together for its webhook, source and license.
    first: bool,
}

impl NewDelivery {
    pub(super) fn new(event: &EventHead, webhook: &Webhook) -> Self {
        let license = event.license_id.map(LicenseId::as_u128);
        let license = license.unwrap_or_else(|| queue_of(&event.app));
        Self {
            event: event.number,
            webhook: hex(webhook.id.as_u128()),
            source: event.kind.source() as u8,
            license: hex(license),
            first: false,
        }
    }
}

/// Returns what stands in the place of a license for events about an app, which come in order among
/// themselves: a number of its own that no license has, the version in it being none of an id.
fn queue_of(app: &AppName) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    /// Where ids have their version, 7.
    const VERSION: u128 = 0xf << 76;
    let bytes = app.as_str().bytes();
    // FNV-1a.
    let hash = bytes.fold(BASIS, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(PRIME)
    });
    hash & !VERSION
}

/// Makes deliveries in a state, except those that are there. Of those that are to wait it also makes
/// the heads where none waits yet. Returns their numbers.
pub(super) async fn add<S: Sql>(
    sql: &S,
    mut new: Vec<NewDelivery>,
    state: DeliveryState,
    next_at: Timestamp,
) -> Outcome<Value, S> {
    let mut met = HashSet::new();
    for delivery in &mut new {
        let beside = (
            delivery.webhook.clone(),
            delivery.source,
            delivery.license.clone(),
        );
        delivery.first = state == DeliveryState::Waiting && met.insert(beside);
    }
    let statement = sql!(
        postgres: "INSERT INTO deliveries (event, webhook_id, source, license_id, state, next_at, head)
        SELECT w.event, w.webhook, w.source, w.license, $2, $3, CASE WHEN w.first AND (
          SELECT o.number FROM deliveries o WHERE o.webhook_id = w.webhook AND o.source = w.source
          AND o.license_id = w.license AND o.state = {WAITING} LIMIT 1) IS NULL THEN 1 ELSE 0 END
        FROM json_to_recordset($1::text::json)
          AS w (event bigint, webhook uuid, source smallint, license uuid, first boolean)
        ON CONFLICT (event, webhook_id) DO NOTHING RETURNING number",
        sqlite: "INSERT INTO deliveries (event, webhook_id, source, license_id, state, next_at, head)
        SELECT w.value ->> 'event', unhex(w.value ->> 'webhook'), w.value ->> 'source', unhex(w.value ->> 'license'),
          $2, $3, CASE WHEN w.value ->> 'first' AND (
          SELECT o.number FROM deliveries o WHERE o.webhook_id = unhex(w.value ->> 'webhook')
          AND o.source = w.value ->> 'source' AND o.license_id = unhex(w.value ->> 'license') AND o.state = {WAITING}
          LIMIT 1) IS NULL THEN 1 ELSE 0 END
        FROM json_each($1) w WHERE true ON CONFLICT (event, webhook_id) DO NOTHING RETURNING number",
    );
    let next_at = (state == DeliveryState::Waiting).then_some(next_at);
    let values = values![json(&new), state as i64, next_at];
    numbers(&sql.query(statement, &values).await?).map_err(Into::into)
}
