//! A call that has found its route, and the heads of its records.

use std::sync::Arc;

use licensing::Reservation;
use model::{CallHead, CallId, LicenseId, Method, Mode, Outcome, Timestamp};

use crate::app::Route;
use crate::time::Moment;

/// A call that has found its route.
pub struct Routed {
    /// The route.
    pub route: Arc<Route>,
    /// The identity of the call.
    pub call_id: CallId,
    /// The method.
    pub method: Method,
    /// The way in which the call is made.
    pub(crate) mode: Mode,
    pub(crate) started: Moment,
    /// The wall clock at `started`. Read once, since windows and records must agree on it.
    pub(crate) started_at: Timestamp,
}

impl Routed {
    /// Returns a head with the identity of the call alone: no license, no units, never billed.
    pub(crate) fn identity_head(&self) -> CallHead {
        CallHead {
            call_id: self.call_id,
            app: self.route.app.symbol,
            route: self.route.symbol,
            method: self.method,
            mode: self.mode,
            started_at: self.started_at,
            test: self.route.app.test,
            ..CallHead::default()
        }
    }

    /// Returns the head of a call that no license pays for.
    pub(crate) fn head(&self) -> CallHead {
        let route = &self.route;
        CallHead {
            reserved: route.max_units,
            bills_interrupted: route.app.bills(Outcome::Interrupted),
            keeps_units: route.app.counts_all,
            ..self.identity_head()
        }
    }

    /// Returns the head of a call that a license pays for by the plan of this symbol.
    /// `reservation`: what was taken of its limits; `None`: nothing.
    pub(crate) fn paid_head(
        &self,
        license_id: LicenseId,
        plan: u32,
        reservation: Option<&Reservation>,
    ) -> CallHead {
        CallHead {
            license_id: Some(license_id),
            plan,
            // Rate windows go by this time. A call that waited for its lease may count in a later
            // window than the one in which it started.
            started_at: reservation.map_or(self.started_at, Reservation::counted_at),
            epoch: reservation.map_or(0, Reservation::epoch),
            limited: reservation.is_some_and(Reservation::is_limited),
            windowed: reservation.is_some_and(Reservation::is_windowed),
            ..self.head()
        }
    }
}
