//! Calls of agents that were decided on elsewhere and that no license pays for: they are recorded,
//! and nothing else is done.

use std::sync::Arc;

use model::{
    AccountName, AppName, CallHead, CallId, CallRecord, CallTail, Method, Mode, NormalPath,
    Outcome, Refusal, Symbol,
};

use crate::apps::Resolved;
use crate::gate::Gate;
use crate::refused::Refused;
use crate::routed::Routed;
use crate::spend::tail;
use crate::worker::Worker;

/// A call of an agent that was decided on elsewhere and that no license pays for.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    /// The app.
    pub app: &'a AppName,
    /// The method and the path that were called; `None`: nobody says, so that it is a call of the
    /// app as a whole.
    pub target: Option<(Method, &'a NormalPath<'a>)>,
    /// The status that the agent was answered with.
    pub status: u16,
    /// The reason why it was sent away; `None`: it was let in.
    pub refusal: Option<Refusal>,
    /// The hash of the reporter's name for the call; 0 where there is none.
    pub idempotency: u64,
    /// The identity of the call where it has one already; `None`: a new one.
    pub call_id: Option<CallId>,
}

impl Gate {
    /// Returns the app of an account that serves a host and path, or else the first app of the
    /// account; `None`: it has none.
    #[must_use]
    pub fn app_of(
        &self,
        account: &AccountName,
        host: Option<&str>,
        path: &NormalPath<'_>,
    ) -> Option<AppName> {
        let catalogue = self.catalogue.load();
        let apps = &catalogue.apps;
        let served = host.and_then(|host| apps.serving(host, path));
        let served = served.filter(|app| app.account == *account);
        match served {
            Some(app) => Some(app.name.clone()),
            None => apps.first_of(account).cloned(),
        }
    }

    /// Records a call that was decided on elsewhere. Returns when the record is as durable as the
    /// app asks (G1). A path or method that no route of the app serves is recorded as the app as a
    /// whole.
    ///
    /// # Errors
    /// [`Refusal::AppUnknown`]: there is no such app. [`Refusal::JournalUnavailable`]: there is no
    /// room for the record, or it cannot be found out whether it is kept.
    pub(crate) async fn note(
        &self,
        worker: &Arc<Worker>,
        note: Note<'_>,
    ) -> Result<CallId, Refused> {
        let started = worker.now();
        let started_at = worker.wall(started);
        let call_id = note.call_id.unwrap_or_else(|| worker.next_id(started_at));
        let route = {
            let catalogue = self.catalogue.load();
            let apps = &catalogue.apps;
            match apps.resolve_named(note.app, note.target) {
                Resolved::Route(route) => Some(route),
                _ => match apps.resolve_named(note.app, None) {
                    Resolved::Route(whole) => Some(whole),
                    _ => None,
                },
            }
        };
        let Some(route) = route else {
            worker.count_refusal(Symbol::NONE, Refusal::AppUnknown);
            return Err(Refused::new(Refusal::AppUnknown, call_id));
        };
        let routed = Routed {
            route,
            call_id,
            method: note.target.map_or(Method::Other, |(method, _)| method),
            mode: Mode::Agent,
            started,
            started_at,
        };
        let Ok(space) = worker.room_for(&routed.route, None, CallRecord::LENGTH as u32, 1) else {
            return Err(self.refuse(worker, &routed, Refusal::JournalUnavailable));
        };
        let record = record(worker, &routed, &note);
        let written = worker.lane.single(space, &record.encode());
        match note.refusal {
            Some(refusal) => worker.count_refusal(routed.route.app.symbol, refusal),
            None => worker.count_call(&record.head, &record.tail),
        }
        let durable = routed.route.app.waits_for_disk;
        if durable && worker.lane.wait_durable(written.position).await.is_err() {
            return Err(self.refuse(worker, &routed, Refusal::JournalUnavailable));
        }
        Ok(call_id)
    }
}

/// Returns the record of a call: one that was let in is counted as a call without a license is, one
/// that was sent away as a refusal.
fn record(worker: &Worker, routed: &Routed, note: &Note<'_>) -> CallRecord {
    let Some(refusal) = note.refusal else {
        let head = CallHead {
            status: note.status,
            reserved: routed.route.units,
            billable_status: routed.route.bills_own_way(note.status),
            idempotency: note.idempotency,
            ..routed.head()
        };
        let tail = tail(worker, routed, &head, None);
        return CallRecord { head, tail };
    };
    let head = CallHead {
        status: note.status,
        idempotency: note.idempotency,
        ..routed.identity_head()
    };
    let tail = CallTail {
        outcome: Outcome::Refused,
        refusal: Some(refusal),
        calls: 1,
        ..CallTail::default()
    };
    CallRecord { head, tail }
}
