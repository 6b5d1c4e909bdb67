//! What fuzz targets and tests of their seeds call.

use model::Timestamp;

use super::{Judgement, KeySource, Keys, Request, Thumbprint, Verifier};
use crate::directory_url::DirectoryUrl;

/// A source that has no directory.
struct Nothing;

impl KeySource for Nothing {
    fn keys(&self, _: &DirectoryUrl, _: &Thumbprint, _: Timestamp) -> Keys {
        Keys::Unknown
    }
}

/// Takes the lines of any bytes as `Signature-Input`, `Signature` and `Signature-Agent` of a request.
///
/// # Panics
/// If a signature holds without any key, or a request is judged in two ways.
pub fn exercise(bytes: &[u8]) {
    let names = ["signature-input", "signature", "signature-agent"];
    let lines = bytes.split(|byte| *byte == b'\n');
    let fields: Vec<(&str, &[u8])> = names.into_iter().zip(lines).collect();
    let request = Request {
        method: "GET",
        scheme: "https",
        authority: "api.example.com",
        path: "/news",
        query: Some("a=b%20c"),
        fields: &fields,
    };
    let verifier = Verifier::default();
    let now = Timestamp::from_micros(100_000_000);
    let judgement = verifier.judge(&request, &Nothing, now);
    assert!(!matches!(judgement, Judgement::Verified(_)));
    assert_eq!(verifier.judge(&request, &Nothing, now), judgement);
}
