//! `[[app]]`: an API that stands behind the gate.

use http::{HeaderName, HeaderValue};
use model::{AccountName, AppName, HostPattern, ParentPath, PlanName};

use crate::agents::Agents;
use crate::authforge::Authforge;
use crate::billable::{Billable, OutcomeSet};
use crate::bytes::ByteSize;
use crate::duration::Millis;
use crate::header;
use crate::journal::Durability;
use crate::reader::{Section, values};
use crate::route::{self, OnRevoke, Route};
use crate::upstream::Upstream;
use crate::value::{FromValue, words};

/// `[[app]]`: an API that stands behind the gate, who may call it and how its calls count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// The name, unique in the file.
    pub name: AppName,
    /// The account that sells the app \[`default`\].
    pub account: AccountName,
    /// The hosts that the app is served on; empty: every host that no other app names.
    pub hosts: Vec<HostPattern>,
    /// The parent paths that the app is served below, where apps share a host \[`/`\].
    pub paths: Vec<ParentPath>,
    /// The servers that answer its calls; at least one.
    pub upstreams: Vec<Upstream>,
    /// The headers that a credential is read from. They are stripped before the call is forwarded
    /// \[`apifew-user-license-key`\].
    pub license_headers: Vec<HeaderName>,
    /// The statuses that are billed, by the way that a call came.
    pub billable: Billable,
    /// The outcomes that are billed \[delivered, client gone, interrupted\].
    pub billable_outcomes: OutcomeSet,
    /// The calls that use up units of a limited license \[`billed`\].
    pub counts: Counts,
    /// The plan of licenses that have none of their own; it exists.
    pub plan: Option<PlanName>,
    /// Whether calls can be billed at all \[`live`\].
    pub mode: AppMode,
    /// The failure that a record must survive before the caller sees the status; that of the
    /// journal if the app names none.
    pub durability: Durability,
    /// The largest request body; `None`: no limit \[100 MiB\].
    pub body_limit: Option<ByteSize>,
    /// Whether the upstream gets `Tallygate-License-Id` \[false\].
    pub forward_license_id: bool,
    /// Whether the upstream gets `Tallygate-User-Id` \[false\].
    pub forward_user_id: bool,
    /// The rule by which calls are spread over the upstreams \[`round_robin`\].
    pub balance: Balance,
    /// The longest time that connecting to an upstream may take \[5 s\].
    pub connect_timeout: Millis,
    /// The longest silence of an upstream that is to answer \[60 s\].
    pub read_timeout: Millis,
    /// The longest time that an upstream may refuse to take more of a request \[60 s\].
    pub write_timeout: Millis,
    /// The time that an unused connection to an upstream is kept \[60 s\].
    pub idle_timeout: Millis,
    /// The longest time that a WebSocket may be quiet on both sides \[1 h\].
    pub websocket_idle_timeout: Millis,
    /// Whether `X-HTTP-Method-Override` and its like reach the upstream \[false\].
    pub allow_method_override: bool,
    /// The treatment of header names with an underscore \[`drop`\].
    pub underscore_headers: UnderscoreHeaders,
    /// The treatment of paths that could be read in two ways, where nothing depends on the path
    /// \[`forward`\].
    pub ambiguous_paths: AmbiguousPaths,
    /// The treatment of an open stream whose license is revoked, for routes that state none
    /// \[`cut`\].
    pub on_revoke: OnRevoke,
    /// Whether keys of its licenses can be shown again. A sealed copy of each is kept then
    /// \[false\].
    pub key_recovery: bool,
    /// The probes of the upstreams; `None`: none are sent.
    pub health_check: Option<HealthCheck>,
    /// The rules while the license store is out of reach.
    pub outage: Outage,
    /// The rules for software that is sold with the app.
    pub authforge: Authforge,
    /// The terms for AI agents; `None`: nobody is told apart from others by what it is.
    pub agents: Option<Agents>,
    /// Headers added to every forwarded call, in the order of their names. The values are marked as
    /// sensitive.
    pub inject_headers: Vec<(HeaderName, HeaderValue)>,
    /// The routes in the order of the file; empty: every path and method, see
    /// [`App::served_routes`].
    pub routes: Vec<Route>,
}

words! {
    /// The calls that use up units of a limited license.
    Counts {
        /// Calls that are billed; the others give their units back.
        #[default]
        Billed = "billed",
        /// All calls that were forwarded.
        All = "all",
    }
}

words! {
    /// Whether calls of an app can be billed.
    AppMode {
        /// Calls can be billed.
        #[default]
        Live = "live",
        /// Calls are recorded and never billed.
        Test = "test",
    }
}

words! {
    /// The treatment of header names with an underscore, which CGI and its like read as if it were
    /// a hyphen.
    UnderscoreHeaders {
        /// Such headers do not reach the upstream.
        #[default]
        Drop = "drop",
        /// The call is refused.
        Refuse = "refuse",
        /// Such headers pass, except for spellings of headers that the caller may not set.
        Forward = "forward",
    }
}

words! {
    /// The treatment of paths that could be read in two ways.
    AmbiguousPaths {
        /// Such paths pass where neither routes, nor other apps of the host, nor permissions depend
        /// on the path.
        #[default]
        Forward = "forward",
        /// Such paths are refused.
        Refuse = "refuse",
    }
}

words! {
    /// The rule by which calls are spread over the upstreams of an app.
    Balance {
        /// Upstreams take turns.
        #[default]
        RoundRobin = "round_robin",
        /// Each call goes to an upstream at random.
        Random = "random",
    }
}

/// `[app.health_check]`: probes that take an upstream out of service and back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path of the GET request; any 2xx or 3xx is healthy \[`/`\].
    pub path: String,
    /// The time between two probes of an upstream \[10 s\].
    pub every: Millis,
    /// The longest time that an answer may take; not longer than `every` \[2 s\].
    pub timeout: Millis,
    /// The number of good answers in a row that bring an upstream back \[2\].
    pub healthy_after: u32,
    /// The number of bad answers in a row that take an upstream out \[3\].
    pub unhealthy_after: u32,
}

/// `[app.outage]`: the rules while the license store is out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The time for which licenses that are known here still pass. A revocation may be that late
    /// then \[5 min\].
    pub grace: Millis,
    /// The treatment of keys that are not known here \[`refuse`\].
    pub unknown: UnknownKeys,
    /// The units of each limited license in use that a gate leases beyond its need, to be spent
    /// then \[0\].
    pub allowance: u64,
}

words! {
    /// The treatment of unknown keys while the license store is out of reach.
    UnknownKeys {
        /// 503 with `Retry-After`, never 401.
        #[default]
        Refuse = "refuse",
    }
}

/// The path, perhaps with a query, that a probe asks for.
struct ProbePath(String);

impl FromValue for ProbePath {
    const EXPECTED: &'static str = "a path and perhaps a query in a string, such as \"/healthz\"";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#');
        let valid = text.starts_with('/') && plain && text.len() <= 1_024;
        let refused = || format!("this is not a path: write {}", Self::EXPECTED);
        Some(valid.then(|| Self(text.to_owned())).ok_or_else(refused))
    }
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            every: Millis::from_seconds(10),
            timeout: Millis::from_seconds(2),
            healthy_after: 2,
            unhealthy_after: 3,
        }
    }
}

impl Default for Outage {
    fn default() -> Self {
        Self {
            grace: Millis::from_seconds(300),
            unknown: UnknownKeys::Refuse,
            allowance: 0,
        }
    }
}

/// Offsets in the file of an app's keys that other tables must agree with.
#[derive(Debug)]
pub(crate) struct AppOffsets {
    pub(crate) name: usize,
    pub(crate) hosts: Vec<usize>,
    pub(crate) plan: usize,
}

impl App {
    /// Returns the routes, or the one for every path and method if the app declares none.
    #[must_use]
    pub fn served_routes(&self) -> Vec<Route> {
        if self.routes.is_empty() {
            vec![Route::of_every_call(self.billable, self.on_revoke)]
        } else {
            self.routes.clone()
        }
    }

    pub(crate) fn read(section: Section<'_>, durability: Durability) -> Option<(Self, AppOffsets)> {
        let name: Option<AppName> = section.required("name");
        if name.as_ref().is_some_and(AppName::is_every) {
            let message = "name: `*` stands for every app: give this one a name of letters";
            section.report(section.at("name"), message);
        }
        let upstreams = read_upstreams(&section);
        let hosts = section.located("hosts").unwrap_or_default();
        let places = AppOffsets {
            name: section.at("name"),
            hosts: hosts.iter().map(|host| host.at).collect(),
            plan: section.at("plan"),
        };
        let billable = Billable::read(&section).unwrap_or_default();
        let paths = section.list("paths", vec![ParentPath::root()]);
        if section.is_empty_list("paths") {
            let message = "paths: this list is empty, and no call would come to the app: write a path, such as \"/v1\", or leave it out";
            section.report(section.at("paths"), message.to_owned());
        }
        let on_revoke = section.value("on_revoke", OnRevoke::Cut);
        let app = Self {
            name: name.clone().unwrap_or_else(nameless),
            account: section.value("account", AccountName::default()),
            hosts: values(hosts),
            upstreams,
            license_headers: header::read_license_headers(&section),
            billable,
            billable_outcomes: section
                .located("billable_outcomes")
                .map(values)
                .map_or_else(OutcomeSet::default, OutcomeSet::of),
            counts: section.value("counts", Counts::Billed),
            plan: section.optional("plan"),
            mode: section.value("mode", AppMode::Live),
            durability: section.value("durability", durability),
            body_limit: Some(section.value("body_limit", ByteSize::from_mebibytes(100)))
                .filter(|limit| limit.bytes() > 0),
            forward_license_id: section.value("forward_license_id", false),
            forward_user_id: section.value("forward_user_id", false),
            balance: section.value("balance", Balance::RoundRobin),
            connect_timeout: section.timeout("connect_timeout", Millis::from_seconds(5)),
            read_timeout: section.timeout("read_timeout", Millis::from_seconds(60)),
            write_timeout: section.timeout("write_timeout", Millis::from_seconds(60)),
            idle_timeout: section.timeout("idle_timeout", Millis::from_seconds(60)),
            websocket_idle_timeout: section
                .timeout("websocket_idle_timeout", Millis::from_seconds(3_600)),
            allow_method_override: section.value("allow_method_override", false),
            underscore_headers: section.value("underscore_headers", UnderscoreHeaders::Drop),
            ambiguous_paths: section.value("ambiguous_paths", AmbiguousPaths::Forward),
            on_revoke,
            key_recovery: section.value("key_recovery", false),
            health_check: section
                .optional_section("health_check", "[app.health_check]")
                .map(HealthCheck::read),
            outage: Outage::read(section.section("outage", "[app.outage]")),
            authforge: Authforge::read(section.section("authforge", "[app.authforge]")),
            agents: section
                .optional_section("agents", "[app.agents]")
                .map(Agents::read),
            inject_headers: header::read_injected(
                section.section("inject_headers", "[app.inject_headers]"),
            ),
            routes: route::read_all(
                section.sections("route", "[[app.route]]"),
                billable,
                on_revoke,
                &paths,
            ),
            paths,
        };
        section.finish();
        name.is_some().then_some((app, places))
    }
}

/// Returns a substitute for a missing name, so that the problems of the rest are found too.
fn nameless() -> AppName {
    "nameless".parse().expect("letters are a name")
}

fn read_upstreams(section: &Section<'_>) -> Vec<Upstream> {
    const KEY: &str = "upstreams";
    let expected = "a list such as [\"http://127.0.0.1:9000\"]";
    let Some(upstreams) = section.located::<Upstream>(KEY) else {
        if !section.has(KEY) {
            section.missing(KEY, expected);
        }
        return Vec::new();
    };
    if section.is_empty_list(KEY) {
        section.report(
            section.at(KEY),
            format!("{KEY}: at least one is needed: write {expected}"),
        );
    }
    for (number, upstream) in upstreams.iter().enumerate() {
        if upstreams[..number]
            .iter()
            .any(|other| other.value == upstream.value)
        {
            section.report(
                upstream.at,
                format!("{KEY}: {} is named twice: name it once", upstream.value),
            );
        }
    }
    values(upstreams)
}

impl HealthCheck {
    fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let times = |key, default: u32| section.number(key, 1..=100, u64::from(default)) as u32;
        let check = Self {
            path: section
                .optional("path")
                .map_or(default.path, |ProbePath(path)| path),
            every: section.timeout("every", default.every),
            timeout: section.timeout("timeout", default.timeout),
            healthy_after: times("healthy_after", default.healthy_after),
            unhealthy_after: times("unhealthy_after", default.unhealthy_after),
        };
        if check.timeout > check.every {
            let message = format!(
                "timeout: {} is not allowed here: write at most `every`, {}",
                check.timeout, check.every
            );
            section.report(section.at("timeout"), message);
        }
        section.finish();
        check
    }
}

impl Outage {
    /// The largest allowance. A larger one would be a quota of its own, and the units held by a
    /// gate that dies would be missed for long.
    const MAX_ALLOWANCE: u64 = 1_000_000;

    fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let outage = Self {
            grace: section.value("grace", default.grace),
            unknown: section.value("unknown", default.unknown),
            allowance: section.number("allowance", 0..=Self::MAX_ALLOWANCE, default.allowance),
        };
        section.finish();
        outage
    }
}
