//! The state of the control plane, which every handler shares.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use agents::CurrentRecognizer;
use api_types::{App, Plan};
use axum::extract::State;
use gate::Spender;
use ipnet::IpNet;
use ledger::{Ledger, LedgerOptions};
use licensing::{ApiKeyPolicy, Licensing, Sessions, Signing};
use model::{Clock, InstanceId, Timestamp};
use store::Store;
use webhooks::Webhooks;

use crate::http::throttle::Throttle;

/// The parts of which the control plane is made. Built once by the binary.
pub struct ControlState {
    /// Operations on licenses, keys and accounts.
    pub licensing: Arc<Licensing>,
    /// The keys that stamps and tokens are signed with.
    pub signing: Arc<Signing>,
    /// The charging of calls that are not forwarded.
    pub spender: Arc<Spender>,
    /// The sessions of key pairs.
    pub sessions: Arc<Sessions>,
    /// Webhooks, and what is delivered to them.
    pub webhooks: Arc<Webhooks>,
    /// The AI agents that are known.
    pub agents: Arc<CurrentRecognizer>,
    /// The ledger: usage, the records of calls, and their upkeep.
    pub ledger: Ledger,
    /// The options that the ledger was started with, to ship the journals that dead instances left.
    pub ledger_options: LedgerOptions,
    /// The store of the licensing and of the ledger, to ship those journals.
    pub store: Arc<dyn Store>,
    /// The apps and plans of the configuration.
    pub directory: AppDirectory,
    /// The facts about the gate that `/status` shows.
    pub gate: GateInfo,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The limits of clients.
    pub limits: ControlLimits,
    /// The Unix socket on which the data plane listens for calls that protocols pass on.
    pub rpc_socket: PathBuf,
    /// The rules for all API keys.
    pub api_keys: ApiKeyPolicy,
    /// The shape in which clients of better-auth see API keys.
    pub better_auth: KeyShape,
    /// The networks of the proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<IpNet>,
}

/// The apps and plans of the configuration, as the API shows them.
#[derive(Clone, Debug, Default)]
pub struct AppDirectory {
    /// The apps.
    pub apps: Vec<App>,
    /// The plans.
    pub plans: Vec<Plan>,
}

/// The facts about the gate that the API shows.
#[derive(Clone, Debug)]
pub struct GateInfo {
    /// The version of the program.
    pub version: String,
    /// The label of the gate.
    pub node: String,
    /// The id of this start of the gate.
    pub instance: InstanceId,
    /// The time of the start.
    pub started_at: Timestamp,
    /// The addresses on which the gate takes calls.
    pub listen: Vec<String>,
}

/// The limits of clients.
#[derive(Clone, Copy, Debug)]
pub struct ControlLimits {
    /// The number of bad keys that one address may present in a minute; loopback is not counted.
    ///
    /// # Defaults
    /// 100.
    pub failures_per_minute: u32,
}

/// The shape in which clients of better-auth's API key plugin see keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyShape {
    /// The answers of version 1.7 with `userId` added.
    #[default]
    Current,
    /// The answers of the protocol's reference: a bare list, permissions as text.
    Seed,
}

/// The state together with what the API keeps in memory.
pub(crate) struct Api {
    state: ControlState,
    /// The count of failed credentials by address.
    pub(crate) throttle: Throttle,
}

/// The argument by which a handler takes the state.
pub(crate) type Shared = State<Arc<Api>>;

// === impl ControlLimits ===

impl Default for ControlLimits {
    fn default() -> Self {
        Self {
            failures_per_minute: 100,
        }
    }
}

// === impl Api ===

impl Api {
    pub(crate) fn new(state: ControlState) -> Self {
        Self {
            throttle: Throttle::new(state.limits.failures_per_minute),
            state,
        }
    }
}

impl Deref for Api {
    type Target = ControlState;

    fn deref(&self) -> &ControlState {
        &self.state
    }
}

impl std::fmt::Debug for ControlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlState")
            .field("gate", &self.gate)
            .finish_non_exhaustive()
    }
}
