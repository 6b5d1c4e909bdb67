//! The store of record: licenses and their changes, balances and leases, rollups and the manifest
//! of sealed files.
//!
//! One set of traits; every implementation passes one suite of tests. Each method is one
//! transaction, in which the lines that a change adds to the audit log are written too.
//!
//! Permissions and prices are decided in `model`, `licensing` and `billing`. The rules that need
//! the state within the transaction are the store's (`rules`): a revoked license stays revoked, a
//! balance that is set anew begins a new epoch, a refill is claimed once when it is due, a refresh
//! token that is used twice ends its family, units of finished instances are settled, and of
//! several processes that claim the same object exactly one wins.
//!
//! Most families of objects are written once, over a thin layer that both engines implement
//! (`sql`). Quota, batches and rollups, where the engines really differ, are in `sqlite` and
//! `postgres`.

#![forbid(unsafe_code)]

pub mod agents;
pub mod api_keys;
pub mod audit;
pub mod claims;
pub mod credits;
pub mod error;
pub mod files;
pub mod ledger;
pub mod licenses;
pub mod management;
pub mod node;
#[cfg(feature = "object-store")]
pub mod objects;
pub mod postgres;
pub mod quota;
mod rules;
pub mod sessions;
pub mod software;
mod sql;
pub mod sqlite;
pub mod suspend_aware;
pub mod tokens;
pub mod upstreams;
pub mod users;
pub mod webhooks;

pub use agents::{AgentStore, StoredAgentRule};
pub use api_keys::{
    ApiKeyChange, ApiKeyFilter, ApiKeyPage, ApiKeySort, ApiKeyStore, NewApiKey, StoredApiKey,
};
pub use audit::{AuditEntries, AuditFilter, AuditStore, Changed, NumberedEntry};
pub use claims::{Claim, ClaimKey, ClaimKind, ClaimStore, Claimed, NewClaim};
pub use credits::{Adjusted, Adjustment, CreditStore};
pub use error::Error;
pub use files::SealedFiles;
pub use ledger::{
    DEVICE_DIGEST, InstanceState, LanePosition, LedgerStore, RollupBatch, RollupRow, SealIntent,
    SealedFile, Spent, StockTaking, Watched,
};
pub use licenses::{
    Change, ChangeNumber, KeyOwner, LicenseChange, LicenseFilter, LicenseStore, NewCredential,
    NewLicense, SealedKey, Snapshot, StoredLicense,
};
pub use management::{
    Account, AppNamed, ManagementKey, ManagementStore, Named, NewManagementKey, PlanNamed,
};
pub use node::{NodeClaim, NodeStore};
#[cfg(feature = "object-store")]
pub use objects::ObjectFiles;
pub use postgres::{PostgresOptions, PostgresStore};
pub use quota::{Balance, LeaseGrant, LeaseKey, LeaseRequest, LeaseRound, QuotaStore};
pub use sessions::{
    KeyCall, NewTokens, RefreshOutcome, SessionStore, StoredRefreshToken, WindowCount,
};
pub use software::{
    Binding, NewActivation, NewDevice, OfflineActivation, OfflineFile, SoftwareStore,
    StoredAppSettings,
};
pub use sqlite::{SqliteOptions, SqliteStore};
pub use tokens::{TOKENS, TokenClaim, TokenIssue, TokenStore};
pub use upstreams::{DownUpstream, UpstreamStore};
pub use users::{UserChange, UserStore};
pub use webhooks::{
    Attempt, AttemptResult, Busy, Delivery, DeliveryFilter, NewWebhook, NextStep, Waiting,
    WebhookChange, WebhookChanged, WebhookFilter, WebhookSecret, WebhookStore,
};

/// The methods that a gate needs of its store.
pub trait Store:
    LicenseStore + ManagementStore + SessionStore + UserStore + QuotaStore + LedgerStore + NodeStore
{
}

impl<T> Store for T where
    T: LicenseStore
        + ManagementStore
        + SessionStore
        + UserStore
        + QuotaStore
        + LedgerStore
        + NodeStore
{
}
