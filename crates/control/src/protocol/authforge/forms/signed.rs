//! Signed answers: a payload in base64, with a signature over the text of the base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use licensing::signing::AppKey;
use serde::Serialize;

/// The answer of success, as software verifies it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct Signed {
    status: &'static str,
    payload: String,
    signature: String,
    key_id: String,
}

/// Signs a payload: its JSON in standard base64, and the signature (Ed25519) over the UTF-8 of that
/// base64, not over the JSON.
pub(in super::super) fn sign(payload: &impl Serialize, key: &AppKey) -> Signed {
    let json = serde_json::to_vec(payload).expect("a payload is plain data");
    let payload = STANDARD.encode(json);
    Signed {
        status: "success",
        signature: STANDARD.encode(key.sign(payload.as_bytes())),
        key_id: key.id().to_string(),
        payload,
    }
}
