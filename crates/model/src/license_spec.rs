//! The terms of a license: what the seller of an app decides when a license is made.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::limit::Limits;
use crate::name::PlanName;
use crate::permission::Permission;
use crate::time::Timestamp;

/// The terms of a license, which its seller decides. A license without any of them belongs to
/// nobody in particular, never ends, is limited by the plan of its app alone, and may be used from
/// everywhere.
///
/// It is a part of the record, of requests and of the command line: a field that is added here is
/// in all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseSpec {
    /// The plan by which the license is priced and limited; `None`: that of the app.
    pub plan: Option<PlanName>,
    /// The seller's own name for the user whom the license is given to.
    pub user: Option<String>,
    /// A label for people; at most 200 bytes.
    pub label: Option<String>,
    /// The time at which the license ends; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// The limits of use.
    pub limits: Limits,
    /// The paths that may be called; empty: all of the app.
    pub permissions: Vec<Permission>,
    /// The networks from which calls may come; empty: all.
    pub allow_ips: Vec<IpNet>,
}
