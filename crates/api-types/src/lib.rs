//! The types of requests and answers of the native API, for the server and its clients.
//!
//! Requests refuse unknown fields. Answers may grow fields, which clients ignore. The operations
//! behind them stand in `control`.

#![forbid(unsafe_code)]

mod agent;
mod api_key;
mod audit;
mod credit;
mod directory;
mod import;
mod key;
mod ledger;
mod license;
mod one_of;
mod page;
mod problem;
mod report;
mod signing;
mod socket;
mod software;
mod token;
mod user;
mod webhook;

pub use agent::{
    AgentDecision, AgentRuleQuery, AgentToken, AgentVerdict, CreateAgentToken, KnownAgent,
    SetAgentRule, TestAgent,
};
pub use api_key::{
    ApiKey, ChangeApiKey, CreateApiKey, DeletedApiKeys, Lasting, VerifiedApiKey, VerifyApiKey,
};
pub use audit::{AuditLine, AuditQuery};
pub use credit::{Adjust, Adjusted};
pub use directory::{Account, App, CreateAccount, Plan, Status};
pub use import::{
    ImportLicenses, ImportProblem, ImportResult, ImportRow, ImportStatus, ImportedLicense,
};
pub use key::{ChangeManagementKey, CreateManagementKey, ManagementKey};
pub use ledger::{ExportQuery, Finding, RECORDS_BEHIND, Rebuilt, Ship, Shipped, Verification};
pub use license::{
    AddCredential, Balance, BulkCreate, CreateLicense, Created, Extend, License, RevokeCredential,
    Rotate,
};
pub use page::{DEFAULT_LIMIT, LARGEST_LIMIT, List, Nothing, Page};
pub use problem::ProblemBody;
pub use report::{Call, CallQuery, FollowQuery, FollowedCalls, UsageBy, UsageParameters};
pub use signing::{RotateSigningKey, SealKey, SigningKey};
pub use socket::{SOCKET_NAME, socket_path};
pub use software::{
    AppCredentials, AppSigningKey, AppSoftware, ChangeAppSoftware, ImportAppCredentials,
    ImportAppKey, RenewAppSecret, RetireAppKey, RotateAppKey,
};
pub use token::{Session, Token};
pub use user::{ChangeUser, CreateUser, User};
pub use webhook::{
    ChangeWebhook, CreateWebhook, Delivery, DeliveryAttempt, DeliveryQuery, Redeliver, Redelivered,
    RotateWebhookSecret, Webhook,
};

pub use model::{LicenseSpec, LicenseUpdate, Scope};
