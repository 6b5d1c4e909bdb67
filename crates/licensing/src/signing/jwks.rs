//! The set of public keys, by which anybody can verify signatures.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{SigningKeyState, SigningUse};
use serde::Serialize;

use super::Signing;

/// A set of public keys (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JwkSet {
    /// The keys, newest first.
    pub keys: Vec<Jwk>,
}

/// A public Ed25519 key (RFC 8037).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    /// The type of the key: `OKP`.
    pub kty: &'static str,
    /// The curve: `Ed25519`.
    pub crv: &'static str,
    /// The 32 bytes of the key, in base64url without padding.
    pub x: String,
    /// The id by which a signature names the key.
    pub kid: String,
    /// The algorithm: `EdDSA`.
    pub alg: &'static str,
    /// The use: `sig`.
    #[serde(rename = "use")]
    pub usage: &'static str,
}

impl Signing {
    /// The number of keys of one use that are published, the newest.
    const MAX_PUBLISHED: usize = 100;

    /// Returns the published keys: the next key, the one that signs, and those before it. A key for
    /// tokens leaves the set when its overlap ends, one for stamps stays, and one that was
    /// withdrawn leaves at once. The set never holds a secret.
    #[must_use]
    pub fn jwks(&self) -> JwkSet {
        let mut keys = self.keys();
        keys.reverse();
        let published = |signing_use: SigningUse| {
            let keys = keys.iter().filter(move |key| {
                key.signing_use == signing_use
                    && match key.state {
                        SigningKeyState::Withdrawn => false,
                        SigningKeyState::Retired => signing_use == SigningUse::Stamps,
                        _ => true,
                    }
            });
            keys.filter_map(|key| {
                Some(Jwk {
                    kty: "OKP",
                    crv: "Ed25519",
                    x: URL_SAFE_NO_PAD.encode(key.public_key?),
                    kid: key.id.to_string(),
                    alg: "EdDSA",
                    usage: "sig",
                })
            })
            .take(Self::MAX_PUBLISHED)
        };
        JwkSet {
            keys: SigningUse::ALL.into_iter().flat_map(published).collect(),
        }
    }
}
