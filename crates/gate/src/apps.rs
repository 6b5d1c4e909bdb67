//! The tables of all apps: the route of a call by its host, method and path, or by the name of its
//! app.

use std::collections::HashMap;
use std::sync::Arc;

use model::{
    AccountName, AppName, AppTable, Method, Methods, NormalPath, ParentPath, RouteTable, Symbol,
    parent_path,
};

use crate::app::{App, Route};
use crate::rules::{AppRules, RouteRules};

/// All apps of a configuration.
#[derive(Debug)]
pub struct Apps {
    table: AppTable<Arc<ServedApp>>,
    by_name: HashMap<AppName, Arc<ServedApp>>,
    /// Whether some app serves only part of a host, so that an ambiguous path may not be guessed.
    splits_hosts: bool,
}

/// An app with its routes.
#[derive(Debug)]
struct ServedApp {
    app: Arc<App>,
    routes: Routes,
    /// The route of what is spent without a call to a path.
    whole: Arc<Route>,
    /// The parent paths that the app serves; empty: all.
    paths: Vec<ParentPath>,
}

/// The routes of one app.
#[derive(Debug)]
enum Routes {
    /// No declared route: one for every path and method.
    Any(Arc<Route>),
    Declared(RouteTable<Arc<Route>>),
}

/// The result of a search for a route.
pub(crate) enum Resolved {
    Route(Arc<Route>),
    NoRoute(Arc<App>),
    /// The app serves the path, by these methods only.
    NoMethod(Arc<App>, Methods),
    NoApp,
    /// The path can be read in two ways.
    Ambiguous(Option<Arc<App>>),
}

/// The reason, in words, why apps cannot be served together.
#[derive(Debug)]
pub struct BuildError(pub String);

// === impl Apps ===

impl Apps {
    /// Returns the tables for a list of apps. `symbol` gives each new text of the dictionary a
    /// number of its own, starting with 1, and the same text the same number.
    ///
    /// # Errors
    /// Two apps on one host and path, two routes of an app on one path and method.
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
            let served = Arc::new(ServedApp::build(index, app, symbol)?);
            by_name.insert(name.clone(), served.clone());
            table.insert(&hosts, &paths, served).map_err(|conflicts| {
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

    /// Finds the route of a call by its host, method and path.
    pub(crate) fn resolve(&self, host: &str, method: Method, raw_path: &[u8]) -> Resolved {
        match NormalPath::parse(raw_path) {
            Ok(path) => self.resolve_normal(host, method, &path),
            Err(_) => self.resolve_ambiguous(host, raw_path),
        }
    }

    fn resolve_normal(&self, host: &str, method: Method, path: &NormalPath<'_>) -> Resolved {
        match self.table.lookup(host, path) {
            None => Resolved::NoApp,
            Some(served) => served.resolve(method, path),
        }
    }

    /// Returns the app that serves a host and path.
    pub(crate) fn serving(&self, host: &str, path: &NormalPath<'_>) -> Option<&Arc<App>> {
        self.table.lookup(host, path).map(|served| &served.app)
    }

    /// Returns the first app of an account, in the order of the configuration.
    pub(crate) fn first_of(&self, account: &AccountName) -> Option<&AppName> {
        let own = self
            .by_name
            .values()
            .filter(|served| served.app.account == *account);
        let first = own.min_by_key(|served| served.app.index)?;
        Some(&first.app.name)
    }

    /// Finds the route of an app by its name. Without a target this is the route of one unit for
    /// the app as a whole.
    pub(crate) fn resolve_named(
        &self,
        app: &AppName,
        target: Option<(Method, &NormalPath<'_>)>,
    ) -> Resolved {
        match (self.by_name.get(app), target) {
            (None, _) => Resolved::NoApp,
            (Some(served), None) => Resolved::Route(served.whole.clone()),
            (Some(served), Some((method, path))) if served.serves(path) => {
                served.resolve(method, path)
            }
            (Some(_), Some(_)) => Resolved::NoApp,
        }
    }

    /// Finds the route of a path that can be read in two ways. It passes only where nothing depends
    /// on the path; permissions are looked at later.
    ///
    /// Bytes that are no path by any reading never pass: RFC 9110 allows no control characters and
    /// no spaces in it.
    fn resolve_ambiguous(&self, host: &str, raw_path: &[u8]) -> Resolved {
        let is_a_path = raw_path.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
        let root = NormalPath::parse("/").expect("the root is a normal path");
        let found = self.table.lookup(host, &root);
        match found.map(|served| &served.routes) {
            Some(Routes::Any(route))
                if is_a_path && !self.splits_hosts && route.app.forwards_ambiguous =>
            {
                Resolved::Route(route.clone())
            }
            _ => Resolved::Ambiguous(found.map(|served| served.app.clone())),
        }
    }

    /// Returns every route that a call may have, with that of each app as a whole.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.table.iter().flat_map(|served| {
            let declared = match &served.routes {
                Routes::Any(_) => None,
                Routes::Declared(routes) => Some(routes.iter()),
            };
            declared.into_iter().flatten().chain([&served.whole])
        })
    }

    /// Returns every app.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<App>> {
        self.table.iter().map(|served| &served.app)
    }
}

// === impl ServedApp ===

impl ServedApp {
    fn build(
        index: usize,
        rules: AppRules,
        symbol: &mut dyn FnMut(&Symbol) -> u32,
    ) -> Result<Self, BuildError> {
        let app = Arc::new(App::new(index, &rules, symbol));
        let mut route =
            |declared: &RouteRules| Arc::new(Route::new(&app, &rules, declared, symbol));
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
            table
                .insert(&declared.path, &declared.methods, route(declared))
                .map_err(|error| BuildError(format!("app `{}`: {error}", rules.name)))?;
        }
        Ok(Self {
            app,
            routes: Routes::Declared(table),
            whole,
            paths: rules.paths,
        })
    }

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
}
