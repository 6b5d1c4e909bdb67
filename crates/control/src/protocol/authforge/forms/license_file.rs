//! Offline license files (`.authforge`): signed documents by which software runs without a
//! connection.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use licensing::signing::AppKey;
use model::{DeviceId, Timestamp, Variables};
use serde::Serialize;

use super::{armor, iso};

/// The content of an offline license file.
#[derive(Clone, Copy)]
pub(in super::super) struct LicenseDocument<'a> {
    /// The id by which the software knows the app.
    pub(in super::super) app_id: &'a str,
    /// The license key.
    pub(in super::super) license_key: &'a str,
    /// The id of the file.
    pub(in super::super) id: u128,
    /// The time at which it is made.
    pub(in super::super) issued_at: Timestamp,
    /// The time at which it ends; `None`: never.
    pub(in super::super) expires_at: Option<Timestamp>,
    /// The devices that it is for; empty: any.
    pub(in super::super) devices: &'a [DeviceId],
    /// The label of the license.
    pub(in super::super) label: Option<&'a str>,
    /// The end of the license; `None`: never.
    pub(in super::super) license_expires_at: Option<Timestamp>,
    /// The variables of the license.
    pub(in super::super) license_variables: &'a Variables,
    /// The variables of the app.
    pub(in super::super) app_variables: &'a Variables,
}

/// The signed part of a file, with its members in the order that AuthForge has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    v: u8,
    typ: &'static str,
    app_id: &'a str,
    license_key: &'a str,
    jti: String,
    kid: &'a str,
    issued_at: String,
    expires_at: Option<String>,
    hwid: Hwid<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    license_expires_at: Option<String>,
    license_variables: &'a Variables,
    app_variables: &'a Variables,
}

#[derive(Serialize)]
#[serde(tag = "mode", rename_all = "lowercase")]
enum Hwid<'a> {
    Bound { hwids: &'a [DeviceId] },
    Any,
}

/// Returns the id of a file as it stands in it: a UUID.
pub(in super::super) fn file_id(id: u128) -> String {
    model::CallId::from_u128(id).to_string()
}

/// Returns the text of a file, signed with a key of its app.
pub(in super::super) fn license_file(document: &LicenseDocument<'_>, key: &AppKey) -> String {
    let kid = key.id().to_string();
    let json = payload(document, &kid);
    armored(document, &kid, &json, |message| key.sign(message))
}

/// Returns the JSON of a document that is signed with the key of this id.
pub(super) fn payload(document: &LicenseDocument<'_>, kid: &str) -> Vec<u8> {
    let payload = Payload {
        v: 1,
        typ: "authforge-license",
        app_id: document.app_id,
        license_key: document.license_key,
        jti: file_id(document.id),
        kid,
        issued_at: iso(document.issued_at),
        expires_at: document.expires_at.map(iso),
        hwid: match document.devices {
            [] => Hwid::Any,
            hwids => Hwid::Bound { hwids },
        },
        label: document.label,
        license_expires_at: document.license_expires_at.map(iso),
        license_variables: document.license_variables,
        app_variables: document.app_variables,
    };
    serde_json::to_vec(&payload).expect("a document is plain data")
}

/// Returns the armor of a document with this JSON: the signature is over the text of its base64.
pub(super) fn armored(
    document: &LicenseDocument<'_>,
    kid: &str,
    json: &[u8],
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> String {
    let base64 = STANDARD.encode(json);
    let ends = document.expires_at.map_or_else(|| "never".to_owned(), iso);
    let headers = [
        ("Version", "1"),
        ("App-Id", document.app_id),
        ("License", document.license_key),
        ("Key-Id", kid),
        ("Expires-At", &ends),
    ];
    let signature = STANDARD.encode(sign(base64.as_bytes()));
    let mut text = armor::write("LICENSE", &headers, &base64);
    text.push_str(&armor::write("SIGNATURE", &[], &signature));
    text
}
