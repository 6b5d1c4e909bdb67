//! Keys of agents.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::word_enum;
use ring::digest::{SHA256, digest};
use ring::signature::{
    ED25519, RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;

use super::reason::InvalidReason;

/// The thumbprint of a key (RFC 7638, SHA-256), which is its id. Its text is base64url without
/// padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thumbprint([u8; 32]);

/// The error for a text that is no [`Thumbprint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a thumbprint is 43 characters of base64url")]
pub struct ParseThumbprintError;

/// The keys of a directory that signatures of agents can be by, at most [`KeySet::MAX_KEYS`].
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<PublicKey>);

/// A key.
#[derive(Clone, Debug)]
pub(super) struct PublicKey {
    thumbprint: Thumbprint,
    material: Material,
    not_before: Option<i64>,
    expires: Option<i64>,
}

#[derive(Clone, Debug)]
enum Material {
    Ed25519(Vec<u8>),
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

word_enum!(
    /// An algorithm, by its name in HTTP Message Signatures.
    Algorithm {
        /// Ed25519 (RFC 8032).
        Ed25519 => "ed25519",
        /// RSASSA-PSS with SHA-512.
        RsaPss => "rsa-pss-sha512",
    }
);

/// The reason why the body of a directory is no set of keys. Blame: the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is too large.
    #[error("the directory has {0} bytes, at most {max} are read", max = KeySet::MAX_BYTES)]
    Bytes(usize),
    /// It is no JSON object with a list `keys`.
    #[error("the directory is no JSON Web Key Set")]
    Form,
    /// It has too many keys.
    #[error("the directory has {0} keys, at most {max} are read", max = KeySet::MAX_KEYS)]
    Keys(usize),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// A key in JSON (RFC 7517), as far as it is looked at.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    n: Option<String>,
    e: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    nbf: Option<i64>,
    exp: Option<i64>,
}

/// The keys of RFC 9421, appendices B.1.4 and B.1.2, whose private halves everybody has.
const OF_TESTS: [&str; 2] = [
    "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U",
    "oD0HwocPBSfpNy5W3bpJeyFGY_IQ_YpqxSjQ3Yd-CLA",
];
/// The sizes of RSA keys, in bytes: 2,048 to 4,096 bits. A larger one would cost too much.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

// === impl Thumbprint ===

impl Thumbprint {
    fn of(canonical: &str) -> Self {
        let digest = digest(&SHA256, canonical.as_bytes());
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns whether the key is one that is published for tests.
    #[must_use]
    pub fn is_of_tests(&self) -> bool {
        OF_TESTS.contains(&self.to_string().as_str())
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Thumbprint {
    type Err = ParseThumbprintError;

    fn from_str(text: &str) -> Result<Self, ParseThumbprintError> {
        if text.len() != 43 {
            return Err(ParseThumbprintError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(ParseThumbprintError)
    }
}

// === impl KeySet ===

impl KeySet {
    /// The size of the largest directory, in bytes.
    pub const MAX_BYTES: usize = 65_536;
    /// The largest number of keys in a directory.
    pub const MAX_KEYS: usize = 32;

    /// Reads the body of a directory: a JSON Web Key Set. Keys that no signature of an agent can be
    /// by (another type, another use, a wrong length) are left out; their ids are computed, and what
    /// the directory says of them is not looked at.
    ///
    /// # Errors
    /// A body that is no such set, or exceeds a bound.
    pub fn read(body: &[u8]) -> Result<Self, KeySetError> {
        if body.len() > Self::MAX_BYTES {
            return Err(KeySetError::Bytes(body.len()));
        }
        let set: Set = serde_json::from_slice(body).map_err(|_| KeySetError::Form)?;
        if set.keys.len() > Self::MAX_KEYS {
            return Err(KeySetError::Keys(set.keys.len()));
        }
        let jwks = set.keys.into_iter().map(serde_json::from_value::<Jwk>);
        Ok(Self(jwks.filter_map(|jwk| public_key(jwk.ok()?)).collect()))
    }

    /// Returns whether a key is there.
    #[must_use]
    pub fn has(&self, key: &Thumbprint) -> bool {
        self.find(key).is_some()
    }

    /// Returns the ids of the keys.
    pub fn thumbprints(&self) -> impl Iterator<Item = &Thumbprint> {
        self.0.iter().map(|key| &key.thumbprint)
    }

    pub(super) fn find(&self, key: &Thumbprint) -> Option<&PublicKey> {
        self.0.iter().find(|own| own.thumbprint == *key)
    }
}

fn public_key(jwk: Jwk) -> Option<PublicKey> {
    if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return None;
    }
    let decoded = |text: Option<&String>| URL_SAFE_NO_PAD.decode(text?).ok();
    let (material, canonical) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("OKP", Some("Ed25519")) => {
            let x = decoded(jwk.x.as_ref()).filter(|x| x.len() == 32)?;
            let text = URL_SAFE_NO_PAD.encode(&x);
            let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{text}"}}"#);
            (Material::Ed25519(x), canonical)
        }
        ("RSA", _) => {
            let n = decoded(jwk.n.as_ref()).filter(|n| RSA_BYTES.contains(&n.len()))?;
            let e = decoded(jwk.e.as_ref()).filter(|e| e.len() <= 8)?;
            let text = [&e, &n].map(|number| URL_SAFE_NO_PAD.encode(number));
            let canonical = format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text[0], text[1]);
            (Material::Rsa { n, e }, canonical)
        }
        _ => return None,
    };
    Some(PublicKey {
        thumbprint: Thumbprint::of(&canonical),
        material,
        not_before: jwk.nbf,
        expires: jwk.exp,
    })
}

// === impl PublicKey ===

impl PublicKey {
    /// Returns whether the directory calls it valid at a time in seconds.
    pub(super) fn is_valid_at(&self, now: i64) -> bool {
        self.not_before.is_none_or(|from| from <= now) && self.expires.is_none_or(|to| now < to)
    }

    /// Checks that a signature over a text is by this key, and by the algorithm that it names.
    pub(super) fn verify(
        &self,
        named: Option<Algorithm>,
        text: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidReason> {
        let own = match self.material {
            Material::Ed25519(_) => Algorithm::Ed25519,
            Material::Rsa { .. } => Algorithm::RsaPss,
        };
        if named.is_some_and(|named| named != own) {
            return Err(InvalidReason::Algorithm);
        }
        let holds = match &self.material {
            Material::Ed25519(x) => UnparsedPublicKey::new(&ED25519, x).verify(text, signature),
            Material::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA512, text, signature)
            }
        };
        holds.map_err(|_| InvalidReason::Wrong)
    }
}
