//! The operations on request tokens for those who manage them.

use model::{LicenseId, Refusal, RequestToken, RequestTokenId};
use serde_json::{Value, json};
use store::AuditEntries;

use super::could_be_a_token;
use crate::error::Error;
use crate::licensing::Licensing;
use crate::operations::AuditedLicensing;

impl AuditedLicensing {
    /// Ends a token that nobody used and frees its units. A token that was used stays as it is, and
    /// nothing is noted.
    ///
    /// # Errors
    /// There is no such token, or the store fails.
    pub async fn end_token(&self, id: RequestTokenId) -> Result<RequestToken, Error> {
        let audit_writer = self.own_audit_writer();
        let entries = AuditEntries::from_result(move |token: &RequestToken| {
            let state = json!({ "license": token.license_id, "units": token.units });
            let line = audit_writer.line("token.end", token.id).of(&token.account);
            vec![line.between(Some(&state), None::<&Value>)]
        });
        let ending = self
            .store
            .tokens()?
            .end_token(id, self.clock.now(), entries);
        ending.await?.ok_or(Error::TokenUnknown)
    }
}

impl Licensing {
    /// Returns up to `limit` tokens of a license (at most 100,000), oldest first, beginning after
    /// `after`.
    ///
    /// # Errors
    /// The store fails.
    pub async fn tokens_of(
        &self,
        license_id: LicenseId,
        after: Option<RequestTokenId>,
        limit: usize,
    ) -> Result<Vec<RequestToken>, Error> {
        let (store, now) = (self.store.tokens()?, self.clock.now());
        Ok(store.tokens_of(license_id, after, limit, now).await?)
    }

    /// Returns the token with this id, whatever its state.
    ///
    /// # Errors
    /// There is no such token, or the store fails.
    pub async fn token_by_id(&self, id: RequestTokenId) -> Result<RequestToken, Error> {
        let token = self.store.tokens()?.token_by_id(id, self.clock.now());
        token.await?.ok_or(Error::TokenUnknown)
    }

    /// Returns the token of a text, whatever its state; `None`: there is none. May be called from
    /// any runtime with a timer.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] if the store fails or is too slow.
    pub async fn token(&self, secret: &[u8]) -> Result<Option<RequestToken>, Refusal> {
        self.admission.token(secret).await
    }

    /// Records the status of a call that the holder of its token reports, and returns the token.
    ///
    /// # Errors
    /// [`Error::TokenUnknown`] if the license has no such token or it was not used, or the store
    /// fails.
    pub async fn confirm_token(
        &self,
        secret: &[u8],
        license_id: LicenseId,
        status: u16,
    ) -> Result<RequestToken, Error> {
        if !could_be_a_token(secret) {
            return Err(Error::TokenUnknown);
        }
        let hash = self.hasher.hash(secret);
        let tokens = self.store.tokens()?;
        let confirmed = tokens.confirm_token(hash, license_id, status).await?;
        confirmed.ok_or(Error::TokenUnknown)
    }
}
