//! The events that rows are told by, and the licenses of which the store decides whether something
//! is to be told.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{AccountName, AppName, Event, EventId, EventType, LicenseId, Mode, Outcome, Symbol};
use serde_json::{Map, Value};
use store::{DEVICE_DIGEST, Watched};

use crate::names::Names;
use crate::row::Row;
use crate::wanted::{Kinds, Wanted};

/// The status of a call that validated a license.
const VALIDATED: u16 = 200;

/// The events of the rows that were added.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    names: &'a Names,
    wanted: Arc<Wanted>,
    /// The apps that were met, by their numbers.
    apps: Vec<Option<App>>,
    events: Vec<Event>,
    watched: BTreeMap<LicenseId, Watched>,
}

/// An app, and what is wanted of its calls.
#[derive(Clone, Debug)]
struct App {
    account: AccountName,
    name: AppName,
    kinds: Kinds,
}

impl<'a> Told<'a> {
    pub(crate) const fn new(names: &'a Names, wanted: Arc<Wanted>) -> Self {
        Self {
            names,
            wanted,
            apps: Vec::new(),
            events: Vec::new(),
            watched: BTreeMap::new(),
        }
    }

    /// Adds a row. Costs nothing where nobody wants anything.
    pub(crate) fn add(&mut self, row: &Row) {
        if self.wanted.is_empty() {
            return;
        }
        let (head, tail) = (&row.record.head, &row.record.tail);
        let Some(app) = self.app(head.app).cloned() else {
            return;
        };
        let kinds = app.kinds;
        if tail.outcome == Outcome::Refused || kinds == Kinds::default() {
            return;
        }
        if let Some(license_id) = head.license_id {
            if kinds.validated && head.mode == Mode::Verify && head.status == VALIDATED {
                self.events.push(validated(row, &app, license_id));
            }
            if kinds.first_use {
                self.watch(row, &app, license_id).first_use = true;
            }
        }
        let spends = kinds.quota && head.limited && tail.spent > 0;
        if spends && let Some(payer) = row.record.draws_on() {
            self.watch(row, &app, payer).quota = true;
        }
    }

    /// Returns the number of events so far, those that the store may make too.
    pub(crate) fn len(&self) -> usize {
        self.events.len().max(self.watched.len())
    }

    /// Returns the events, in the order of their rows, and the licenses, each once.
    pub(crate) fn finish(self) -> (Vec<Event>, Vec<Watched>) {
        (self.events, self.watched.into_values().collect())
    }

    fn app(&mut self, number: u32) -> Option<&App> {
        let index = number as usize;
        if self.apps.get(index).is_none_or(Option::is_none) {
            let Some(Symbol::App { account, app }) = self.names.get(number) else {
                return None;
            };
            if index >= self.apps.len() {
                self.apps.resize(index + 1, None);
            }
            self.apps[index] = Some(App {
                kinds: self.wanted.of(&account, &app),
                account,
                name: app,
            });
        }
        self.apps[index].as_ref()
    }

    /// Returns what the store is told of a license, from the first of its rows on.
    fn watch(&mut self, row: &Row, app: &App, license_id: LicenseId) -> &mut Watched {
        let is_own = row.record.head.license_id == Some(license_id);
        self.watched.entry(license_id).or_insert_with(|| Watched {
            license_id,
            account: app.account.clone(),
            app: match is_own {
                true => app.name.clone(),
                // One that pays for others is of every app.
                false => AppName::every(),
            },
            at: row.record.head.started_at,
            first_use: false,
            quota: false,
        })
    }
}

/// Returns the event of a validation. Its id is that of the call, so that a record that is rolled up
/// again, into a store that was put back, makes no other event.
fn validated(row: &Row, app: &App, license_id: LicenseId) -> Event {
    let head = &row.record.head;
    let facts = [
        ("license_id", Value::from(license_id.to_string())),
        ("app", app.name.as_str().into()),
        ("call_id", head.call_id.to_string().into()),
    ];
    let device = (head.idempotency != 0).then(|| (DEVICE_DIGEST, head.idempotency.into()));
    let key = head.credential_id;
    let key = key.map(|key| ("credential_id", key.to_string().into()));
    let facts = facts.into_iter().chain(device).chain(key);
    let facts = facts.map(|(name, value)| (name.to_owned(), value));
    Event {
        id: EventId::from_u128(head.call_id.as_u128()),
        kind: EventType::LicenseValidated,
        at: head.started_at,
        account: app.account.clone(),
        app: app.name.clone(),
        license_id: Some(license_id),
        data: facts.collect::<Map<_, _>>(),
    }
}
