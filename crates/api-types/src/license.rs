//! Licenses on the wire.

use std::fmt;

use model::{
    AccountName, AppName, CredentialId, CredentialInfo, Device, Digits, Interval, LicenseId,
    LicenseSpec, LicenseStatus, Timestamp,
};
use schemars::{JsonSchema, Schema};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::one_of::OneOf;

/// A request to create a license. Only `app` is required.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = as_requested)]
pub struct CreateLicense {
    /// The app that it opens. Its account becomes the license's.
    pub app: AppName,
    /// The terms of the license.
    #[serde(flatten)]
    pub spec: LicenseSpec,
    /// The shape of the new key: `tallygate`, `uuid`, `apifew` or `authforge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_format: Option<String>,
    /// An existing key to take over instead of making one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A request to create many licenses, all or none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkCreate {
    /// The licenses, 1 to 10,000 of them.
    pub licenses: Vec<CreateLicense>,
}

/// A license that a bulk creation made; the answer lists them in the order of the request.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// The identity of the license.
    pub id: LicenseId,
    /// The key, shown here only.
    pub key: String,
}

/// A later end of a license: one of the two fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Extend {
    /// The new end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The time to add to the present end, or to now if that has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Interval>,
}

/// A replacement of the keys of a license by a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// The time for which the keys before stay valid; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Interval>,
}

/// A request to add a key to a license.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddCredential {
    /// The shape of the new key: `tallygate`, `uuid`, `apifew` or `authforge`; absent: that of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_format: Option<String>,
    /// An existing key to take over instead of making one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A request to end a key of a license for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeCredential {
    /// The credential, one of those that the license shows.
    pub credential: CredentialId,
}

/// A license as it is answered.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = as_answered)]
pub struct License {
    /// The identity.
    pub id: LicenseId,
    /// The key, in answers to creation and rotation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The account that sells the app.
    pub account: AccountName,
    /// The app that it opens.
    pub app: AppName,
    /// The terms of the license; `remaining` is what is left of the units.
    #[serde(flatten)]
    pub spec: LicenseSpec,
    /// The status: `active`, `disabled` or `revoked`.
    pub status: LicenseStatus,
    /// The time at which it was made.
    pub created_at: Timestamp,
    /// The text of `remaining`, where that is above 9007199254740991.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_text: Option<Digits>,
    /// The credentials, without the keys themselves.
    pub credentials: Vec<CredentialInfo>,
    /// The devices that it is bound to, in the order in which they were bound.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// The balance of its units, where they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
}

/// The balance of the units of a license.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Balance {
    /// The units granted since the last refill that replaced them.
    pub granted: u64,
    /// The text of `granted`, where that is above 9007199254740991.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_text: Option<Digits>,
    /// The units that calls can still take.
    pub remaining: u64,
    /// The text of `remaining`, where that is above 9007199254740991.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_text: Option<Digits>,
    /// The units that calls took.
    pub taken: u64,
    /// The text of `taken`, where that is above 9007199254740991.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_text: Option<Digits>,
    /// The time of the next refill.
    pub next_refill_at: Option<Timestamp>,
}

// === schemas ===

/// Leaves out defaults, of which the descriptions speak.
pub(crate) fn as_requested(schema: &mut Schema) {
    for_each_property(schema, |_, property| {
        property.remove("default");
    });
}

/// Describes the terms of a license as they are answered: a field is there, even if it is `null`
/// or empty, and what is left of the units has no bound.
fn as_answered(schema: &mut Schema) {
    as_requested(schema);
    for_each_property(schema, |name, property| {
        if name == "remaining" {
            property.remove("maximum");
            property.insert(
                "description".to_owned(),
                "The units that are left; `null`: not counted.".into(),
            );
        } else if let Some(Value::String(text)) = property.get_mut("description") {
            *text = text
                .replace("; absent:", "; `null`:")
                .replace("; none:", "; empty:");
        }
    });
}

fn for_each_property(schema: &mut Schema, mut change: impl FnMut(&str, &mut Map<String, Value>)) {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        change(
            name,
            property
                .as_object_mut()
                .expect("a schema with a description"),
        );
    }
}

// === impl CreateLicense ===

impl CreateLicense {
    /// Returns a request for a license of an app, without any terms.
    #[must_use]
    pub fn of_app(app: AppName) -> Self {
        Self {
            app,
            spec: LicenseSpec::default(),
            key_format: None,
            key: None,
        }
    }
}

impl fmt::Debug for CreateLicense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateLicense")
            .field("app", &self.app)
            .field("user", &self.spec.user)
            .field("key", &self.key.as_ref().map(|_| "redacted"))
            .finish_non_exhaustive()
    }
}

/// The names of the fields of [`CreateLicense`], in order.
fn names_of_creation() -> Vec<&'static str> {
    [
        vec!["app"],
        LicenseSpec::field_names(),
        vec!["key_format", "key"],
    ]
    .concat()
}

/// Reads each value where it stands, as a derived implementation does for a struct without parts:
/// an error names the place of the value, and a field that is not known is refused.
impl<'de> Deserialize<'de> for CreateLicense {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Creation;

        impl<'de> Visitor<'de> for Creation {
            type Value = CreateLicense;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("struct CreateLicense")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<CreateLicense, M::Error> {
                let names = names_of_creation();
                let (mut seen, mut app, mut key_format, mut key) = (Vec::new(), None, None, None);
                let mut spec = LicenseSpec::default();
                while let Some(name) = map.next_key_seed(OneOf(&names))? {
                    if seen.contains(&name) {
                        return Err(de::Error::duplicate_field(name));
                    }
                    seen.push(name);
                    match name {
                        "app" => app = Some(map.next_value()?),
                        "key_format" => key_format = map.next_value()?,
                        "key" => key = map.next_value()?,
                        name => {
                            spec.read_field(name, &mut map)?;
                        }
                    }
                }
                Ok(CreateLicense {
                    app: app.ok_or_else(|| de::Error::missing_field("app"))?,
                    spec,
                    key_format,
                    key,
                })
            }
        }

        deserializer.deserialize_struct("CreateLicense", &[], Creation)
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
