//! Assertions on a visitor of a site (paywalls.net's Validated Actor Inventory): signed statements
//! that live for a minute, which anybody verifies with the keys that the site publishes.
//!
//! The header is `{"alg":"EdDSA","jku":"https://SITE/pw/jwks.json","kid":"sgk_…"}`. It has no `typ`,
//! and keys that sign assertions sign nothing else, so that none passes for a token or a stamp.

use std::time::Duration;

use jsonwebtoken::Header;
use model::{SigningKeyId, SigningUse};
use serde_json::json;

use super::{Signing, algorithm, sign_by};

/// What an assertion says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assertion<'a> {
    /// Who visits: the word of paywalls.net for a kind of visitor (`vat`).
    pub visitor: &'a str,
    /// How sure that is: the word of paywalls.net (`act`).
    pub confidence: &'a str,
    /// The host name of the site that is visited (`dom`), which is the issuer, too.
    pub site: &'a str,
}

/// An assertion with its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedAssertion {
    /// The issuer (`iss`): the origin of the site.
    pub issuer: String,
    /// The time at which it was made (`iat`), in seconds since the UNIX epoch.
    pub issued_at: i64,
    /// The end of its life (`exp`), in seconds since the UNIX epoch.
    pub expires_at: i64,
    /// The key that signed it (`kid`).
    pub key_id: SigningKeyId,
    /// The JWS in compact form.
    pub jws: String,
}

impl Assertion<'_> {
    /// The audience of every assertion (`aud`).
    pub const AUDIENCE: &'static str = "vai";
    /// The life of an assertion.
    pub const LIFETIME: Duration = Duration::from_secs(60);
}

impl Signing {
    /// Signs an assertion that lives from now on. Costs some 20 µs.
    ///
    /// `keys_at` is the path of the published keys on the site, beginning with `/`.
    #[must_use]
    pub fn sign_assertion(&self, assertion: Assertion<'_>, keys_at: &str) -> SignedAssertion {
        let slot = self.signer(SigningUse::Assertions);
        let key_id = slot.record.kid;
        let issuer = format!("https://{}", assertion.site);
        let issued_at = self.clock.now().seconds();
        let expires_at = issued_at.saturating_add(Assertion::LIFETIME.as_secs() as i64);
        let claims = json!({
            "vat": assertion.visitor,
            "act": assertion.confidence,
            "iss": issuer,
            "aud": Assertion::AUDIENCE,
            "dom": assertion.site,
            "iat": issued_at,
            "exp": expires_at,
            "kid": key_id,
        });
        let mut header = Header::new(algorithm(SigningUse::Assertions));
        header.typ = None;
        header.jku = Some(format!("{issuer}{keys_at}"));
        let jws = sign_by(&slot, SigningUse::Assertions, header, &claims);
        SignedAssertion {
            issuer,
            issued_at,
            expires_at,
            key_id,
            jws,
        }
    }
}
