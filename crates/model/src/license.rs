//! Licenses: the rights of users to call apps, with their terms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::LicenseId;
use crate::license_spec::LicenseSpec;
use crate::name::{AccountName, AppName};
use crate::time::Timestamp;

/// The status of a license.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LicenseStatus {
    /// The license may be used.
    #[default]
    Active,
    /// The license may not be used for now; enabling it brings it back.
    Disabled,
    /// The license may never be used again.
    Revoked,
}

/// The right of a user to call an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct License {
    /// The id.
    pub id: LicenseId,
    /// The account that sells the app.
    pub account: AccountName,
    /// The app that the license opens; [`AppName::every`]: each app of its account.
    pub app: AppName,
    /// The status.
    pub status: LicenseStatus,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The terms that its seller decided.
    #[serde(flatten, with = "limits_apart")]
    pub spec: LicenseSpec,
}

/// The terms in the form that audit logs and caches hold, in which the limits are an object of their
/// own.
mod limits_apart {
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
    use serde_json::{Map, Value};

    use crate::{LicenseSpec, Limits};

    pub(super) fn serialize<S: Serializer>(
        spec: &LicenseSpec,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let Ok(Value::Object(mut fields)) = serde_json::to_value(spec) else {
            return Err(S::Error::custom("the terms of a license are an object"));
        };
        let names = Limits::field_names().into_iter();
        let limits: Map<_, _> = names.filter_map(|name| fields.remove_entry(name)).collect();
        fields.insert("limits".to_owned(), limits.into());
        fields.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<LicenseSpec, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        // What a record lacks would be without bounds.
        let Some(Value::Object(limits)) = fields.remove("limits") else {
            return Err(de::Error::missing_field("limits"));
        };
        fields.extend(limits);
        for name in ["rate_limits", "permissions", "allow_ips"] {
            if !fields.contains_key(name) {
                return Err(de::Error::missing_field(name));
            }
        }
        serde_json::from_value(fields.into()).map_err(de::Error::custom)
    }
}

impl License {
    /// Returns whether the license is for an app of an account.
    #[must_use]
    pub fn opens(&self, account: &AccountName, app: &AppName) -> bool {
        self.app == *app || (self.app.is_every() && self.account == *account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    #[test]
    fn the_record_has_the_form_that_audit_logs_and_caches_hold() {
        let license = License {
            id: LicenseId::from_u128(1),
            account: AccountName::default(),
            app: "api".parse().expect("valid"),
            status: LicenseStatus::Disabled,
            created_at: Timestamp::from_micros(0),
            spec: LicenseSpec {
                user: Some("ada".to_owned()),
                limits: Limits {
                    remaining: Some(u64::MAX),
                    ..Limits::default()
                },
                permissions: vec!["GET /a".parse().expect("valid")],
                ..LicenseSpec::default()
            },
        };
        let form = serde_json::json!({
            "id": "lic_00000000000000000000000000000001", "account": "default", "app": "api",
            "status": "disabled", "created_at": "1970-01-01T00:00:00Z",
            "plan": null, "user": "ada", "label": null, "expires_at": null,
            "limits": {"remaining": u64::MAX, "refill": null, "rate_limits": [], "concurrency": null},
            "permissions": ["GET /a"], "allow_ips": [],
            "device_slots": null, "unlimited_devices": false, "variables": {},
        });
        assert_eq!(serde_json::to_value(&license).expect("plain data"), form);
        let text = form.to_string();
        assert_eq!(
            serde_json::from_str::<License>(&text).expect("valid"),
            license
        );
        // A record that lacks a bound is none: it would be read as a license without it.
        for place in [
            "/limits",
            "/limits/rate_limits",
            "/permissions",
            "/allow_ips",
        ] {
            let (parent, name) = place.rsplit_once('/').expect("a place");
            let mut lacking = form.clone();
            let object = lacking
                .pointer_mut(parent)
                .and_then(|it| it.as_object_mut());
            object.expect("an object").remove(name);
            assert!(
                serde_json::from_value::<License>(lacking).is_err(),
                "{place}"
            );
        }
    }
}
