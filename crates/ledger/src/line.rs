//! A call as reports show it.

use std::sync::Arc;

use model::{
    AccountName, AppName, CallId, Currency, LicenseId, Method, Mode, Money, Outcome, PlanName,
    Symbol, Timestamp,
};
use serde::Serialize;

use crate::names::NameCache;
use crate::row::Row;

/// One line of `tallygate calls --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallLine {
    /// Identity of the call.
    pub call_id: CallId,
    /// The license that pays.
    pub license_id: Option<LicenseId>,
    /// The app.
    pub app: AppName,
    /// Declared path of the route.
    pub route: String,
    /// Method.
    pub method: Method,
    /// Status; 0: none was sent.
    pub status: u16,
    /// The way it ended.
    pub outcome: Outcome,
    /// The way of spending.
    pub mode: Mode,
    /// Whether the call is billed.
    pub billable: bool,
    /// Units of work; they are not those of the bill, for calls that are not billed have some, too.
    pub units: u64,
    /// Units that are billed: those that usage and bill add up.
    pub billed_units: u64,
    /// Price of the billed units, gross; 0 where nothing is billed.
    pub amount: Money,
    /// The currency of the amount; `None` where the call has no plan.
    pub currency: Option<Currency>,
    /// The plan.
    pub plan: Option<PlanName>,
    /// Payload bytes of the request.
    pub request_bytes: u64,
    /// Payload bytes of the response.
    pub response_bytes: u64,
    /// Time from request head to end, in microseconds.
    pub duration_us: u64,
    /// Time from contacting the upstream to the end of its answer, in microseconds.
    pub upstream_us: u64,
    /// Number of connections to the upstream that were tried.
    pub attempts: u8,
    /// Time at which the call arrived.
    pub started_at: Timestamp,
    /// The label of the gate that served it.
    pub node: Arc<str>,
    /// The code of the refusal; `None`: it was not refused.
    pub refusal: Option<&'static str>,
    /// Number of calls that the record stands for: above 1 for folded refusals.
    pub calls: u32,
    /// Whether it was a call in test mode.
    pub test: bool,
    /// The reason why the units that the upstream named could not be read.
    pub units_unreadable: Option<&'static str>,
}

impl CallLine {
    /// The names of the fields, in order: the head of a CSV file.
    pub const FIELDS: [&'static str; 25] = [
        "call_id",
        "license_id",
        "app",
        "route",
        "method",
        "status",
        "outcome",
        "mode",
        "billable",
        "units",
        "billed_units",
        "amount",
        "currency",
        "plan",
        "request_bytes",
        "response_bytes",
        "duration_us",
        "upstream_us",
        "attempts",
        "started_at",
        "node",
        "refusal",
        "calls",
        "test",
        "units_unreadable",
    ];

    pub(crate) fn new(row: &Row, node: &Arc<str>, names: &mut NameCache<'_>) -> Self {
        let (head, tail) = (&row.record.head, &row.record.tail);
        Self {
            call_id: head.call_id,
            license_id: head.license_id,
            app: app_of(names, head.app).1,
            route: match names.get(head.route) {
                Some(Symbol::Route(path)) => path.clone(),
                _ => "/".to_owned(),
            },
            method: head.method,
            status: head.status,
            outcome: tail.outcome,
            mode: head.mode,
            billable: tail.billable,
            units: tail.units,
            billed_units: if tail.billable { tail.units } else { 0 },
            amount: row.amount,
            currency: row.currency,
            plan: match names.get(head.plan) {
                Some(Symbol::Plan { name, .. }) => Some(name.clone()),
                _ => None,
            },
            request_bytes: tail.request_bytes,
            response_bytes: tail.response_bytes,
            duration_us: tail.duration_us,
            upstream_us: tail.upstream_us,
            attempts: tail.attempts,
            started_at: head.started_at,
            node: Arc::clone(node),
            refusal: tail.refusal.map(model::Refusal::code),
            calls: tail.calls,
            test: head.test,
            units_unreadable: tail.units_unreadable.map(model::UnreadableUnits::as_str),
        }
    }
}

/// Returns account and app of a symbol.
pub(crate) fn app_of(names: &mut NameCache<'_>, number: u32) -> (AccountName, AppName) {
    match names.get(number) {
        Some(Symbol::App { account, app }) => (account.clone(), app.clone()),
        _ => (
            AccountName::default(),
            "unresolved".parse().expect("a valid name"),
        ),
    }
}
