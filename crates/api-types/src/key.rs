//! Management keys on the wire.

use std::fmt;

use ipnet::IpNet;
use model::{AccountName, AppName, LicenseId, ManagementKeyId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Scope;
use model::network::{given_networks, networks};

/// A request to create a management key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateManagementKey {
    /// A label for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The account that it acts for; absent: that of the app, of the key that asks, or `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// The only app that it may act on; absent: every app of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// The only license that it may act on, and the one that tokens of a pair draw on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<LicenseId>,
    /// The scopes of what it may do; none: everything, and with `license` all that reads, which is the most that such a key has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Scope>,
    /// The time at which it ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether a secret is made beside the key.
    #[serde(default)]
    pub pair: bool,
    /// The networks from which it may be used; none: all.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "networks"
    )]
    #[schemars(with = "Vec<String>")]
    pub allow_ips: Vec<IpNet>,
}

/// A change of a management key; absent fields stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeManagementKey {
    /// The networks from which it may be used; an empty list: all.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given_networks"
    )]
    #[schemars(with = "Option<Vec<String>>")]
    pub allow_ips: Option<Vec<IpNet>>,
}

/// A management key as it is answered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManagementKey {
    /// The identity.
    pub id: ManagementKeyId,
    /// The key, in answers to creation and rotation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The secret of a pair, in answers to creation and rotation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The account that it acts for.
    pub account: AccountName,
    /// The only app that it may act on.
    pub app: Option<AppName>,
    /// The only license that it may act on.
    pub license_id: Option<LicenseId>,
    /// The license that tokens of a pair draw on; for a pair of an app it is made with the first token.
    #[serde(default)]
    pub draws_on: Option<LicenseId>,
    /// A label for people.
    pub name: Option<String>,
    /// The scopes of what it may do; none: everything, and where it is for one license nothing.
    pub scopes: Vec<String>,
    /// The networks from which it may be used; none: all.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub allow_ips: Vec<IpNet>,
    /// The first characters of the key.
    pub prefix: String,
    /// The time at which it was made.
    pub created_at: Timestamp,
    /// The time at which it ends.
    pub expires_at: Option<Timestamp>,
    /// The time at which it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl fmt::Debug for ManagementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagementKey")
            .field("id", &self.id)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}
