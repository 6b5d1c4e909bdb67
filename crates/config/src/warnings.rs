//! Warnings: statements of a valid file that its author may not mean.

use model::parent_path::lies_below;
use model::{Method, Outcome};

use crate::{Access, App, Billable, Config, OutcomeSet, Route, StatusSet};

impl Config {
    /// Returns a sentence for each statement that is worth a second look. A file with warnings is
    /// served all the same.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for app in &self.apps {
            let name = format!("app `{}`", app.name);
            warnings.extend(bills_nothing(&name, &app.billable));
            warnings.extend(free_by_choice(&name, &app.billable));
            warnings.extend(free_by_outcome(&name, &app.billable_outcomes));
            warnings.extend(cheaper_in_other_letters(&name, app));
            warnings.extend(signed_for_anybody(&name, app));
            for route in &app.routes {
                if route.billable != app.billable {
                    let name = format!("{name}, route `{}`", route.path);
                    warnings.extend(free_by_choice(&name, &route.billable));
                }
            }
        }
        warnings
    }
}

/// Warns of signatures of agents on an app that serves every host: who has an agent sign a request to
/// a host of theirs may send it on to the app.
fn signed_for_anybody(what: &str, app: &App) -> Option<String> {
    let judges = app.agents.is_some_and(|agents| agents.web_bot_auth);
    (judges && app.hosts.is_empty()).then(|| {
        format!(
            "{what}: `[app.agents]` looks at signatures of agents, and without `hosts` one that was made for another site holds here, too: \
             name the app's `hosts`, or write `web_bot_auth = false`"
        )
    })
}

/// Warns of outcomes that nobody is billed for, though the call was served or its caller left it.
fn free_by_outcome(what: &str, billable: &OutcomeSet) -> Option<String> {
    if !billable.contains(Outcome::Delivered) {
        return Some(format!(
            "{what}: `billable_outcomes` lacks \"delivered\": calls that were answered to their end cost nothing; name it, or leave \
             `billable_outcomes` out"
        ));
    }
    (!billable.contains(Outcome::ClientGone)).then(|| {
        format!(
            "{what}: `billable_outcomes` lacks \"client_gone\": callers who leave before the end of an answer pay nothing for it; name \
             it, or leave `billable_outcomes` out"
        )
    })
}

/// Warns of an app that bills nothing. A route with an empty `billable` is not reported, since that
/// makes a single route free.
fn bills_nothing(what: &str, billable: &Billable) -> Option<String> {
    (billable.forwarded == StatusSet::NONE).then(|| {
        format!(
            "{what}: `billable` is empty: no call costs anything, but by routes that name their own; name statuses in it, or leave it out"
        )
    })
}

fn free_by_choice(what: &str, billable: &Billable) -> Option<String> {
    let free = billable.free_by_choice();
    let statuses: Vec<_> = free.iter().map(u16::to_string).collect();
    (!free.is_empty()).then(|| {
        format!(
            "{what}: `billable` has 200 and lacks {}, which callers get by asking with `Range` or `If-None-Match`: such calls cost nothing; \
             leave `billable` out, or name them in it too",
            statuses.join(" and ")
        )
    })
}

/// Warns of a route that costs more than its parent path, once for an app. Paths are compared
/// letter by letter, and many upstreams are not as strict: they serve `/DEAR` for `/dear`, which
/// costs what the parent costs.
fn cheaper_in_other_letters(what: &str, app: &App) -> Option<String> {
    let mut routes = app.routes.iter();
    let (dear, parent) = routes.find_map(|dear| {
        let mut parents = app.routes.iter();
        let parent = parents.find(|parent| is_cheaper_parent(parent, dear))?;
        Some((dear, parent))
    })?;
    let path = dear.path.as_str();
    Some(format!(
        "{what}: route `{path}` costs more than `{}`, under which an upstream that ignores the case of paths (Express does unless told \
         otherwise) is reached as `{}`; if yours does, let the parent cost no less, or make the upstream strict",
        parent.path.as_str(),
        path.to_ascii_uppercase(),
    ))
}

fn is_cheaper_parent(parent: &Route, dear: &Route) -> bool {
    let (above, below) = (parent.path.as_str(), dear.path.as_str());
    let rest = below.strip_prefix(above.trim_end_matches('/'));
    // A path without small letters is the same in capitals.
    let has_letters = rest.is_some_and(|rest| rest.bytes().any(|byte| byte.is_ascii_lowercase()));
    has_letters
        && lies_below(above, below)
        && share_a_method(parent, dear)
        && cost(parent) < cost(dear)
}

fn share_a_method(one: &Route, other: &Route) -> bool {
    let has = |method: &Method| other.methods.contains(method);
    one.methods.is_empty() || other.methods.is_empty() || one.methods.iter().any(has)
}

/// Returns the most units that a call of the route uses.
fn cost(route: &Route) -> u64 {
    match route.access {
        Access::Open => 0,
        Access::License => route.reserved_units(),
    }
}
