//! The record of a call: what is written when its status is known, and what when it is over.
//!
//! The binary forms (`binary`) are fixed-size, little-endian and carry their version in the first byte, since journals outlive
//! processes.

mod binary;

pub use binary::{DecodeRecordError, VERSION};

use crate::id::{CallId, CredentialId, LicenseId};
use crate::outcome::{Method, Mode, Outcome};
use crate::refusal::Refusal;
use crate::symbol::Symbol;
use crate::time::Timestamp;
use crate::units::UnreadableUnits;

/// What is known when the status is: the billable fact. It is durable before the caller sees the status (G1).
///
/// A mark (a call that may have been forwarded but has no status yet) is a head with status 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallHead {
    /// Identity of the call.
    pub call_id: CallId,
    /// The license that pays; `None` on routes that are open to all.
    pub license_id: Option<LicenseId>,
    /// Symbol of the app.
    pub app: u32,
    /// Symbol of the route.
    pub route: u32,
    /// Symbol of the plan revision; 0 where there is none.
    pub plan: u32,
    /// Request method.
    pub method: Method,
    /// Way of spending.
    pub mode: Mode,
    /// Status sent to the caller; 0: none was.
    pub status: u16,
    /// When the call came in.
    pub started_at: Timestamp,
    /// Units reserved for it.
    pub reserved: u64,
    /// The refill epoch of the balance that they were reserved from.
    pub epoch: u32,
    /// The app is in test mode: never billed.
    pub test: bool,
    /// The status is one of those that the app bills.
    pub billable_status: bool,
    /// The app bills calls that end as `interrupted`.
    pub bills_interrupted: bool,
    /// Its units are taken from the license's balance.
    pub limited: bool,
    /// It counts against a rate window of an hour or longer.
    pub windowed: bool,
    /// Hash of the caller's idempotency key; 0 where there is none.
    pub idempotency: u64,
    /// Its units stay spent even if it is not billed: its app counts all calls, or its caller broke it.
    pub keeps_units: bool,
    /// The credential that it was let in with, where one is noted.
    pub credential_id: Option<CredentialId>,
    /// From where it came, where that is noted.
    pub caller: Option<CallerPlace>,
    /// The call whose record this one corrects.
    pub correction_of: Option<CallId>,
    /// Symbol of what a unit is; 0 where that is not said.
    pub unit: u32,
}

/// From where a caller came, as much of it as the account chose to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerPlace {
    /// The first address of its network, an IPv4 one mapped into IPv6.
    Network(u128),
    /// A keyed hash of its address.
    Hash(u128),
}

/// What is known when the call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTail {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it is billed.
    pub billable: bool,
    /// Connections to the upstream that were tried.
    pub attempts: u8,
    /// Why it was refused, where it was.
    pub refusal: Option<Refusal>,
    /// Calls this record stands for: 1, but for refusals that were folded.
    pub calls: u32,
    /// Units of work that it used.
    pub units: u64,
    /// Units that stay taken from the balance.
    pub spent: u64,
    /// Payload bytes of the request.
    pub request_bytes: u64,
    /// Payload bytes of the response.
    pub response_bytes: u64,
    /// Time from request head to end, in microseconds.
    pub duration_us: u64,
    /// Time from contacting the upstream to the end of its answer, in microseconds.
    pub upstream_us: u64,
    /// Who paid for this call alone, where somebody did.
    pub payer: Option<u128>,
    /// The settlement of that payment.
    pub settlement_id: Option<u128>,
    /// The status that gRPC gave.
    pub grpc_status: Option<u8>,
    /// Why the units that the response named could not be read.
    pub units_unreadable: Option<UnreadableUnits>,
}

/// A whole call, as readers see it once it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// What was known with the status.
    pub head: CallHead,
    /// What was known at the end.
    pub tail: CallTail,
}

/// What a call costs: whether it is billed, and which units stay spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Whether it is billed.
    pub billable: bool,
    /// Units that stay taken from the balance.
    pub spent: u64,
}

impl CallHead {
    /// What the call costs by how it ended. It is the one rule of the gate, which closes calls, and of recovery, which closes
    /// those of a gate that died.
    ///
    /// `bills_outcome`: the app bills calls that end like this. `left`: its caller left or broke it before the upstream's status,
    /// which buys no free work.
    #[must_use]
    pub const fn settle(&self, outcome: Outcome, bills_outcome: bool, left: bool) -> Settled {
        let billed = self.billable_status && bills_outcome;
        // What became of an unknown call nobody knows: it may have been served.
        let keeps = billed || left || self.keeps_units || matches!(outcome, Outcome::Unknown);
        Settled {
            billable: billed && !self.test,
            spent: if keeps { self.reserved } else { 0 },
        }
    }

    /// The tail of a call whose gate died before it was over (recovery).
    ///
    /// With a status it is `interrupted`, without one (a mark) `unknown`: spent, not billed.
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

/// A call of which nothing is known.
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

/// One call of which nothing is known but that it ended.
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
