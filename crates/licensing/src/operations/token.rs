//! Request tokens: issued to a holder, claimed by one call, confirmed by the holder afterwards.
//!
//! Who may issue and consume, and what a call costs, is for the gate to say; it knows the routes.

use std::sync::Arc;
use std::time::Duration;

use model::{
    CallId, Credential, KeyFormat, KeyHash, LicenseId, Method, Refusal, RequestToken,
    RequestTokenId, Timestamp, TokenState,
};
use serde_json::{Value, json};
use store::{AuditEntries, TokenClaim, TokenIssue};
use tokio::sync::oneshot;

use super::acting::AuditedLicensing;
use super::time::after;
use crate::cached_license::CachedLicense;
use crate::error::Error;
use crate::licensing::Licensing;
use crate::meter::{HeldUnits, Refused, Reservation};

/// A request for a token.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    /// The license that pays.
    pub entry: &'a CachedLicense,
    /// The method of the call.
    pub method: Method,
    /// Its path, in normal form.
    pub path: &'a str,
    /// Units that it may cost; they are held from now on.
    pub units: u64,
    /// How long it may be used: from one second to [`TokenRequest::MAX_LIFETIME`].
    pub lifetime: Duration,
}

/// A new token, with what is shown this once.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: RequestToken,
    /// Its text.
    pub secret: Credential,
}

/// A token that one call has won. Dropped without a word, it is given back: nobody was reached with it.
#[derive(Debug)]
pub struct ClaimedToken {
    licensing: Arc<Licensing>,
    token: RequestToken,
    call_id: CallId,
    /// What its license's lease holds for this call, until it is put into a reservation.
    pub leased: Option<HeldUnits>,
    open: bool,
}

/// The format of a token's text: what apifew's clients expect.
const FORMAT: KeyFormat = KeyFormat::Apifew;
/// How often what is said of a token is said again while the store does not answer.
const TRIES: u32 = 5;
/// The number of tokens that are checked in one sweep.
const SWEEP: usize = 1_000;
/// How long the outcome of a token can be asked for.
const RESULT_TTL: Duration = Duration::from_secs(30 * 24 * 3_600);

impl TokenRequest<'_> {
    /// How long a token may be used if nothing else is said.
    pub const LIFETIME: Duration = Duration::from_secs(300);
    /// How long a token may be used at most: its units are held for so long.
    pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3_600);
}

impl AuditedLicensing {
    /// Ends a token that nobody used and frees its units; one that was used stays as it is, and nothing is noted.
    ///
    /// # Errors
    /// There is none such, or the store fails.
    pub async fn end_token(&self, id: RequestTokenId) -> Result<RequestToken, Error> {
        let audit_writer = self.own_audit_writer();
        let note = AuditEntries::from_result(move |token: &RequestToken| {
            let state = json!({ "license": token.license_id, "units": token.units });
            let line = audit_writer.line("token.end", token.id).of(&token.account);
            vec![line.between(Some(&state), None::<&Value>)]
        });
        let ending = self.store.tokens()?.end_token(id, self.clock.now(), note);
        ending.await?.ok_or(Error::TokenUnknown)
    }
}

impl Licensing {
    /// Issues a token and holds its units.
    ///
    /// # Errors
    /// [`Refusal::QuotaExhausted`] (or its kin that refills) if too few are left; [`Refusal::QuotaUnavailable`] if the store
    /// fails.
    pub async fn issue_token(&self, request: &TokenRequest<'_>) -> Result<IssuedToken, Refused> {
        let license = request.entry.license();
        let secret = Credential::generate(FORMAT);
        let now = self.clock.now();
        let lifetime = request
            .lifetime
            .clamp(Duration::from_secs(1), TokenRequest::MAX_LIFETIME);
        let token = RequestToken {
            id: RequestTokenId::generate(),
            license_id: license.id,
            account: license.account.clone(),
            app: license.app.clone(),
            method: request.method,
            path: request.path.to_owned(),
            units: request.units,
            state: TokenState::Issued,
            issued_at: now,
            expires_at: after(now, lifetime),
            call_id: None,
            consumed_at: None,
            status: None,
            confirmed_status: None,
        };
        let hash = self.hasher.hash(secret.expose().as_bytes());
        let issued = match self.store.tokens() {
            Ok(tokens) => tokens.issue_token(token.clone(), hash, now).await,
            Err(error) => Err(error),
        };
        match issued {
            Ok(TokenIssue::Issued) => Ok(IssuedToken { token, secret }),
            Ok(TokenIssue::Exhausted { next_refill_at }) => Err(exhausted(next_refill_at, now)),
            Err(error) => {
                tracing::warn!(%error, "a token cannot be issued");
                Err(Refused::unavailable())
            }
        }
    }

    /// Up to `limit` tokens of a license (at most 100,000), oldest first, beginning after `after`.
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

    /// The token with this id, whatever its state.
    ///
    /// # Errors
    /// There is none such, or the store fails.
    pub async fn token_by_id(&self, id: RequestTokenId) -> Result<RequestToken, Error> {
        let token = self.store.tokens()?.token_by_id(id, self.clock.now());
        token.await?.ok_or(Error::TokenUnknown)
    }

    /// The token of this text, whatever its state; `None`: there is none such. May be called from any runtime with a timer.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`]
    pub async fn token(self: &Arc<Self>, secret: &[u8]) -> Result<Option<RequestToken>, Refusal> {
        if !could_be_a_token(secret) {
            return Ok(None);
        }
        let hash = self.hasher.hash(secret);
        let licensing = self.clone();
        let asking = self.runtime.spawn(async move {
            let now = licensing.clock.now();
            licensing.store.tokens()?.token(hash, now).await
        });
        match tokio::time::timeout(self.options.load_timeout, asking).await {
            Ok(Ok(Ok(token))) => Ok(token),
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "a token cannot be looked up");
                Err(Refusal::LicenseStoreUnavailable)
            }
            Ok(Err(_)) | Err(_) => Err(Refusal::LicenseStoreUnavailable),
        }
    }

    /// Tries to win a token for a call. Of any number of tries, on whichever gates, one wins (G7). May be called from any
    /// runtime with a timer; a win that comes too late for who asked is given back.
    ///
    /// # Errors
    /// [`Refusal::TokenInvalid`] if it is unknown, used, being used or expired; [`Refusal::LicenseStoreUnavailable`].
    pub async fn claim_token(
        self: &Arc<Self>,
        secret: &[u8],
        call_id: CallId,
    ) -> Result<ClaimedToken, Refusal> {
        let hash = self.hasher.hash(secret);
        let licensing = self.clone();
        let (reply, answer) = oneshot::channel();
        self.runtime.spawn(async move {
            let claimed = match licensing.claim_once(hash, call_id).await {
                Ok(Some(claimed)) => Ok(claimed),
                Ok(None) => Err(Refusal::TokenInvalid),
                Err(error) => {
                    tracing::warn!(%error, "a token cannot be claimed");
                    licensing.recover_lost_claim(hash, call_id);
                    Err(Refusal::LicenseStoreUnavailable)
                }
            };
            // What nobody waits for any more is dropped here, and so given back.
            let _ = reply.send(claimed);
        });
        match tokio::time::timeout(self.options.load_timeout, answer).await {
            Ok(Ok(claimed)) => claimed,
            Ok(Err(_)) | Err(_) => Err(Refusal::LicenseStoreUnavailable),
        }
    }

    /// Claims a token, or is told again that its claim won; `None`: it is not to be won.
    pub(super) async fn claim_once(
        self: &Arc<Self>,
        hash: KeyHash,
        call_id: CallId,
    ) -> Result<Option<ClaimedToken>, store::Error> {
        let (instance, now) = (self.instance, self.clock.now());
        let tokens = self.store.tokens()?;
        let claim = tokens.claim_token(hash, instance, call_id, now).await?;
        let TokenClaim::Won { token, leased } = claim else {
            return Ok(None);
        };
        Ok(Some(ClaimedToken {
            licensing: self.clone(),
            token,
            call_id,
            leased: leased.map(|(epoch, units)| HeldUnits { epoch, units }),
            open: true,
        }))
    }

    /// Notes what the holder of a used token says of the call's status.
    ///
    /// # Errors
    /// [`Error::TokenUnknown`], or the store fails.
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

    /// Ends tokens whose time is over, and forgets old ones and old claims, for ever.
    pub(crate) async fn serve_expiry(&self) {
        const EXPIRY_INTERVAL: Duration = Duration::from_secs(1);
        loop {
            tokio::time::sleep(EXPIRY_INTERVAL).await;
            let now = self.clock.now();
            self.tend_audit(now).await;
            if let Err(error) = self.expire(now).await {
                tracing::debug!(%error, "what has expired cannot be swept");
            }
        }
    }

    async fn expire(&self, now: Timestamp) -> Result<(), store::Error> {
        if let Ok(tokens) = self.store.tokens() {
            while tokens.expire_tokens(now, SWEEP).await? == SWEEP {}
            let kept = i64::try_from(RESULT_TTL.as_micros()).unwrap_or(i64::MAX);
            tokens.forget_tokens(now.plus_micros(-kept), SWEEP).await?;
        }
        if let Ok(claims) = self.store.claims() {
            claims.sweep_claims(now, SWEEP).await?;
        }
        Ok(())
    }
}

impl ClaimedToken {
    /// The token, as it is now.
    #[must_use]
    pub const fn token(&self) -> &RequestToken {
        &self.token
    }

    /// Its use is final: the call has a status (0: it reached somebody and has none). Returns when that is kept; what cannot
    /// be kept is tried again for a while, and the token stays claimed, which nobody can use either.
    pub async fn finish(mut self, status: u16) {
        self.open = false;
        let (id, call_id) = (self.token.id, self.call_id);
        insist(&self.licensing, id, call_id, Word::Finished { status }).await;
    }

    /// [`ClaimedToken::finish`] for those who cannot wait.
    pub fn finish_soon(self, status: u16) {
        let runtime = self.licensing.runtime.clone();
        runtime.spawn(self.finish(status));
    }

    /// Gives the token back, and returns when it can be used again (or the store takes too long to say so).
    pub async fn give_back(mut self) {
        let giving = self.say_released();
        let _ = tokio::time::timeout(self.licensing.options.load_timeout, giving).await;
    }

    /// Gives the token back, with the units that a reservation holds for it: the call reached nobody.
    pub fn release(mut self, reservation: Option<&mut Reservation>) {
        if let Some(held) = reservation.and_then(Reservation::let_go) {
            self.leased = Some(held);
        }
    }
}

impl ClaimedToken {
    fn say_released(&mut self) -> tokio::task::JoinHandle<()> {
        self.open = false;
        let (licensing, id, call_id) = (self.licensing.clone(), self.token.id, self.call_id);
        let leased = self.leased.map(|held| (held.epoch, held.units));
        self.licensing.runtime.spawn(async move {
            insist(&licensing, id, call_id, Word::Released { leased }).await;
        })
    }
}

impl Drop for ClaimedToken {
    fn drop(&mut self) {
        if self.open {
            drop(self.say_released());
        }
    }
}

/// The outcome of a claimed token.
#[derive(Clone, Copy)]
enum Word {
    Finished { status: u16 },
    Released { leased: Option<(u32, u64)> },
}

/// Writes the outcome of a token, again and again while the store does not answer.
async fn insist(licensing: &Licensing, id: RequestTokenId, call_id: CallId, word: Word) {
    let mut pause = Duration::from_millis(100);
    for _ in 0..TRIES {
        match tell(licensing, id, call_id, word).await {
            Ok(_) => return,
            Err(error) => tracing::warn!(%error, "what became of a token cannot be kept yet"),
        }
        tokio::time::sleep(pause).await;
        pause *= 4;
    }
}

async fn tell(
    licensing: &Licensing,
    id: RequestTokenId,
    call_id: CallId,
    word: Word,
) -> Result<bool, store::Error> {
    let tokens = licensing.store.tokens()?;
    match word {
        Word::Finished { status } => {
            let at = licensing.clock.now();
            tokens.finish_token(id, call_id, status, at).await
        }
        Word::Released { leased } => tokens.release_token(id, call_id, leased).await,
    }
}

fn exhausted(next_refill_at: Option<Timestamp>, now: Timestamp) -> Refused {
    let refusal = match next_refill_at {
        None => Refusal::QuotaExhausted,
        Some(_) => Refusal::QuotaExhaustedForNow,
    };
    let seconds = |at: Timestamp| at.since(now).as_secs().saturating_add(1);
    Refused {
        refusal,
        retry_after: next_refill_at.map(|at| u32::try_from(seconds(at)).unwrap_or(u32::MAX)),
        view: None,
        held_elsewhere: false,
    }
}

/// Returns whether another try of the store is worth it.
fn could_be_a_token(secret: &[u8]) -> bool {
    std::str::from_utf8(secret).is_ok_and(|text| KeyFormat::of(text) == Some(FORMAT))
}
