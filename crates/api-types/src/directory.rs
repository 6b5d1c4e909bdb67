//! Accounts, apps, plans and the status of the gate, on the wire.

use model::{
    AccountName, AppName, Currency, InstanceId, Money, PlanName, PlanRevisionId, RateLimit,
    Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::license::Balance;

/// A request to create an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAccount {
    /// The name.
    pub name: AccountName,
}

/// An account as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// The identity; the same as the name.
    pub id: AccountName,
    /// The name.
    pub name: AccountName,
    /// The time at which it was made.
    pub created_at: Timestamp,
    /// The time since which it is switched off; absent or null: it is not.
    #[serde(default)]
    pub disabled_at: Option<Timestamp>,
    /// The credits of the account; absent or null: they are not counted.
    #[serde(default)]
    pub balance: Option<Balance>,
}

/// An app as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct App {
    /// The name.
    pub name: AppName,
    /// The account that sells it.
    pub account: AccountName,
    /// The hosts that it serves; none: every host.
    pub hosts: Vec<String>,
    /// The upstreams that calls are forwarded to; not said to keys for one license.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<String>,
    /// The plan of licenses that name none; to a key for one license only if that names none.
    pub plan: Option<PlanName>,
    /// The mode: `live` or `test`.
    pub mode: String,
    /// The declared routes, as `METHODS /path`; none: every path and method.
    pub routes: Vec<String>,
}

/// A plan as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The name.
    pub name: PlanName,
    /// The revision that calls are priced by now.
    pub revision: PlanRevisionId,
    /// The currency of its price.
    pub currency: Currency,
    /// The price of a billed unit.
    pub price_per_unit: Money,
    /// The rate limits of licenses that have none of their own.
    pub rate_limits: Vec<RateLimit>,
    /// The largest number of calls at once, for licenses that have no such limit of their own.
    pub concurrency: Option<u32>,
    /// The features: words that adapters give a meaning to.
    pub features: Vec<String>,
}

/// The status of the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// The label of the gate.
    pub node: String,
    /// The instance: this start of the gate.
    pub instance: InstanceId,
    /// The time at which it started.
    pub started_at: Timestamp,
    /// The time by its clock.
    pub now: Timestamp,
    /// The addresses on which it takes calls.
    pub listen: Vec<String>,
    /// The number of apps that it serves.
    pub apps: usize,
}
