//! The rules of apps and routes, as the configuration states them.

use http::HeaderName;
use model::{AccountName, AppName, HostPattern, Method, Outcome, ParentPath};

use crate::agents::AgentRules;
use crate::unreadable::UnitsUnreadable;

/// The rules of one app that the gate goes by.
#[derive(Clone, Debug)]
pub struct AppRules {
    /// The name of the app.
    pub name: AppName,
    /// The account that sells it.
    pub account: AccountName,
    /// The hosts that it serves; empty: every host.
    pub hosts: Vec<HostPattern>,
    /// The parent paths that it serves; empty: all.
    pub paths: Vec<ParentPath>,
    /// The headers that a credential is read from.
    pub license_headers: Vec<HeaderName>,
    /// The statuses that are billed.
    pub billable: Vec<u16>,
    /// The statuses that are billed of calls by rpc; `None`: those of `billable`.
    pub billable_by_rpc: Option<Vec<u16>>,
    /// The statuses that are billed of what is spent without a call; `None`: those of `billable`.
    pub billable_by_own_ways: Option<Vec<u16>>,
    /// The outcomes that are billed.
    pub billable_outcomes: Vec<Outcome>,
    /// Whether calls that are not billed keep their units.
    pub counts_all: bool,
    /// Whether a path that can be read in two ways passes where nothing depends on it.
    pub forwards_ambiguous: bool,
    /// Whether calls are recorded and never billed.
    pub test: bool,
    /// Whether the caller waits for the disk (`disk`) or only for the kernel (`process`).
    pub waits_for_disk: bool,
    /// Whether calls under way are cut when their license is revoked.
    pub cuts_on_revoke: bool,
    /// The rules for AI agents; `None`: they are callers like others.
    pub agents: Option<AgentRules>,
    /// The declared routes; empty: every path and method, one unit each.
    pub routes: Vec<RouteRules>,
}

/// The rules of one route that the gate goes by.
#[derive(Clone, Debug)]
pub struct RouteRules {
    /// The parent path.
    pub path: ParentPath,
    /// The methods; empty: all.
    pub methods: Vec<Method>,
    /// The units of a call whose response names none.
    pub units: u64,
    /// The units that are reserved for a call: the most that its response may name.
    pub max_units: u64,
    /// The response header that names the units.
    pub units_header: Option<HeaderName>,
    /// The cost of a call whose response names units that cannot be read.
    pub units_unreadable: UnitsUnreadable,
    /// The statuses that are billed; `None`: those of the app.
    pub billable: Option<Vec<u16>>,
    /// The statuses that are billed of calls by rpc; `None`: those of the route's `billable`, or
    /// else those of the app.
    pub billable_by_rpc: Option<Vec<u16>>,
    /// The statuses that are billed of what is spent without a call; `None`: those of the route's
    /// `billable`, or else those of the app.
    pub billable_by_own_ways: Option<Vec<u16>>,
    /// Whether the upstream's answer is read to its end when the caller leaves.
    pub finishes_without_caller: bool,
    /// Whether a caller who half-closes the connection counts as gone.
    pub half_close_leaves: bool,
    /// Whether calls under way are cut when their license is revoked; `None`: as the app says.
    pub cuts_on_revoke: Option<bool>,
    /// Whether no credential is needed.
    pub open: bool,
    /// The features that a license must have, all of them; empty: none.
    pub features: Vec<String>,
}

impl RouteRules {
    /// Returns the route of an app that declares none: every path and method, one unit.
    #[must_use]
    pub fn any() -> Self {
        Self {
            path: ParentPath::root(),
            methods: vec![],
            units: 1,
            max_units: 1,
            units_header: None,
            units_unreadable: UnitsUnreadable::default(),
            billable: None,
            billable_by_rpc: None,
            billable_by_own_ways: None,
            finishes_without_caller: false,
            half_close_leaves: false,
            cuts_on_revoke: None,
            open: false,
            features: vec![],
        }
    }
}
