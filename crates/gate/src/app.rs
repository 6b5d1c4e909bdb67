//! Apps and routes, with everything decided when the configuration is loaded: a call only looks up.

use std::sync::Arc;

use http::HeaderName;
use model::{AccountName, AppName, OncePerMinute, Outcome, ParentPath, Symbol};

use crate::agents::AgentRules;
use crate::rules::{AppRules, RouteRules};
use crate::unreadable::UnitsUnreadable;

/// One app.
#[derive(Debug)]
pub struct App {
    /// The name of the app.
    pub name: AppName,
    /// The account that sells it.
    pub account: AccountName,
    /// The place of the app in the list that the gate was built from, from 0.
    pub index: usize,
    /// The headers that a credential is read from, and that never reach the upstream.
    pub license_headers: Box<[HeaderName]>,
    /// The rules for AI agents; `None`: they are callers like others. Boxed, since most apps have
    /// none.
    pub(crate) agents: Option<Box<AgentRules>>,
    pub(crate) symbol: u32,
    pub(crate) symbol_text: Box<str>,
    pub(crate) test: bool,
    pub(crate) counts_all: bool,
    pub(crate) forwards_ambiguous: bool,
    pub(crate) waits_for_disk: bool,
    /// One bit for each outcome that is billed.
    billable_outcomes: u8,
}

/// One route of an app.
#[derive(Debug)]
pub struct Route {
    /// The app.
    pub app: Arc<App>,
    /// The declared path; `/` where the app declares none.
    pub path: ParentPath,
    /// The response header that names the units.
    pub units_header: Option<HeaderName>,
    /// Whether the upstream's answer is read to its end when the caller leaves.
    pub finishes_without_caller: bool,
    /// Whether a caller who half-closes the connection counts as gone.
    pub half_close_leaves: bool,
    /// Whether no credential is needed.
    pub open: bool,
    /// The features that a license must have.
    pub(crate) features: Box<[String]>,
    pub(crate) units: u64,
    pub(crate) max_units: u64,
    pub(crate) units_unreadable: UnitsUnreadable,
    pub(crate) unreadable_log: OncePerMinute,
    pub(crate) symbol: u32,
    pub(crate) symbol_text: Box<str>,
    pub(crate) cuts_on_revoke: bool,
    billable: StatusBits,
    billable_by_rpc: StatusBits,
    billable_by_own_ways: StatusBits,
}

/// A set of statuses from 0 to 1023, one bit each.
#[derive(Clone, Debug)]
struct StatusBits([u64; 16]);

// === impl App ===

impl App {
    /// Returns the app at this place of the configuration's list. `symbol` numbers its name.
    pub(crate) fn new(
        index: usize,
        rules: &AppRules,
        symbol: &mut dyn FnMut(&Symbol) -> u32,
    ) -> Self {
        let text = Symbol::App {
            account: rules.account.clone(),
            app: rules.name.clone(),
        };
        let outcomes = rules
            .billable_outcomes
            .iter()
            .fold(0, |bits, outcome| bits | 1 << *outcome as u8);
        Self {
            name: rules.name.clone(),
            account: rules.account.clone(),
            index,
            license_headers: rules.license_headers.clone().into(),
            agents: rules.agents.clone().map(Box::new),
            symbol: symbol(&text),
            symbol_text: text.encode().into(),
            test: rules.test,
            counts_all: rules.counts_all,
            forwards_ambiguous: rules.forwards_ambiguous,
            waits_for_disk: rules.waits_for_disk,
            billable_outcomes: outcomes,
        }
    }

    /// Returns whether the app decides on AI agents, so that a call of it needs a
    /// [`RequestHead`](crate::RequestHead).
    #[must_use]
    pub const fn decides_on_agents(&self) -> bool {
        self.agents.is_some()
    }

    pub(crate) const fn bills(&self, outcome: Outcome) -> bool {
        self.billable_outcomes & (1 << outcome as u8) != 0
    }
}

// === impl Route ===

impl Route {
    /// Returns a route of `app`, whose rules fill in what the route's leave open. `symbol` numbers
    /// its path.
    pub(crate) fn new(
        app: &Arc<App>,
        app_rules: &AppRules,
        rules: &RouteRules,
        symbol: &mut dyn FnMut(&Symbol) -> u32,
    ) -> Self {
        let text = Symbol::Route(rules.path.as_str().to_owned());
        let billable = rules.billable.as_ref().unwrap_or(&app_rules.billable);
        let of_way = |of_route: &Option<Vec<u16>>, of_app: &Option<Vec<u16>>| {
            let named = of_route.as_ref().or(rules.billable.as_ref());
            let named = named.or(of_app.as_ref());
            StatusBits::new(named.unwrap_or(&app_rules.billable))
        };
        Self {
            app: app.clone(),
            path: rules.path.clone(),
            units_header: rules.units_header.clone(),
            finishes_without_caller: rules.finishes_without_caller,
            half_close_leaves: rules.half_close_leaves,
            open: rules.open,
            features: rules.features.clone().into(),
            units: rules.units,
            max_units: rules.max_units.max(rules.units),
            units_unreadable: rules.units_unreadable,
            unreadable_log: OncePerMinute::default(),
            symbol: symbol(&text),
            symbol_text: text.encode().into(),
            cuts_on_revoke: rules.cuts_on_revoke.unwrap_or(app_rules.cuts_on_revoke),
            billable: StatusBits::new(billable),
            billable_by_rpc: of_way(&rules.billable_by_rpc, &app_rules.billable_by_rpc),
            billable_by_own_ways: of_way(
                &rules.billable_by_own_ways,
                &app_rules.billable_by_own_ways,
            ),
        }
    }

    /// Returns whether a status is billed of a call through the proxy.
    pub(crate) fn bills_forwarded(&self, status: u16) -> bool {
        self.billable.contains(status)
    }

    /// Returns whether a status is billed of a call by rpc.
    pub(crate) fn bills_by_rpc(&self, status: u16) -> bool {
        self.billable_by_rpc.contains(status)
    }

    /// Returns whether a status is billed of what is spent without a call.
    pub(crate) fn bills_own_way(&self, status: u16) -> bool {
        self.billable_by_own_ways.contains(status)
    }
}

// === impl StatusBits ===

impl StatusBits {
    fn new(statuses: &[u16]) -> Self {
        let mut bits = [0; 16];
        for status in statuses.iter().filter(|status| **status < 1_024) {
            bits[usize::from(status / 64)] |= 1 << (status % 64);
        }
        Self(bits)
    }

    fn contains(&self, status: u16) -> bool {
        let word = self.0.get(usize::from(status / 64)).copied().unwrap_or(0);
        word & (1 << (status % 64)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_bits() {
        let bits = StatusBits::new(&[200, 204, 599]);
        assert!(bits.contains(200) && bits.contains(204) && bits.contains(599));
        assert!(!bits.contains(201) && !bits.contains(0) && !bits.contains(u16::MAX));
    }
}
