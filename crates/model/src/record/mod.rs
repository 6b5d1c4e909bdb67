//! The record of a call: a head, written when the status is known, and a tail, written when the
//! call is over.
//!
//! The binary forms (`binary`) are fixed-size, little-endian and carry their version in the first
//! byte, since journals outlive processes.

mod binary;

pub use binary::{DecodeRecordError, VERSION};

use crate::id::{CallId, CredentialId, LicenseId};
use crate::outcome::{Method, Mode, Outcome};
use crate::refusal::Refusal;
use crate::symbol::Symbol;
use crate::time::Timestamp;
use crate::units::UnreadableUnits;

/// The head of a record: what is known with the status, the billable fact. It is durable before the
/// caller sees the status (G1).
///
/// A mark (a call that may have been forwarded but has no status yet) is a head with status 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallHead {
    /// The id of the call.
    pub call_id: CallId,
    /// The license that pays; `None` on routes that are open to all.
    pub license_id: Option<LicenseId>,
    /// The symbol of the app.
    pub app: u32,
    /// The symbol of the route.
    pub route: u32,
    /// The symbol of the plan revision; 0 if there is none.
    pub plan: u32,
    /// The request method.
    pub method: Method,
    /// The mode of the call.
    pub mode: Mode,
    /// The status sent to the caller; 0: none was.
    pub status: u16,
    /// The time at which the call came in.
    pub started_at: Timestamp,
    /// The units reserved for the call.
    pub reserved: u64,
    /// The refill epoch of the balance that the units were reserved from.
    pub epoch: u32,
    /// Whether the app is in test mode, so that the call is never billed.
    pub test: bool,
    /// Whether the status is one of those that the app bills.
    pub billable_status: bool,
    /// Whether the app bills calls that end as `interrupted`.
    pub bills_interrupted: bool,
    /// Whether the units are taken from the license's balance.
    pub limited: bool,
    /// Whether the call counts against a rate window of an hour or longer.
    pub windowed: bool,
    /// The hash of what the caller tells its calls apart by: of an idempotency key, or of the device
    /// that was validated; 0 if there is none.
    pub idempotency: u64,
    /// Whether the units stay spent even if the call is not billed: its app counts all calls, or
    /// its caller broke it.
    pub keeps_units: bool,
    /// The credential that the call was admitted with, where it is noted.
    pub credential_id: Option<CredentialId>,
    /// The place that the call came from, where it is noted.
    pub caller: Option<CallerPlace>,
    /// The call whose record this one corrects.
    pub correction_of: Option<CallId>,
    /// The symbol of the word for a unit; 0 if there is none.
    pub unit: u32,
}

/// The place that a caller came from, as much of it as the account chose to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerPlace {
    /// The first address of the caller's network, an IPv4 one mapped into IPv6.
    Network(u128),
    /// A keyed hash of the caller's address.
    Hash(u128),
}

/// The tail of a record: what is known when the call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTail {
    /// The outcome.
    pub outcome: Outcome,
    /// Whether the call is billed.
    pub billable: bool,
    /// The number of connections to the upstream that were tried.
    pub attempts: u8,
    /// The refusal, if the call was refused.
    pub refusal: Option<Refusal>,
    /// The number of calls that the record stands for: 1, except for folded refusals.
    pub calls: u32,
    /// The units that the call used.
    pub units: u64,
    /// The units that stay taken from the balance.
    pub spent: u64,
    /// The payload bytes of the request.
    pub request_bytes: u64,
    /// The payload bytes of the response.
    pub response_bytes: u64,
    /// The time from the request head to the end, in microseconds.
    pub duration_us: u64,
    /// The time from contacting the upstream to the end of its answer, in microseconds.
    pub upstream_us: u64,
    /// The payer of this call alone, if there is one: without a settlement the id of the license
    /// whose units pay, else whoever settled it.
    pub payer: Option<u128>,
    /// The settlement of that payment outside of our balances.
    pub settlement_id: Option<u128>,
    /// The status of gRPC.
    pub grpc_status: Option<u8>,
    /// The reason why the units named by the response could not be read.
    pub units_unreadable: Option<UnreadableUnits>,
}

/// The whole record of a closed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// The head, known with the status.
    pub head: CallHead,
    /// The tail, known at the end.
    pub tail: CallTail,
}

impl CallRecord {
    /// Returns the license whose balance and rate windows the call draws on: another one where that
    /// pays, else the call's own; `None`: there is none.
    #[must_use]
    pub fn draws_on(&self) -> Option<LicenseId> {
        let another = match self.tail.settlement_id {
            None => self.tail.payer.map(LicenseId::from_u128),
            Some(_) => None,
        };
        another.or(self.head.license_id)
    }
}

/// The cost of a call: whether it is billed, and the units that stay spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Whether the call is billed.
    pub billable: bool,
    /// The units that stay taken from the balance.
    pub spent: u64,
}

impl CallHead {
    /// Returns the cost of the call by its outcome. Both the gate, which closes calls, and
    /// recovery, which closes those of a gate that died, go by this one rule.
    ///
    /// `bills_outcome`: the app bills calls with this outcome. `left`: the caller left or broke the
    /// call before the upstream's status, which buys no free work.
    #[must_use]
    pub const fn settle(&self, outcome: Outcome, bills_outcome: bool, left: bool) -> Settled {
        let billed = self.billable_status && bills_outcome;
        // An unknown call may have been served.
        let keeps = billed || left || self.keeps_units || matches!(outcome, Outcome::Unknown);
        Settled {
            billable: billed && !self.test,
            spent: if keeps { self.reserved } else { 0 },
        }
    }

    /// Returns the tail of a call whose gate died before it was over (recovery).
    ///
    /// With a status the call is `interrupted`, without one (a mark) `unknown`: spent, not billed.
    #[must_use]
    pub fn tail_of_recovery(&self) -> CallTail {
        let (outcome, bills) = match self.status {
            0 => (Outcome::Unknown, false),
            _ => (Outcome::Interrupted, self.bills_interrupted),
        };
        let settled = self.settle(outcome, bills, false);
        CallTail {
            outcome,
            billable: settled.billable,
            attempts: 1,
            units: self.reserved,
            spent: settled.spent,
            ..CallTail::default()
        }
    }
}

/// The head of a call of which nothing is known.
impl Default for CallHead {
    fn default() -> Self {
        Self {
            call_id: CallId::from_u128(0),
            license_id: None,
            app: Symbol::NONE,
            route: Symbol::NONE,
            plan: Symbol::NONE,
            method: Method::Other,
            mode: Mode::Proxy,
            status: 0,
            started_at: Timestamp::from_micros(0),
            reserved: 0,
            epoch: 0,
            test: false,
            billable_status: false,
            bills_interrupted: false,
            limited: false,
            windowed: false,
            idempotency: 0,
            keeps_units: false,
            credential_id: None,
            caller: None,
            correction_of: None,
            unit: Symbol::NONE,
        }
    }
}

/// The tail of one call of which only its end is known.
impl Default for CallTail {
    fn default() -> Self {
        Self {
            outcome: Outcome::Unknown,
            billable: false,
            attempts: 0,
            refusal: None,
            calls: 1,
            units: 0,
            spent: 0,
            request_bytes: 0,
            response_bytes: 0,
            duration_us: 0,
            upstream_us: 0,
            payer: None,
            settlement_id: None,
            grpc_status: None,
            units_unreadable: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_draws_on_its_payer_unless_that_settles_outside_of_our_balances() {
        let (own, payer) = (LicenseId::from_u128(1), LicenseId::from_u128(2));
        let record = |payer, settlement_id| CallRecord {
            head: CallHead {
                license_id: Some(own),
                ..CallHead::default()
            },
            tail: CallTail {
                payer,
                settlement_id,
                ..CallTail::default()
            },
        };
        assert_eq!(record(None, None).draws_on(), Some(own));
        assert_eq!(record(Some(2), None).draws_on(), Some(payer));
        assert_eq!(record(Some(2), Some(3)).draws_on(), Some(own));
    }

    #[test]
    fn a_call_that_a_crash_cut_short_costs_what_it_would_have_cost_otherwise() {
        let head = |status, billable_status, keeps_units| CallHead {
            status,
            billable_status,
            keeps_units,
            bills_interrupted: true,
            reserved: 7,
            ..CallHead::default()
        };
        for (what, head, billable, spent) in [
            ("billed", head(200, true, false), true, 7),
            ("not billed", head(404, false, false), false, 0),
            (
                "not billed, all are counted",
                head(404, false, true),
                false,
                7,
            ),
            (
                "billed in test mode",
                CallHead {
                    test: true,
                    ..head(200, true, false)
                },
                false,
                7,
            ),
            (
                "interruptions are free",
                CallHead {
                    bills_interrupted: false,
                    ..head(200, true, false)
                },
                false,
                0,
            ),
            ("without a status", head(0, false, false), false, 7),
        ] {
            let tail = head.tail_of_recovery();
            assert_eq!((tail.billable, tail.spent), (billable, spent), "{what}");
        }
    }
}
