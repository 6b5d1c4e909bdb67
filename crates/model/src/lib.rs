//! The types of Tallygate's domain, and the rules that need nothing but those types.
//!
//! The crate has no I/O, no async and no clock of its own: time comes in as [`Timestamp`] or
//! through [`Clock`].

#![forbid(unsafe_code)]

pub mod address;
pub mod agent;
pub mod api_key;
pub mod audit;
pub mod check;
pub mod cli;
pub mod credential;
mod currencies;
pub mod device;
pub mod event;
pub mod exact;
mod fields;
mod forms;
pub mod forwarded;
pub mod header;
pub mod host;
pub mod id;
pub mod interval;
pub mod key;
pub mod key_digest;
pub mod length;
pub mod license;
pub mod license_spec;
pub mod limit;
pub mod mask;
pub mod methods;
pub mod money;
pub mod name;
pub mod network;
mod once_per_minute;
pub mod origin;
pub mod outcome;
pub mod parent_path;
pub mod path;
pub mod permission;
pub mod plan;
pub mod quantity;
pub mod record;
pub mod refusal;
pub mod routing;
pub mod scope;
pub mod session;
pub mod signing;
pub mod software;
pub mod steady_clock;
pub mod symbol;
pub mod system;
pub mod target;
pub mod time;
pub mod token;
mod unique;
pub mod units;
pub mod update;
pub mod usage;
pub mod user;
pub mod variables;
mod wallet;
pub mod webhook;

pub use address::{Address, ParseAddressError, ParseNetworkError, parse_network};
pub use api_key::{ApiKey, ApiKeyPrefix, ApiKeyRule, Metadata, ResourcePermissions};
pub use audit::{Actor, AuditEntry, Who};
pub use check::{CallFacts, check};
pub use credential::{CredentialInfo, CredentialStatus};
pub use device::{Device, DeviceId};
pub use event::{Event, EventSource, EventType};
pub use exact::{Digits, MAX_SAFE_INTEGER};
pub use forwarded::Forwarded;
pub use host::HostPattern;
pub use id::{
    AgentRuleId, AppId, AuditId, CallId, CredentialId, EventId, InstanceId, LicenseId,
    ManagementKeyId, ParseIdError, PlanRevisionId, RequestTokenId, SessionId, SigningKeyId, UserId,
    WebhookId,
};
pub use interval::Interval;
pub use key::{Credential, Fingerprint, KeyFormat, KeyHash, KeyHasher};
pub use key_digest::KeyDigest;
pub use length::BodyLength;
pub use license::{License, LicenseStatus};
pub use license_spec::{LicenseSpec, LicenseUpdate};
pub use limit::{Counter, Limits, RateLimit, Refill, RefillMode, WindowKind};
pub use mask::{beginning, masked, quoted};
pub use methods::Methods;
pub use money::{Currency, Money};
pub use name::{AccountName, AppName, NameError, PlanName};
pub use once_per_minute::OncePerMinute;
pub use origin::{CallerOrigin, ForwardedFor};
pub use outcome::{Blame, Ending, Method, Mode, Outcome};
pub use parent_path::ParentPath;
pub use path::{AmbiguousPath, NormalPath};
pub use permission::Permission;
pub use plan::{Plan, PlanRevision};
pub use record::{CallHead, CallRecord, CallTail, CallerPlace};
pub use refusal::Refusal;
pub use routing::{AppConflict, AppTable, RouteConflict, RouteTable};
pub use scope::{ParseScopeError, Scope};
pub use session::{
    ACCESS_TOKEN_KIND, MAX_ACCESS_TOKEN_BYTES, RefreshToken, Session, is_access_token,
};
pub use signing::{SigningAlgorithm, SigningKeyState, SigningUse};
pub use software::{AppSettings, SecurityLists};
pub use steady_clock::SteadyClock;
pub use symbol::Symbol;
pub use target::RequestTarget;
pub use time::{Clock, ManualClock, Moment, SystemClock, Timestamp, retry_after_seconds};
pub use token::{RequestToken, TokenState};
pub use unique::{UniqueMap, repeated_member};
pub use units::{NamedUnits, UnreadableUnits};
pub use user::{Alias, User};
pub use variables::{Variable, Variables, VariablesError};
pub use webhook::{DeliveryState, Webhook, WebhookForm, WebhookState};
