//! `[[app.route]]`: what calls of one path and its methods cost and need.

use http::HeaderName;
use model::license::lies_below;
use model::{LARGEST_EXACT, Method, ParentPath, RouteTable};

use crate::billable::Billable;
use crate::header;
use crate::reader::Section;
use crate::value::words;

/// `[[app.route]]`: a path, all that lies below it, and what its calls cost and need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The parent path; also the route's name in records.
    pub path: ParentPath,
    /// Methods it serves; empty: all.
    pub methods: Vec<Method>,
    /// Units that a call uses; 0: none \[1\].
    pub units: u64,
    /// Header of the upstream's answer that says how many units it used; removed from the answer. `units` where it is
    /// absent.
    pub units_header: Option<HeaderName>,
    /// The most units that such an answer may use, which is what a call reserves; there exactly if `units_header` is.
    pub units_max: Option<u64>,
    /// What a call costs whose answer names units that cannot be read \[`units`\].
    pub units_unreadable: UnitsUnreadable,
    /// Statuses that are billed; those of the app where the route says nothing.
    pub billable: Billable,
    /// What happens to the upstream's work when the caller leaves \[`cancel`\].
    pub on_client_gone: OnClientGone,
    /// What it means that the caller sends nothing more \[`answer`\].
    pub half_close: HalfClose,
    /// What happens to an open stream whose license is revoked; that of the app where the route says nothing.
    pub on_revoke: OnRevoke,
    /// What a caller needs \[`license`\].
    pub access: Access,
}

words! {
    /// What a call costs whose answer names units that cannot be read.
    UnitsUnreadable {
        /// The units of its route.
        #[default]
        Units = "units",
        /// The most units that an answer of its route may use.
        Max = "max",
        /// Nothing: it is recorded with the units of its route and not billed.
        Unbilled = "unbilled",
    }
}

words! {
    /// What happens to the upstream's work when the caller leaves.
    OnClientGone {
        /// It is broken off.
        #[default]
        Cancel = "cancel",
        /// It goes on to its end, so that its outcome is known.
        Finish = "finish",
    }
}

words! {
    /// What it means that the caller sends nothing more after a whole request.
    HalfClose {
        /// Nothing: he waits for the answer.
        #[default]
        Answer = "answer",
        /// He leaves.
        Leave = "leave",
    }
}

words! {
    /// What happens to an open stream whose license is revoked.
    OnRevoke {
        /// It is cut.
        #[default]
        Cut = "cut",
        /// It may end.
        Finish = "finish",
    }
}

words! {
    /// What a caller needs.
    Access {
        /// A license.
        #[default]
        License = "license",
        /// Nothing; calls are metered without a license.
        Open = "open",
    }
}

impl Route {
    /// The most units that a call of it can use: what is reserved.
    #[must_use]
    pub fn reserved_units(&self) -> u64 {
        self.units_max.unwrap_or(self.units)
    }

    pub(crate) fn of_every_call(billable: Billable, on_revoke: OnRevoke) -> Self {
        Self {
            path: ParentPath::root(),
            methods: Vec::new(),
            units: 1,
            units_header: None,
            units_max: None,
            units_unreadable: UnitsUnreadable::Units,
            billable,
            on_client_gone: OnClientGone::Cancel,
            half_close: HalfClose::Answer,
            on_revoke,
            access: Access::License,
        }
    }

    fn read(section: Section<'_>, billable: Billable, on_revoke: OnRevoke) -> Option<Self> {
        let default = Self::of_every_call(billable, on_revoke);
        let path = section.required("path");
        let route = Self {
            methods: section.list("methods", default.methods),
            units: section.number("units", 0..=LARGEST_EXACT, default.units),
            units_header: header::read_units_header(&section),
            units_max: section.optional_number("units_max", 1..=LARGEST_EXACT),
            units_unreadable: section.value("units_unreadable", default.units_unreadable),
            billable: Billable::read(&section).unwrap_or(billable),
            on_client_gone: section.value("on_client_gone", default.on_client_gone),
            half_close: section.value("half_close", default.half_close),
            on_revoke: section.value("on_revoke", on_revoke),
            access: section.value("access", default.access),
            path: default.path,
        };
        route.check_units(&section);
        section.finish();
        Some(Self {
            path: path?,
            ..route
        })
    }

    fn check_units(&self, section: &Section<'_>) {
        let (header, max) = (section.has("units_header"), section.has("units_max"));
        if header && !max {
            let message = "units_header needs `units_max`: write the most units that one call may use, 1 or more";
            section.report(section.at("units_header"), message);
        }
        if max && !header {
            let message = "units_max is for `units_header`: name the header that says how many units a call used";
            section.report(section.at("units_max"), message);
        }
        if let Some(most) = self.units_max.filter(|most| *most < self.units) {
            let message = format!(
                "units_max: {most} is not allowed here: write `units`, {}, or more",
                self.units
            );
            section.report(section.at("units_max"), message);
        }
    }
}

/// Whether some path lies below both.
fn meet(one: &ParentPath, other: &ParentPath) -> bool {
    lies_below(one.as_str(), other.as_str()) || lies_below(other.as_str(), one.as_str())
}

/// Every route of an app, none of which serves what another does.
pub(crate) fn read_all(
    sections: Vec<Section<'_>>,
    billable: Billable,
    on_revoke: OnRevoke,
    paths: &[ParentPath],
) -> Vec<Route> {
    let mut table = RouteTable::new();
    let mut routes = Vec::new();
    let mut places = Vec::new();
    for section in sections {
        let at = section.at("path");
        let reader = section.reader();
        let Some(route) = Route::read(section, billable, on_revoke) else {
            continue;
        };
        if let Err(conflict) = table.insert(&route.path, &route.methods, ()) {
            let (line, method) = (reader.line(places[conflict.first]), conflict.method);
            let message = format!(
                "path: the route on line {line} serves {method} on `{}` already: give each method of a path one route",
                route.path
            );
            reader.report(at, message);
        }
        // An app without any is told of once.
        if !paths.is_empty() && !paths.iter().any(|path| meet(path, &route.path)) {
            let own: Vec<String> = paths.iter().map(|path| format!("`{path}`")).collect();
            let message = format!(
                "path: no call of this app comes to `{}`, since its `paths` are {}: write a path below one of them",
                route.path,
                own.join(", ")
            );
            reader.report(at, message);
        }
        places.push(at);
        routes.push(route);
    }
    routes
}
