//! The import of licenses on the wire.

use std::fmt;

use model::{AppName, DeviceId, KeyDigest, LicenseId, LicenseSpec};
use schemars::{JsonSchema, Schema};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::license::as_requested;
use crate::one_of::OneOf;

/// A request to take over licenses that were made elsewhere, with their keys. A row that is wrong
/// holds up none of the others; what can be made is made in one step.
// The server takes `Row` as plain JSON first, to answer for a row that it cannot read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ImportLicenses")]
pub struct ImportLicenses<Row = ImportRow> {
    /// The app that they open. Its account becomes theirs.
    pub app: AppName,
    /// The shape that each key must have: `tallygate`, `uuid`, `apifew` or `authforge`; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_format: Option<String>,
    /// Whether the rows are judged alone and nothing is made.
    #[serde(default)]
    pub dry_run: bool,
    /// The licenses, 1 to 500 of them.
    pub rows: Vec<Row>,
}

/// A license to take over. One of `key` and `key_sha256` is required.
#[derive(Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(transform = as_requested)]
#[schemars(transform = without_agent)]
#[schemars(extend("additionalProperties" = false))]
#[serde(default)]
pub struct ImportRow {
    /// The key. One of AuthForge's shape may lack its dashes.
    pub key: Option<String>,
    /// The SHA-256 of the key, where the key is not known.
    pub key_sha256: Option<KeyDigest>,
    /// The terms of the license, which may have ended.
    #[serde(flatten)]
    pub spec: LicenseSpec,
    /// The status; absent: `active`.
    pub status: Option<ImportStatus>,
    /// The devices that it is bound to; absent: none.
    pub devices: Vec<DeviceId>,
}

/// The status of a license that is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImportStatus {
    /// It may be used.
    Active,
    /// It is switched off for now.
    Disabled,
}

/// What became of one row; the answer lists them in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedLicense {
    /// What became of it.
    pub result: ImportResult,
    /// The license; absent where none was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<LicenseId>,
    /// What is wrong with the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<ImportProblem>,
}

/// What becomes of a row of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImportResult {
    /// A license was made of it, or would be.
    Made,
    /// The app has a license with this key, which was left as it is.
    There,
    /// It is wrong, and nothing was made of it.
    Bad,
}

/// An error in a row of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportProblem {
    /// The field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong, and what would work.
    pub detail: String,
}

/// The term that no row has: the token of an agent gets a secret of its own.
const AGENT: &str = "agent";

fn without_agent(schema: &mut Schema) {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    properties.and_then(|properties| properties.remove(AGENT));
}

// === impl ImportRow ===

impl ImportRow {
    /// Returns the names of the fields, in order.
    #[must_use]
    pub fn field_names() -> Vec<&'static str> {
        let mut names = [
            vec!["key", "key_sha256"],
            LicenseSpec::field_names(),
            vec!["status", "devices"],
        ]
        .concat();
        names.retain(|name| *name != AGENT);
        names
    }
}

impl fmt::Debug for ImportRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportRow")
            .field("key", &self.key.as_ref().map(|_| "redacted"))
            .field("key_sha256", &self.key_sha256)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Reads each value where it stands, as [`CreateLicense`](crate::CreateLicense) does.
impl<'de> Deserialize<'de> for ImportRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Row;

        impl<'de> Visitor<'de> for Row {
            type Value = ImportRow;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("struct ImportRow")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<ImportRow, M::Error> {
                let names = ImportRow::field_names();
                let (mut seen, mut row) = (Vec::new(), ImportRow::default());
                while let Some(name) = map.next_key_seed(OneOf(&names))? {
                    if seen.contains(&name) {
                        return Err(de::Error::duplicate_field(name));
                    }
                    seen.push(name);
                    match name {
                        "key" => row.key = map.next_value()?,
                        "key_sha256" => row.key_sha256 = map.next_value()?,
                        "status" => row.status = map.next_value()?,
                        "devices" => row.devices = map.next_value()?,
                        name => {
                            row.spec.read_field(name, &mut map)?;
                        }
                    }
                }
                Ok(row)
            }
        }

        deserializer.deserialize_struct("ImportRow", &[], Row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_terms_of_a_license_and_hides_its_key() {
        let text = r#"{"key":"very-secret-key","remaining":5,"status":"disabled","devices":["a"]}"#;
        let row = serde_json::from_str::<ImportRow>(text).expect("valid");
        assert_eq!(row.spec.limits.remaining, Some(5));
        assert_eq!(row.status, Some(ImportStatus::Disabled));
        assert!(!format!("{row:?}").contains("very-secret"));
        for wrong in [
            r#"{"colour":1}"#,
            r#"{"key":"a","key":"b"}"#,
            r#"{"status":"revoked"}"#,
        ] {
            assert!(serde_json::from_str::<ImportRow>(wrong).is_err(), "{wrong}");
        }
    }
}
