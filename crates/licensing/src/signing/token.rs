//! JSON Web Tokens of our own. They are believed only as far as our own records of the key say.

use jsonwebtoken::Validation;
use model::{SigningKeyId, SigningUse, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Signing, algorithm, decoding_key};

/// The issuer and the audience of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenTerms {
    /// The issuer (`iss`).
    pub issuer: String,
    /// The audience (`aud`).
    pub audience: String,
}

/// The reason why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// The text is not a token of these terms that a key of ours signed, or it was changed. Blame:
    /// caller.
    #[error("it is not a token of this gate, or it was changed")]
    Invalid,
    /// The token has expired. Blame: caller.
    #[error("it has expired")]
    Expired,
    /// The token is not valid yet. Blame: caller.
    #[error("it is not valid yet")]
    NotYet,
}

const TYPE: &str = "JWT";

impl Signing {
    /// The length of the longest token that is read, in bytes.
    pub const MAX_TOKEN_BYTES: usize = 4 * 1024;

    /// Signs a token and returns its text. The claims must hold `iss`, `aud`, `nbf` and `exp`, or
    /// the token is never believed.
    ///
    /// # Panics
    /// If the claims are not plain data, or the use is not one for tokens: a defect of the
    /// caller.
    #[must_use]
    pub fn sign_token(&self, signing_use: SigningUse, claims: &impl Serialize) -> String {
        assert!(
            signing_use.is_for_tokens(),
            "a token is signed by a key for tokens"
        );
        let claims = serde_json::to_value(claims).expect("claims are plain data");
        self.sign(signing_use, TYPE, &claims)
    }

    /// Verifies a token and returns its claims. The key is found by `kid` among ours, and
    /// determines the algorithm; the header must agree, and no key that the header brings or points
    /// to (`jwk`, `jku`, `x5c`, `x5u`) is used. A header with an extension that must be understood
    /// (`crit`) is refused. Times are those of our clock, without leeway: at `exp` the token has
    /// expired.
    ///
    /// # Errors
    /// The first reason not to believe the token.
    pub fn verify_token<C: DeserializeOwned>(
        &self,
        token: &str,
        terms: &TokenTerms,
    ) -> Result<C, TokenFault> {
        const INVALID: TokenFault = TokenFault::Invalid;
        if token.len() > Self::MAX_TOKEN_BYTES {
            return Err(INVALID);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| INVALID)?;
        let id = header.kid.and_then(|kid| kid.parse::<SigningKeyId>().ok());
        let (signing_use, state, slot) = id.and_then(|id| self.find(id)).ok_or(INVALID)?;
        let is_ours = signing_use.is_for_tokens() && state.verifies();
        if !is_ours || header.typ.as_deref() != Some(TYPE) || header.crit.is_some() {
            return Err(INVALID);
        }
        let mut validation = Validation::new(algorithm(signing_use));
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud"]);
        validation.set_issuer(&[&terms.issuer]);
        validation.set_audience(&[&terms.audience]);
        validation.leeway = 0;
        // Judged below, by the clock that everything else here goes by.
        validation.validate_exp = false;
        let data = jsonwebtoken::decode::<Value>(token, &decoding_key(&slot), &validation)
            .map_err(|_| INVALID)?;
        judge_times(&data.claims, self.clock.now())?;
        serde_json::from_value(data.claims).map_err(|_| INVALID)
    }
}

fn judge_times(claims: &Value, now: Timestamp) -> Result<(), TokenFault> {
    let second = |name: &str| claims[name].as_i64().ok_or(TokenFault::Invalid);
    let (begin, end) = (second("nbf")?, second("exp")?);
    if now.seconds() >= end {
        Err(TokenFault::Expired)
    } else if now.seconds() < begin {
        Err(TokenFault::NotYet)
    } else {
        Ok(())
    }
}
