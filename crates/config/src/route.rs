//! `[[app.route]]`: the prices and needs of calls of one path and its methods.

use http::HeaderName;
use model::parent_path::lies_below;
use model::{MAX_SAFE_INTEGER, Method, ParentPath, RouteTable};

use crate::billable::Billable;
use crate::header;
use crate::reader::Section;
use crate::value::words;

/// `[[app.route]]`: a path, all that lies below it, and the prices and needs of its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The parent path; also the route's name in records.
    pub path: ParentPath,
    /// The methods that the route serves; empty: all.
    pub methods: Vec<Method>,
    /// The units that a call uses; 0: none \[1\].
    pub units: u64,
    /// The header of the upstream's answer with the number of units that it used. It is removed
    /// from the answer. An answer without it uses `units`.
    pub units_header: Option<HeaderName>,
    /// The most units that such an answer may use, which is what a call reserves. Set exactly if
    /// `units_header` is.
    pub units_max: Option<u64>,
    /// The cost of a call whose answer names units that cannot be read \[`units`\].
    pub units_unreadable: UnitsUnreadable,
    /// The statuses that are billed; those of the app if the route names none.
    pub billable: Billable,
    /// The treatment of the upstream's work when the caller leaves \[`cancel`\].
    pub on_client_gone: OnClientGone,
    /// The meaning of a caller that sends nothing more \[`answer`\].
    pub half_close: HalfClose,
    /// The treatment of an open stream whose license is revoked; that of the app if the route
    /// states none.
    pub on_revoke: OnRevoke,
    /// The credential that a caller needs \[`license`\].
    pub access: Access,
    /// The features that a license must have, all of them, by its plan or its variable
    /// `license_features`; empty: none.
    pub features: Vec<String>,
}

words! {
    /// The cost of a call whose answer names units that cannot be read.
    UnitsUnreadable {
        /// The call costs the units of its route.
        #[default]
        Units = "units",
        /// The call costs the most units that an answer of its route may use.
        Max = "max",
        /// The call costs nothing: it is recorded with the units of its route and not billed.
        Unbilled = "unbilled",
    }
}

words! {
    /// The treatment of the upstream's work when the caller leaves.
    OnClientGone {
        /// The work is broken off.
        #[default]
        Cancel = "cancel",
        /// The work goes on to its end, so that its outcome is known.
        Finish = "finish",
    }
}

words! {
    /// The meaning of a caller that sends nothing more after a whole request.
    HalfClose {
        /// The caller waits for the answer.
        #[default]
        Answer = "answer",
        /// The caller leaves.
        Leave = "leave",
    }
}

words! {
    /// The treatment of an open stream whose license is revoked.
    OnRevoke {
        /// The stream is cut.
        #[default]
        Cut = "cut",
        /// The stream may end by itself.
        Finish = "finish",
    }
}

words! {
    /// The credential that a caller needs.
    Access {
        /// A license key.
        #[default]
        License = "license",
        /// None; calls are metered without a license.
        Open = "open",
    }
}

impl Route {
    /// Returns the most units that a call of the route can use, which is the number reserved.
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
            features: Vec::new(),
        }
    }

    fn read(section: Section<'_>, billable: Billable, on_revoke: OnRevoke) -> Option<Self> {
        let default = Self::of_every_call(billable, on_revoke);
        let path = section.required("path");
        let route = Self {
            methods: section.list("methods", default.methods),
            units: section.number("units", 0..=MAX_SAFE_INTEGER, default.units),
            units_header: header::read_units_header(&section),
            units_max: section.optional_number("units_max", 1..=MAX_SAFE_INTEGER),
            units_unreadable: section.value("units_unreadable", default.units_unreadable),
            billable: Billable::read(&section).unwrap_or(billable),
            on_client_gone: section.value("on_client_gone", default.on_client_gone),
            half_close: section.value("half_close", default.half_close),
            on_revoke: section.value("on_revoke", on_revoke),
            access: section.value("access", default.access),
            features: section.list("features", default.features),
            path: default.path,
        };
        route.check_units(&section);
        route.check_features(&section);
        section.finish();
        Some(Self {
            path: path?,
            ..route
        })
    }

    fn check_features(&self, section: &Section<'_>) {
        if self.features.is_empty() {
            return;
        }
        let separates = |letter: char| letter == ',' || letter.is_whitespace();
        let broken = |word: &&String| word.is_empty() || word.contains(separates);
        if let Some(word) = self.features.iter().find(broken) {
            let message = format!(
                "features: `{word}` is not one word: write words without blanks and commas, such as \"export\""
            );
            section.report(section.at("features"), message);
        }
        if self.access == Access::Open {
            let message = "features: a route that is open to all asks for no license: leave `features` out, or write access = \"license\"";
            section.report(section.at("features"), message);
        }
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

/// Returns whether some path lies below both.
fn overlap(one: &ParentPath, other: &ParentPath) -> bool {
    lies_below(one.as_str(), other.as_str()) || lies_below(other.as_str(), one.as_str())
}

/// Reads every route of an app, and reports routes that serve the same path and method.
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
        // An app with an empty `paths` is reported once already.
        if !paths.is_empty() && !paths.iter().any(|path| overlap(path, &route.path)) {
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
