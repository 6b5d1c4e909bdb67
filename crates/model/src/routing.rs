//! Tables that find the app and the route of a call. They are built when the configuration is
//! loaded, and read without allocation.
//!
//! A look-up walks down a tree of path segments and stops where nothing is declared any more. So
//! its cost follows the depth of the declared paths, not the number of routes and not the length of
//! the request's path.

use std::cell::Cell;
use std::collections::HashMap;

use crate::host::{HostPattern, MAX_HOST_BYTES, canonical_host};
use crate::methods::Methods;
use crate::outcome::Method;
use crate::parent_path::ParentPath;
use crate::path::NormalPath;

/// Apps by host and path.
#[derive(Clone, Debug)]
pub struct AppTable<T> {
    values: Vec<T>,
    exact: HashMap<Box<str>, PathTree<u32>>,
    below: HashMap<Box<str>, PathTree<u32>>,
    rest: PathTree<u32>,
}

/// The error for two apps that are declared for the same host and path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another app already serves {} below `{path}`", host_text(.host.as_ref()))]
pub struct AppConflict {
    /// The index of the app that was there first, in order of insertion.
    pub first: usize,
    /// The host; `None`: every host.
    pub host: Option<HostPattern>,
    /// The path.
    pub path: ParentPath,
}

/// Routes of one app by path and method.
#[derive(Clone, Debug)]
pub struct RouteTable<T> {
    values: Vec<T>,
    tree: PathTree<[u32; METHODS]>,
}

/// The error for two routes that are declared for the same path and method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another route already serves {method} on `{path}`")]
pub struct RouteConflict {
    /// The index of the route that was there first, in order of insertion.
    pub first: usize,
    /// The path.
    pub path: ParentPath,
    /// The first method that both serve.
    pub method: Method,
}

/// Values by parent path, as a tree. Node 0 is the root.
#[derive(Clone, Debug)]
struct PathTree<V> {
    nodes: Vec<Node<V>>,
}

#[derive(Clone, Debug)]
struct Node<V> {
    children: HashMap<Box<str>, u32>,
    value: Option<V>,
}

const METHODS: usize = Method::ALL.len();
const NONE: u32 = u32::MAX;

impl<T> AppTable<T> {
    /// Makes a table without apps.
    #[must_use]
    pub fn new() -> Self {
        Self {
            values: Vec::new(),
            exact: HashMap::new(),
            below: HashMap::new(),
            rest: PathTree::new(),
        }
    }

    /// Adds an app on all pairs of these hosts (none: every host that no other app names) and paths
    /// (none: `/`).
    ///
    /// # Errors
    /// Every pair that is taken already; those stay with the app that had them.
    pub fn insert(
        &mut self,
        hosts: &[HostPattern],
        paths: &[ParentPath],
        value: T,
    ) -> Result<(), Vec<AppConflict>> {
        let index = next_index(&self.values);
        self.values.push(value);
        let everywhere = [ParentPath::root()];
        let paths = if paths.is_empty() { &everywhere } else { paths };
        let mut conflicts = Vec::new();
        let mut claim = |tree: &mut PathTree<u32>, host: Option<&HostPattern>| {
            for path in paths {
                match tree.slot(path) {
                    Some(first) => conflicts.push(AppConflict {
                        first: *first as usize,
                        host: host.cloned(),
                        path: path.clone(),
                    }),
                    free => *free = Some(index),
                }
            }
        };
        for host in hosts {
            let tree = match host {
                HostPattern::Exact(name) => self.exact.entry(name.clone()),
                HostPattern::Below(name) => self.below.entry(name.clone()),
            };
            claim(tree.or_insert_with(PathTree::new), Some(host));
        }
        if hosts.is_empty() {
            claim(&mut self.rest, None);
        }
        if conflicts.is_empty() {
            Ok(())
        } else {
            Err(conflicts)
        }
    }

    /// Returns the app that serves a host (as in the `Host` header, with or without port) and path:
    /// by the host itself, else by the longest name that the host lies below, else the app without
    /// hosts. Among the apps of a host the longest parent path decides.
    #[must_use]
    pub fn lookup(&self, host: &str, path: &NormalPath<'_>) -> Option<&T> {
        let mut buffer = [0; MAX_HOST_BYTES];
        let named =
            canonical_host(host, &mut buffer).and_then(|host| self.lookup_named(host, path));
        let index = named.or_else(|| self.rest.longest(path, |index| Some(*index)))?;
        self.values.get(index as usize)
    }

    fn lookup_named(&self, host: &str, path: &NormalPath<'_>) -> Option<u32> {
        let find = |tree: &PathTree<u32>| tree.longest(path, |index| Some(*index));
        if let Some(index) = self.exact.get(host).and_then(find) {
            return Some(index);
        }
        if self.below.is_empty() {
            return None;
        }
        host.match_indices('.')
            .find_map(|(dot, _)| self.below.get(&host[dot + 1..]).and_then(find))
    }

    /// Returns every app, in order of insertion.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }
}

impl<T> RouteTable<T> {
    /// Makes a table without routes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            values: Vec::new(),
            tree: PathTree::new(),
        }
    }

    /// Adds a route for this path and what lies below it, and these methods (none: every method).
    ///
    /// # Errors
    /// The first method that another route serves on this path already. Such methods stay with that
    /// route.
    pub fn insert(
        &mut self,
        path: &ParentPath,
        methods: &[Method],
        value: T,
    ) -> Result<(), RouteConflict> {
        let index = next_index(&self.values);
        self.values.push(value);
        let slots = self.tree.slot(path).get_or_insert([NONE; METHODS]);
        let methods = if methods.is_empty() {
            &Method::ALL
        } else {
            methods
        };
        let mut conflict = None;
        for method in methods {
            let slot = &mut slots[*method as usize];
            match *slot {
                NONE => *slot = index,
                taken if taken == index => {}
                first => {
                    conflict.get_or_insert(RouteConflict {
                        first: first as usize,
                        path: path.clone(),
                        method: *method,
                    });
                }
            }
        }
        conflict.map_or(Ok(()), Err)
    }

    /// Returns the route with the longest parent path that serves a method on a path. HEAD goes by
    /// the route of GET where it has none of its own on that path.
    #[must_use]
    pub fn lookup(&self, method: Method, path: &NormalPath<'_>) -> Option<&T> {
        let serves = |slots: &[u32; METHODS]| {
            let served = |method: Method| Some(slots[method as usize]).filter(|it| *it != NONE);
            match (served(method), method) {
                (None, Method::Head) => served(Method::Get),
                (own, _) => own,
            }
        };
        let index = self.tree.longest(path, serves)?;
        self.values.get(index as usize)
    }

    /// Returns the methods by which routes serve a path.
    #[must_use]
    pub fn methods(&self, path: &NormalPath<'_>) -> Methods {
        let found = Cell::new(Methods::default());
        let add = |slots: &[u32; METHODS]| -> Option<()> {
            let served = Method::ALL.iter().zip(slots);
            for (method, _) in served.filter(|(_, slot)| **slot != NONE) {
                found.set(found.get().with(*method));
                if *method == Method::Get {
                    found.set(found.get().with(Method::Head));
                }
            }
            None
        };
        let _: Option<()> = self.tree.longest(path, add);
        found.get()
    }

    /// Returns every route, in order of insertion.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }
}

impl<V> PathTree<V> {
    fn new() -> Self {
        Self {
            nodes: vec![Node::new()],
        }
    }

    /// Returns the place for the value of a path.
    fn slot(&mut self, path: &ParentPath) -> &mut Option<V> {
        let mut at = 0;
        for segment in path.segments() {
            at = match self.nodes[at].children.get(segment) {
                Some(child) => *child as usize,
                None => self.grow(at, segment),
            };
        }
        &mut self.nodes[at].value
    }

    fn grow(&mut self, parent: usize, segment: &str) -> usize {
        let child = next_index(&self.nodes);
        self.nodes.push(Node::new());
        self.nodes[parent].children.insert(segment.into(), child);
        child as usize
    }

    /// Returns the result of `pick` for the longest parent of `path` for which there is one.
    fn longest<R>(&self, path: &NormalPath<'_>, pick: impl Fn(&V) -> Option<R>) -> Option<R> {
        let mut node = &self.nodes[0];
        let mut best = node.value.as_ref().and_then(&pick);
        for segment in path.segments() {
            if node.children.is_empty() {
                break;
            }
            let Some(child) = node.children.get(segment) else {
                break;
            };
            node = &self.nodes[*child as usize];
            best = node.value.as_ref().and_then(&pick).or(best);
        }
        best
    }
}

impl<V> Node<V> {
    fn new() -> Self {
        Self {
            children: HashMap::new(),
            value: None,
        }
    }
}

impl<T> Default for AppTable<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self::new()
    }
}

fn next_index<T>(items: &[T]) -> u32 {
    u32::try_from(items.len())
        .expect("a configuration file cannot declare four thousand million items")
}

fn host_text(host: Option<&HostPattern>) -> String {
    match host {
        Some(host) => format!("host `{host}`"),
        None => "every host".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> NormalPath<'_> {
        NormalPath::parse(text).expect(text)
    }

    fn parent(text: &str) -> ParentPath {
        text.parse().expect(text)
    }

    fn hosts(texts: &[&str]) -> Vec<HostPattern> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    #[test]
    fn the_exact_host_comes_before_the_wildcard_and_that_before_the_app_without_hosts() {
        let mut apps = AppTable::new();
        apps.insert(&[], &[], "rest").expect("free");
        apps.insert(&hosts(&["*.example.com"]), &[], "below")
            .expect("free");
        apps.insert(&hosts(&["*.b.example.com"]), &[], "further below")
            .expect("free");
        apps.insert(
            &hosts(&["API.example.com", "10.0.0.1", "[::1]"]),
            &[],
            "exact",
        )
        .expect("free");
        for (host, expected) in [
            ("api.example.com", "exact"),
            ("Api.Example.COM:8443", "exact"),
            ("api.example.com.", "exact"),
            ("10.0.0.1:80", "exact"),
            ("[::1]", "exact"),
            ("[::1]:8080", "exact"),
            ("www.example.com", "below"),
            ("a.c.example.com:1", "below"),
            ("a.b.example.com", "further below"),
            ("b.example.com", "below"),
            ("example.com", "rest"),
            ("badexample.com", "rest"),
            ("", "rest"),
            (":", "rest"),
            ("..", "rest"),
            ("é.É", "rest"),
        ] {
            assert_eq!(apps.lookup(host, &path("/")), Some(&expected), "{host}");
        }
        assert_eq!(apps.lookup(&"A.".repeat(400), &path("/")), Some(&"rest"));
        assert_eq!(apps.iter().count(), 4);
    }

    #[test]
    fn apps_share_a_host_by_the_longest_parent_path() {
        let mut apps = AppTable::new();
        let host = hosts(&["api.example.com"]);
        apps.insert(&host, &[parent("/v1")], "one").expect("free");
        apps.insert(&host, &[parent("/v1/beta"), parent("/v2")], "two")
            .expect("free");
        apps.insert(&[], &[parent("/")], "rest").expect("free");
        for (raw, expected) in [
            ("/v1/x", "one"),
            ("/v1/beta/x", "two"),
            ("/v1/betax", "one"),
            ("/v2", "two"),
            ("/v3", "rest"),
        ] {
            assert_eq!(
                apps.lookup("api.example.com", &path(raw)),
                Some(&expected),
                "{raw}"
            );
        }
    }

    #[test]
    fn two_apps_on_one_host_and_path_are_named() {
        let mut apps = AppTable::new();
        let both = hosts(&["a.example.com", "b.example.com"]);
        apps.insert(&both[..1], &[], 0).expect("free");
        let conflicts = apps.insert(&both, &[], 1).expect_err("taken");
        assert_eq!(conflicts.len(), 1);
        assert_eq!(conflicts[0].first, 0);
        assert_eq!(
            conflicts[0].to_string(),
            "another app already serves host `a.example.com` below `/`"
        );
        apps.insert(&[], &[], 2).expect("free");
        let conflicts = apps.insert(&[], &[], 3).expect_err("taken");
        assert_eq!(
            conflicts[0].to_string(),
            "another app already serves every host below `/`"
        );
    }

    #[test]
    fn a_path_declared_without_the_method_falls_back_to_a_shorter_one() {
        let mut routes = RouteTable::new();
        routes.insert(&parent("/"), &[], "all").expect("free");
        routes
            .insert(&parent("/v1/reports"), &[Method::Post], "make")
            .expect("free");
        routes
            .insert(&parent("/v1/reports/"), &[Method::Get, Method::Get], "read")
            .expect("free");
        for (method, raw, expected) in [
            (Method::Post, "/v1/reports", "make"),
            (Method::Post, "/v1/reports/7/pages", "make"),
            (Method::Get, "/v1/reports/", "read"),
            (Method::Delete, "/v1/reports", "all"),
            (Method::Post, "/v1/report", "all"),
            (Method::Post, "/v1/reports7", "all"),
            (Method::Other, "/", "all"),
        ] {
            assert_eq!(
                routes.lookup(method, &path(raw)),
                Some(&expected),
                "{method} {raw}"
            );
        }
        let conflict = routes
            .insert(&parent("/v1/reports"), &[], "again")
            .expect_err("taken");
        assert_eq!((conflict.first, conflict.method), (2, Method::Get));
        assert_eq!(
            conflict.to_string(),
            "another route already serves GET on `/v1/reports`"
        );
    }

    #[test]
    fn head_goes_by_the_route_of_get() {
        let mut routes = RouteTable::new();
        routes.insert(&parent("/"), &[], "all").expect("free");
        routes
            .insert(&parent("/dear"), &[Method::Get], "dear")
            .expect("free");
        routes
            .insert(&parent("/dear/own"), &[Method::Get], "get")
            .expect("free");
        routes
            .insert(&parent("/dear/own"), &[Method::Head], "head")
            .expect("free");
        for (raw, expected) in [("/", "all"), ("/dear", "dear"), ("/dear/own/x", "head")] {
            assert_eq!(
                routes.lookup(Method::Head, &path(raw)),
                Some(&expected),
                "{raw}"
            );
        }
    }

    #[test]
    fn without_a_route_for_all_a_call_may_have_none() {
        let mut routes = RouteTable::new();
        assert_eq!(routes.lookup(Method::Get, &path("/")), None);
        routes
            .insert(&parent("/a"), &[Method::Get], 1)
            .expect("free");
        assert_eq!(routes.lookup(Method::Get, &path("/b")), None);
        assert_eq!(routes.lookup(Method::Put, &path("/a")), None);
    }

    fn paths() -> impl Strategy<Value = String> {
        prop::collection::vec("[abc]", 0..5).prop_map(|parts| format!("/{}", parts.join("/")))
    }

    proptest! {
        #[test]
        fn the_table_finds_what_a_search_through_all_routes_finds(
            declared in prop::collection::vec((paths(), prop::sample::select(Method::ALL.to_vec())), 0..40),
            asked in paths(),
            method in prop::sample::select(Method::ALL.to_vec()),
        ) {
            let mut table = RouteTable::new();
            let mut kept = Vec::new();
            for (text, method) in declared {
                if table.insert(&parent(&text), &[method], text.clone()).is_ok() {
                    kept.push((text, method));
                }
            }
            let expected = kept
                .iter()
                .filter(|(text, serves)| serves.includes(method) && crate::parent_path::lies_below(text, &asked))
                .max_by_key(|(text, serves)| (text.len(), *serves == method))
                .map(|(text, _)| text);
            prop_assert_eq!(table.lookup(method, &path(&asked)), expected);
        }
    }
}
