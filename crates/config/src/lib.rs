//! The configuration file `gateway.toml` as types: the apps that are served, and their prices.
//!
//! A file is read whole: every problem is found with its line and column, and a [`Config`] exists
//! only if there is none. The file at the root of the project names every key at its default; it is
//! compiled in as [`DEFAULT_FILE`].

#![forbid(unsafe_code)]

mod agents;
mod apimw;
mod app;
mod authforge;
mod better_auth;
mod billable;
mod bytes;
mod control;
mod duration;
mod environment;
mod error;
mod header;
mod journal;
mod load;
mod plan;
mod reader;
mod reload;
mod route;
mod secret;
mod server;
mod store;
mod syntax;
mod unsupported;
mod upstream;
mod value;
mod warnings;
mod webhooks;

use std::path::PathBuf;

use model::{AppName, Plan, PlanRevision};

pub use agents::{AgentAccess, Agents, AgentsOnFailure};
pub use apimw::{Apimw, TokenAlgorithm};
pub use app::{
    AmbiguousPaths, App, AppMode, Balance, Counts, HealthCheck, Outage, UnderscoreHeaders,
    UnknownKeys,
};
pub use authforge::{Authforge, Rebind};
pub use better_auth::{BetterAuth, Compat, KeyShape};
pub use billable::{Billable, OutcomeSet, StatusSet};
pub use bytes::{ByteSize, ParseByteSizeError};
pub use control::{Cache, Control};
pub use duration::{Millis, ParseMillisError};
pub use error::{Error, Errors, Finding};
pub use journal::{Durability, Journal, Ledger, ObjectsUrl};
pub use load::{data_dir, exercise};
pub use route::{Access, HalfClose, OnClientGone, OnRevoke, Route, UnitsUnreadable};
pub use secret::Secret;
pub use server::{Log, LogFormat, LogLevel, Server};
pub use store::{Redis, Store, StoreUrl};
pub use upstream::{ParseUpstreamError, Scheme, Upstream};
pub use webhooks::Webhooks;

/// The text of the file that names every key at its default; also a first file to start from.
pub const DEFAULT_FILE: &str = include_str!("../../../gateway.toml");

/// A whole configuration file. Relative paths in it count from the folder of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Listeners, data and bounds of the process.
    pub server: Server,
    /// The log of the process.
    pub log: Log,
    /// The store of record.
    pub store: Store,
    /// The cache of the store.
    pub redis: Redis,
    /// Records on the way of a call.
    pub journal: Journal,
    /// Sealed files and rollups.
    pub ledger: Ledger,
    /// The control plane.
    pub control: Control,
    /// The deliveries of events.
    pub webhooks: Webhooks,
    /// Sessions of key pairs.
    pub apimw: Apimw,
    /// API keys in the manner of better-auth's plugin.
    pub better_auth: BetterAuth,
    /// The cache of licenses in the process.
    pub cache: Cache,
    /// Plans in the order of the file; each name once.
    pub plans: Vec<Plan>,
    /// Apps in the order of the file, at least one; each name once, no two on the same host and
    /// path.
    pub apps: Vec<App>,
}

impl Config {
    /// Returns the revision of every plan, in the order of the file.
    #[must_use]
    pub fn plan_revisions(&self) -> Vec<PlanRevision> {
        self.plans.iter().cloned().map(PlanRevision::from).collect()
    }

    /// Returns the app with a name.
    #[must_use]
    pub fn app(&self, name: &AppName) -> Option<&App> {
        self.apps.iter().find(|app| app.name == *name)
    }

    /// Returns the folder of sealed files.
    #[must_use]
    pub fn ledger_directory(&self) -> PathBuf {
        let own = self.ledger.directory.clone();
        own.unwrap_or_else(|| self.server.data_dir.join("ledger"))
    }
}

impl Default for Config {
    /// Returns the configuration of [`DEFAULT_FILE`].
    fn default() -> Self {
        Self::parse(DEFAULT_FILE, "gateway.toml", |_| None)
            .expect("the default file is tested to have no problem")
    }
}
