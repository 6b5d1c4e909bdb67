//! Licenses on the wire.

use std::fmt;

use ipnet::IpNet;
use model::{
    AccountName, AppName, CredentialId, CredentialInfo, Digits, Interval, LicenseId, LicenseStatus,
    Permission, PlanName, RateLimit, Refill, Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::given;
use crate::network::{given_networks, networks};

/// A license to be made. Only `app` is required.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateLicense {
    /// The app it opens. Its account becomes the license's.
    pub app: AppName,
    /// The plan; absent: that of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// The seller's own name for the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A word for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When it ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Units to start with; absent: not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = model::MAX_SAFE_INTEGER))]
    pub remaining: Option<u64>,
    /// How units come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refill: Option<Refill>,
    /// Windows that all hold at once; none: those of the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
    /// Calls at once; absent: that of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Where it may call; none: everywhere in the app.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<Permission>,
    /// From where it may be used; none: from everywhere.
    #[serde(
        default,
        deserialize_with = "networks",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "Vec<String>")]
    pub allow_ips: Vec<IpNet>,
    /// The shape of the new key: `tallygate`, `uuid`, `apifew` or `authforge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_format: Option<String>,
    /// An existing key to take over instead of making one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Many licenses to be made, all or none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkCreate {
    /// 1 to 10,000 of them.
    pub licenses: Vec<CreateLicense>,
}

/// What a bulk creation answers, in the order of the request.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// Identity of the license.
    pub id: LicenseId,
    /// Its key, shown here only.
    pub key: String,
}

/// A change of a license: a field that is absent stays, `null` takes the value away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeLicense {
    /// The plan; `null`: that of the app.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub plan: Option<Option<PlanName>>,
    /// The word for people.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub label: Option<Option<String>>,
    /// When it ends; `null`: never.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub expires_at: Option<Option<Timestamp>>,
    /// Units left from now on; `null`: not counted.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(max = model::MAX_SAFE_INTEGER))]
    pub remaining: Option<Option<u64>>,
    /// How units come back; `null`: not at all.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub refill: Option<Option<Refill>>,
    /// Windows that all hold at once; empty: those of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limits: Option<Vec<RateLimit>>,
    /// Calls at once; `null`: that of the plan.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub concurrency: Option<Option<u32>>,
    /// What it may call; empty: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<Permission>>,
    /// Where it may be used from; empty: anywhere.
    #[serde(
        default,
        deserialize_with = "given_networks",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<Vec<String>>")]
    pub allow_ips: Option<Vec<IpNet>>,
}

/// A later end for a license: one of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// The new end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// So much later than the present end, or than now if that has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Interval>,
}

/// A new key in place of those before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// How long the keys before stay valid; absent: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Interval>,
}

/// One more key for a license.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddCredential {
    /// The shape of the new key: `tallygate`, `uuid`, `apifew` or `authforge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_format: Option<String>,
    /// An existing key to take over instead of making one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A key of a license to be ended for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeCredential {
    /// The credential; a license shows those it has.
    pub credential: CredentialId,
}

/// A license as it is answered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct License {
    /// Identity.
    pub id: LicenseId,
    /// The key, in answers to creation and rotation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The account that sells the app.
    pub account: AccountName,
    /// The app it opens.
    pub app: AppName,
    /// The plan; `null`: that of the app.
    pub plan: Option<PlanName>,
    /// The seller's own name for the user.
    pub user: Option<String>,
    /// A word for people.
    pub label: Option<String>,
    /// `active`, `disabled` or `revoked`.
    pub status: LicenseStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Units left; `null`: not counted.
    pub remaining: Option<u64>,
    /// The same as text, where it is above 9007199254740991.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_text: Option<Digits>,
    /// How units come back.
    pub refill: Option<Refill>,
    /// Windows of its own.
    pub rate_limits: Vec<RateLimit>,
    /// Calls at once.
    pub concurrency: Option<u32>,
    /// Where it may call.
    pub permissions: Vec<Permission>,
    /// From where it may be used.
    #[schemars(with = "Vec<String>")]
    pub allow_ips: Vec<IpNet>,
    /// Its keys, without the keys.
    pub credentials: Vec<CredentialInfo>,
    /// How its units stand, where they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
}

/// How the units of a license stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Balance {
    /// Units granted since the last refill that replaced them.
    pub granted: u64,
    /// The same as text, where it is above 9007199254740991.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_text: Option<Digits>,
    /// Units that calls can still take.
    pub remaining: u64,
    /// The same as text, where it is above 9007199254740991.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_text: Option<Digits>,
    /// Units that calls took.
    pub taken: u64,
    /// The same as text, where it is above 9007199254740991.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_text: Option<Digits>,
    /// When units come back next.
    pub next_refill_at: Option<Timestamp>,
}

// === impl CreateLicense ===

impl CreateLicense {
    /// A license for an app, with nothing else said about it.
    #[must_use]
    pub const fn of_app(app: AppName) -> Self {
        Self {
            app,
            plan: None,
            user: None,
            label: None,
            expires_at: None,
            remaining: None,
            refill: None,
            rate_limits: Vec::new(),
            concurrency: None,
            permissions: Vec::new(),
            allow_ips: Vec::new(),
            key_format: None,
            key: None,
        }
    }
}

impl fmt::Debug for CreateLicense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateLicense")
            .field("app", &self.app)
            .field("user", &self.user)
            .field("key", &self.key.as_ref().map(|_| "redacted"))
            .finish_non_exhaustive()
    }
}

// === impl AddCredential ===

impl fmt::Debug for AddCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddCredential")
            .field("key_format", &self.key_format)
            .field("key", &self.key.as_ref().map(|_| "redacted"))
            .finish()
    }
}

// === impl Created ===

impl fmt::Debug for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Created")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

// === impl License ===

impl fmt::Debug for License {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("License")
            .field("id", &self.id)
            .field("app", &self.app)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

// === impl Balance ===

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_tells_null_from_absent() {
        let change: ChangeLicense =
            serde_json::from_str(r#"{"label":null,"remaining":5}"#).expect("valid");
        assert_eq!(change.label, Some(None));
        assert_eq!(change.remaining, Some(Some(5)));
        assert_eq!(change.plan, None);
        let text = serde_json::to_string(&change).expect("plain data");
        assert_eq!(text, r#"{"label":null,"remaining":5}"#);
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = serde_json::from_str::<CreateLicense>(r#"{"app":"a","colour":"red"}"#)
            .expect_err("no such field");
        assert!(error.to_string().contains("`colour`"), "{error}");
    }

    #[test]
    fn a_key_never_shows_in_debug_output() {
        let create = CreateLicense {
            key: Some("very-secret-key".to_owned()),
            ..CreateLicense::of_app("api".parse().expect("valid"))
        };
        assert!(!format!("{create:?}").contains("very-secret"));
    }
}
