//! Stamps: signed statements about a processed request that anybody can verify offline.
//!
//! A stamp is a JWS in compact form. Its header is
//! `{"typ":"tallygate-stamp","alg":"EdDSA","kid":"sgk_…"}`, its payload a JSON object without
//! blanks whose members stand in order of their names, its signature Ed25519 (RFC 8032) over the
//! bytes before the second dot. To verify a stamp, take the key with that `kid` from
//! `/.well-known/jwks.json` (cached, if offline), check the signature over the bytes as they were
//! received, then read the payload. Nothing has to be encoded again, so that there is no canonical
//! form to agree on. Any JOSE library does it.

use jsonwebtoken::Validation;
use model::{SigningKeyId, SigningKeyState, SigningUse};
use serde_json::{Map, Value};

use super::{Signing, algorithm, decoding_key};

/// The `typ` of a stamp. It keeps stamps from passing for access tokens, and access tokens for
/// stamps.
pub const STAMP_TYPE: &str = "tallygate-stamp";

/// The reason why a text is not a stamp of this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StampFault {
    /// The text is not a stamp that a key of this store signed, or it was changed. Blame: caller.
    #[error("it is not a stamp of this gate, or it was changed")]
    Invalid,
    /// The key that signed the stamp was withdrawn. Blame: us.
    #[error("the key that signed it was withdrawn, so that it proves nothing any more")]
    Withdrawn,
}

impl Signing {
    /// The length of the longest stamp that is read, in bytes.
    const MAX_STAMP_BYTES: usize = 16 * 1024;

    /// Signs a stamp with these members and returns its text.
    #[must_use]
    pub fn sign_stamp(&self, content: &Map<String, Value>) -> String {
        let content = Value::Object(content.clone());
        self.sign(SigningUse::Stamps, STAMP_TYPE, &content)
    }

    /// Verifies a stamp and returns its members. A stamp by any key of this store is valid, unless
    /// the key was withdrawn.
    ///
    /// # Errors
    /// The text is not a stamp, or its key was withdrawn.
    pub fn verify_stamp(&self, stamp: &str) -> Result<Map<String, Value>, StampFault> {
        if stamp.len() > Self::MAX_STAMP_BYTES {
            return Err(StampFault::Invalid);
        }
        let header = jsonwebtoken::decode_header(stamp).map_err(|_| StampFault::Invalid)?;
        let id = header.kid.and_then(|kid| kid.parse::<SigningKeyId>().ok());
        let found = id.and_then(|id| self.find(id));
        let (signing_use, state, slot) = found.ok_or(StampFault::Invalid)?;
        if signing_use != SigningUse::Stamps || header.typ.as_deref() != Some(STAMP_TYPE) {
            return Err(StampFault::Invalid);
        }
        // A stamp is no credential: it does not expire, and is not meant for somebody.
        let mut validation = Validation::new(algorithm(signing_use));
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let content = jsonwebtoken::decode(stamp, &decoding_key(&slot), &validation)
            .map_err(|_| StampFault::Invalid)?;
        if state == SigningKeyState::Withdrawn {
            return Err(StampFault::Withdrawn);
        }
        Ok(content.claims)
    }
}
