//! The units that an upstream's answer names.

use model::{CallId, NamedUnits, UnreadableUnits};

use crate::app::Route;
use crate::unreadable::UnitsUnreadable;
use crate::worker::Worker;

/// The units that an answer names, as far as they can be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerUnits {
    /// The units that the call uses, at most those that its route may cost.
    pub(crate) units: u64,
    /// The reason why they could not be read. `units` is then what the route says of such calls.
    pub(crate) unreadable: Option<UnreadableUnits>,
}

impl AnswerUnits {
    /// Reads the value of the header that names units. More than the route declares is clipped and
    /// counted. A value that cannot be read is counted, noted in the record, logged once a minute
    /// for each route, and priced as the route says.
    pub(crate) fn read(value: &[u8], route: &Route, worker: &Worker, call_id: CallId) -> Self {
        match NamedUnits::parse(value) {
            Ok(units) => {
                if units.get() > route.max_units {
                    worker.shard.units_clipped();
                }
                Self {
                    units: units.get().min(route.max_units),
                    unreadable: None,
                }
            }
            Err(reason) => {
                worker.shard.units_clipped();
                if route.unreadable_log.passes(worker.wall(worker.now())) {
                    // Never the value itself, which may hold anything.
                    tracing::warn!(
                        app = %route.app.name, route = %route.path, %call_id, %reason,
                        "the units that an upstream named cannot be read, `units_unreadable` says what such calls cost"
                    );
                }
                Self {
                    units: match route.units_unreadable {
                        UnitsUnreadable::Units | UnitsUnreadable::Unbilled => route.units,
                        UnitsUnreadable::Max => route.max_units,
                    },
                    unreadable: Some(reason),
                }
            }
        }
    }

    /// Returns whether the call is not billed because its units cannot be read.
    pub(crate) fn is_unbilled(&self, route: &Route) -> bool {
        self.unreadable.is_some() && route.units_unreadable == UnitsUnreadable::Unbilled
    }
}
