//! Signatures of what is delivered, by HMAC-SHA256.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::secret::Secret;

/// Returns the value of `webhook-signature`: a signature for each secret, newest first, with one
/// blank between two. See <https://www.standardwebhooks.com>, version 1.0.0: what is signed is the
/// id, the time in seconds, and the body.
pub(crate) fn standard(secrets: &[Secret], id: &str, seconds: i64, body: &[u8]) -> String {
    let signed = |secret: &Secret| {
        let mac = hmac(
            &secret.standard_key(),
            &[
                id.as_bytes(),
                b".",
                seconds.to_string().as_bytes(),
                b".",
                body,
            ],
        );
        format!("v1,{}", STANDARD.encode(mac))
    };
    let all: Vec<String> = secrets.iter().map(signed).collect();
    all.join(" ")
}

/// Returns the signature of AuthForge and APIMW: of the body alone, by the text of the secret, in
/// lowercase hexadecimal.
pub(crate) fn of_body(secret: &Secret, body: &[u8]) -> String {
    hex::encode(hmac(secret.expose().as_bytes(), &[body]))
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of HMAC has any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification, as their libraries test it.
    #[test]
    fn the_example_of_standard_webhooks_has_its_signature() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("valid");
        let body = br#"{"test": 2432232314}"#;
        let signature = standard(
            std::slice::from_ref(&secret),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            body,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both = standard(&[secret.clone(), Secret::generate()], "msg_1", 1, body);
        assert_eq!(both.split(' ').count(), 2, "{both}");
    }

    /// RFC 4231, test case 2, whose key is shorter than a secret of ours.
    #[test]
    fn an_hmac_is_that_of_the_standard() {
        assert_eq!(
            hex::encode(hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let secret = Secret::kept("whsec_c2VjcmV0");
        assert_eq!(
            of_body(&secret, b"{}"),
            hex::encode(hmac(b"whsec_c2VjcmV0", &[b"{}"]))
        );
    }
}
