//! Apps and routes as the gate needs them: everything decided at configuration load, so that a call only looks up.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderName;
use model::parent_path;
use model::{AccountName, AppName, Method, Methods, Outcome, Symbol};
use model::{AppTable, HostPattern, NormalPath, ParentPath, RouteTable};

use crate::unreadable::{OncePerMinute, UnitsUnreadable};

/// What the configuration says of an app, as far as the gate cares.
#[derive(Clone, Debug)]
pub struct AppRules {
    /// Its name.
    pub name: AppName,
    /// The account that sells it.
    pub account: AccountName,
    /// Hosts it serves; empty: every host.
    pub hosts: Vec<HostPattern>,
    /// Parent paths it serves; empty: all.
    pub paths: Vec<ParentPath>,
    /// Headers that a credential is read from.
    pub license_headers: Vec<HeaderName>,
    /// Statuses that are billed.
    pub billable: Vec<u16>,
    /// Statuses that are billed of calls that come by rpc; `None`: the same.
    pub billable_by_rpc: Option<Vec<u16>>,
    /// Statuses that are billed of what is spent without a call; `None`: the same.
    pub billable_by_own_ways: Option<Vec<u16>>,
    /// Outcomes that are billed.
    pub billable_outcomes: Vec<Outcome>,
    /// Whether calls that are not billed keep their units.
    pub counts_all: bool,
    /// Whether a path that could be read in two ways passes where nothing depends on it.
    pub forwards_ambiguous: bool,
    /// Whether calls are recorded and never billed.
    pub test: bool,
    /// Whether the caller waits for the disk (`disk`) or only for the kernel (`process`).
    pub waits_for_disk: bool,
    /// Whether calls under way are cut when their license is revoked.
    pub cuts_on_revoke: bool,
    /// Declared routes; empty: every path and method, one unit each.
    pub routes: Vec<RouteRules>,
}

/// What the configuration says of a route, as far as the gate cares.
#[derive(Clone, Debug)]
pub struct RouteRules {
    /// The parent path.
    pub path: ParentPath,
    /// Methods; empty: all.
    pub methods: Vec<Method>,
    /// Units of a call whose response names none.
    pub units: u64,
    /// Units reserved for a call: the most that its response may name.
    pub most_units: u64,
    /// The response header that names the units.
    pub units_header: Option<HeaderName>,
    /// What a call costs whose response names units that cannot be read.
    pub units_unreadable: UnitsUnreadable,
    /// Statuses that are billed; `None`: those of the app.
    pub billable: Option<Vec<u16>>,
    /// Statuses that are billed of calls that come by rpc; `None`: what the route names, or else those of the app.
    pub billable_by_rpc: Option<Vec<u16>>,
    /// Statuses that are billed of what is spent without a call; `None`: what the route names, or else those of the app.
    pub billable_by_own_ways: Option<Vec<u16>>,
    /// Whether the upstream is heard to its end when the caller leaves.
    pub finishes_without_caller: bool,
    /// Whether a caller leaves who says that he sends nothing more.
    pub half_close_leaves: bool,
    /// Whether calls under way are cut when their license is revoked; `None`: as the app says.
    pub cuts_on_revoke: Option<bool>,
    /// Whether no credential is needed.
    pub open: bool,
}

/// One app.
#[derive(Debug)]
pub struct App {
    /// Its name.
    pub name: AppName,
    /// The account that sells it.
    pub account: AccountName,
    /// Its place in the list that the table was built from.
    pub index: usize,
    /// Headers that a credential is read from, and that never reach the upstream.
    pub license_headers: Box<[HeaderName]>,
    pub(crate) symbol: u32,
    pub(crate) symbol_text: Box<str>,
    pub(crate) test: bool,
    pub(crate) counts_all: bool,
    forwards_ambiguous: bool,
    pub(crate) waits_for_disk: bool,
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
    /// Whether the upstream is heard to its end when the caller leaves.
    pub finishes_without_caller: bool,
    /// Whether a caller leaves who says that he sends nothing more.
    pub half_close_leaves: bool,
    /// Whether no credential is needed.
    pub open: bool,
    pub(crate) units: u64,
    pub(crate) most_units: u64,
    pub(crate) units_unreadable: UnitsUnreadable,
    pub(crate) unreadable_log: OncePerMinute,
    pub(crate) symbol: u32,
    pub(crate) symbol_text: Box<str>,
    pub(crate) cuts_on_revoke: bool,
    billable: StatusBits,
    billable_by_rpc: StatusBits,
    billable_by_own_ways: StatusBits,
}

/// All apps of a configuration.
#[derive(Debug)]
pub struct Apps {
    table: AppTable<Arc<Entry>>,
    by_name: HashMap<AppName, Arc<Entry>>,
    /// Whether some app serves only part of a host, so that an ambiguous path may not be guessed.
    splits_hosts: bool,
}

#[derive(Debug)]
struct Entry {
    app: Arc<App>,
    routes: Routes,
    /// What is spent without a call to a path.
    whole: Arc<Route>,
    /// Parent paths that the app serves; empty: all.
    paths: Vec<ParentPath>,
}

#[derive(Debug)]
enum Routes {
    /// None declared: every path and method.
    Any(Arc<Route>),
    Declared(RouteTable<Arc<Route>>),
}

/// What a host and a path lead to.
pub(crate) enum Resolved {
    Route(Arc<Route>),
    NoRoute(Arc<App>),
    /// The app serves the path, by these methods only.
    NoMethod(Arc<App>, Methods),
    NoApp,
    Ambiguous(Option<Arc<App>>),
}

/// Why apps cannot be served together.
#[derive(Debug)]
pub struct BuildError(pub String);

/// The statuses 0 to 1023, one bit each.
#[derive(Clone, Debug)]
struct StatusBits([u64; 16]);

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

impl App {
    pub(crate) const fn bills(&self, outcome: Outcome) -> bool {
        self.billable_outcomes & (1 << outcome as u8) != 0
    }
}

impl Route {
    /// Whether a status is billed of a call through the proxy.
    pub(crate) fn bills_forwarded(&self, status: u16) -> bool {
        self.billable.contains(status)
    }

    /// Whether a status is billed of a call by rpc.
    pub(crate) fn bills_by_rpc(&self, status: u16) -> bool {
        self.billable_by_rpc.contains(status)
    }

    /// Whether a status is billed of what is spent without a call.
    pub(crate) fn bills_own_way(&self, status: u16) -> bool {
        self.billable_by_own_ways.contains(status)
    }
}

impl Apps {
    /// The tables for a list of apps. `symbol` gives each new text of the dictionary a number of its own, starting with 1,
    /// and the same text the same number.
    ///
    /// # Errors
    /// Two apps on one host and path, two routes on one path and method.
    pub fn build(
        rules: Vec<AppRules>,
        symbol: &mut dyn FnMut(&Symbol) -> u32,
    ) -> Result<Self, BuildError> {
        let mut table = AppTable::new();
        let mut by_name = HashMap::new();
        let splits_hosts = rules.iter().any(|app| !app.paths.is_empty());
        for (index, app) in rules.into_iter().enumerate() {
            let (hosts, paths) = (app.hosts.clone(), app.paths.clone());
            let name = app.name.clone();
            let entry = Arc::new(Entry::build(index, app, symbol)?);
            by_name.insert(name.clone(), entry.clone());
            table.insert(&hosts, &paths, entry).map_err(|conflicts| {
                let texts: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
                BuildError(format!("app `{name}`: {}", texts.join("; ")))
            })?;
        }
        Ok(Self {
            table,
            by_name,
            splits_hosts,
        })
    }

    pub(crate) fn resolve(&self, host: &str, method: Method, raw_path: &[u8]) -> Resolved {
        match NormalPath::parse(raw_path) {
            Ok(path) => self.resolve_normal(host, method, &path),
            Err(_) => self.resolve_ambiguous(host, raw_path),
        }
    }

    fn resolve_normal(&self, host: &str, method: Method, path: &NormalPath<'_>) -> Resolved {
        match self.table.lookup(host, path) {
            None => Resolved::NoApp,
            Some(entry) => entry.resolve(method, path),
        }
    }

    /// The first app of an account, in the order of the configuration.
    pub(crate) fn first_of(&self, account: &AccountName) -> Option<&AppName> {
        let own = self
            .by_name
            .values()
            .filter(|entry| entry.app.account == *account);
        let first = own.min_by_key(|entry| entry.app.index)?;
        Some(&first.app.name)
    }

    /// The route of an app by its name. Without a path it is one of a unit for the app as a whole.
    pub(crate) fn resolve_named(
        &self,
        app: &AppName,
        target: Option<(Method, &NormalPath<'_>)>,
    ) -> Resolved {
        match (self.by_name.get(app), target) {
            (None, _) => Resolved::NoApp,
            (Some(entry), None) => Resolved::Route(entry.whole.clone()),
            (Some(entry), Some((method, path))) if entry.serves(path) => {
                entry.resolve(method, path)
            }
            (Some(_), Some(_)) => Resolved::NoApp,
        }
    }

    /// An ambiguous path passes only where nothing depends on it; permissions are looked at later.
    ///
    /// What is no path by any reading (RFC 9110 allows no control characters and no spaces in it) never does.
    fn resolve_ambiguous(&self, host: &str, raw_path: &[u8]) -> Resolved {
        let is_a_path = raw_path.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
        let root = NormalPath::parse("/").expect("the root is a normal path");
        let found = self.table.lookup(host, &root);
        match found.map(|entry| &entry.routes) {
            Some(Routes::Any(route))
                if is_a_path && !self.splits_hosts && route.app.forwards_ambiguous =>
            {
                Resolved::Route(route.clone())
            }
            _ => Resolved::Ambiguous(found.map(|entry| entry.app.clone())),
        }
    }

    /// Every route that a call may have, that of each app as a whole among them.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.table.iter().flat_map(|entry| {
            let declared = match &entry.routes {
                Routes::Any(_) => None,
                Routes::Declared(routes) => Some(routes.iter()),
            };
            declared.into_iter().flatten().chain([&entry.whole])
        })
    }

    /// Every app.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<App>> {
        self.table.iter().map(|entry| &entry.app)
    }
}

impl Entry {
    fn serves(&self, path: &NormalPath<'_>) -> bool {
        let lies_below =
            |parent: &ParentPath| parent_path::lies_below(parent.as_str(), path.as_str());
        self.paths.is_empty() || self.paths.iter().any(lies_below)
    }

    fn resolve(&self, method: Method, path: &NormalPath<'_>) -> Resolved {
        match &self.routes {
            Routes::Any(route) => Resolved::Route(route.clone()),
            Routes::Declared(routes) => match routes.lookup(method, path) {
                Some(route) => Resolved::Route(route.clone()),
                None => match routes.methods(path) {
                    none if none.is_empty() => Resolved::NoRoute(self.app.clone()),
                    methods => Resolved::NoMethod(self.app.clone(), methods),
                },
            },
        }
    }

    fn build(
        index: usize,
        rules: AppRules,
        symbol: &mut dyn FnMut(&Symbol) -> u32,
    ) -> Result<Self, BuildError> {
        let text = Symbol::App {
            account: rules.account.clone(),
            app: rules.name.clone(),
        };
        let outcomes = rules
            .billable_outcomes
            .iter()
            .fold(0, |bits, outcome| bits | 1 << *outcome as u8);
        let app = Arc::new(App {
            name: rules.name.clone(),
            account: rules.account.clone(),
            index,
            license_headers: rules.license_headers.clone().into(),
            symbol: symbol(&text),
            symbol_text: text.encode().into(),
            test: rules.test,
            counts_all: rules.counts_all,
            forwards_ambiguous: rules.forwards_ambiguous,
            waits_for_disk: rules.waits_for_disk,
            billable_outcomes: outcomes,
        });
        let mut route = |declared: &RouteRules| {
            let text = Symbol::Route(declared.path.as_str().to_owned());
            let billable = declared.billable.as_ref().unwrap_or(&rules.billable);
            let of_way = |of_route: &Option<Vec<u16>>, of_app: &Option<Vec<u16>>| {
                let named = of_route.as_ref().or(declared.billable.as_ref());
                let named = named.or(of_app.as_ref());
                StatusBits::new(named.unwrap_or(&rules.billable))
            };
            Arc::new(Route {
                app: app.clone(),
                path: declared.path.clone(),
                units_header: declared.units_header.clone(),
                finishes_without_caller: declared.finishes_without_caller,
                half_close_leaves: declared.half_close_leaves,
                open: declared.open,
                units: declared.units,
                most_units: declared.most_units.max(declared.units),
                units_unreadable: declared.units_unreadable,
                unreadable_log: OncePerMinute::default(),
                symbol: symbol(&text),
                symbol_text: text.encode().into(),
                cuts_on_revoke: declared.cuts_on_revoke.unwrap_or(rules.cuts_on_revoke),
                billable: StatusBits::new(billable),
                billable_by_rpc: of_way(&declared.billable_by_rpc, &rules.billable_by_rpc),
                billable_by_own_ways: of_way(
                    &declared.billable_by_own_ways,
                    &rules.billable_by_own_ways,
                ),
            })
        };
        let whole = route(&RouteRules::any());
        if rules.routes.is_empty() {
            return Ok(Self {
                app,
                routes: Routes::Any(whole.clone()),
                whole,
                paths: rules.paths,
            });
        }
        let mut table = RouteTable::new();
        for declared in &rules.routes {
            let built = route(declared);
            table
                .insert(&declared.path, &declared.methods, built)
                .map_err(|error| BuildError(format!("app `{}`: {error}", rules.name)))?;
        }
        Ok(Self {
            app,
            routes: Routes::Declared(table),
            whole,
            paths: rules.paths,
        })
    }
}

impl RouteRules {
    /// The route of an app that declares none.
    #[must_use]
    pub fn any() -> Self {
        Self {
            path: ParentPath::root(),
            methods: vec![],
            units: 1,
            most_units: 1,
            units_header: None,
            units_unreadable: UnitsUnreadable::default(),
            billable: None,
            billable_by_rpc: None,
            billable_by_own_ways: None,
            finishes_without_caller: false,
            half_close_leaves: false,
            cuts_on_revoke: None,
            open: false,
        }
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
