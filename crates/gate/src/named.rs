//! The units that an upstream's answer names: read, bounded, and where they cannot be read priced as the route says.

use model::{NamedUnits, UnreadableUnits};

use crate::call::Forwarding;
use crate::unreadable::UnitsUnreadable;

/// What an answer said of its units.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    /// What the call uses.
    pub(crate) units: u64,
    /// Why it could not be read.
    pub(crate) unreadable: Option<UnreadableUnits>,
}

impl Forwarding {
    /// Takes the units that the response names. More than the route declares is clipped and counted; what cannot be read is
    /// counted, noted in the record, logged, and priced as the route says.
    pub fn read_units(&mut self, value: &[u8]) {
        let ticket = self.ticket();
        let (worker, route) = (&ticket.worker, &ticket.route);
        let named = match NamedUnits::parse(value) {
            Ok(units) => {
                if units.get() > route.most_units {
                    worker.shard.units_clipped();
                }
                Named {
                    units: units.get().min(route.most_units),
                    unreadable: None,
                }
            }
            Err(reason) => {
                worker.shard.units_clipped();
                if route.unreadable_log.passes(worker.wall(worker.now())) {
                    // Never the value itself, which may hold anything.
                    tracing::warn!(
                        app = %route.app.name, route = %route.path, call_id = %ticket.head.call_id, %reason,
                        "the units that an upstream named cannot be read, `units_unreadable` says what such calls cost"
                    );
                }
                Named {
                    units: match route.units_unreadable {
                        UnitsUnreadable::Units | UnitsUnreadable::Unbilled => route.units,
                        UnitsUnreadable::Max => route.most_units,
                    },
                    unreadable: Some(reason),
                }
            }
        };
        self.named = Some(named);
    }

    /// Whether the call is not billed since its units cannot be read.
    pub(crate) fn is_unbilled(&self) -> bool {
        self.unreadable().is_some()
            && self.ticket().route.units_unreadable == UnitsUnreadable::Unbilled
    }

    /// Why the units that the answer named could not be read.
    pub(crate) fn unreadable(&self) -> Option<UnreadableUnits> {
        self.named.and_then(|named| named.unreadable)
    }
}
