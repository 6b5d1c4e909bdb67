//! The request tokens: issued to a holder, claimed by one call, confirmed by the holder afterwards.
//!
//! The gate decides who may issue and consume them, and what a call costs; it knows the routes.

mod claimed;
mod lost_claim;
mod operations;

use std::sync::Arc;
use std::time::Duration;

use model::{
    CallId, Clock, Credential, InstanceId, KeyFormat, KeyHash, KeyHasher, Method, Refusal,
    RequestToken, RequestTokenId, Timestamp, TokenState,
};
use store::{Store, TokenClaim, TokenIssue};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::time::after;
use crate::license::CachedLicense;
use crate::meter::{HeldUnits, Refused};

pub use claimed::ClaimedToken;
use lost_claim::LostClaimPermits;

/// The request tokens, as the calls need them that issue and consume them.
pub(crate) struct RequestTokens {
    store: Arc<dyn Store>,
    hasher: KeyHasher,
    clock: Arc<dyn Clock>,
    instance: InstanceId,
    /// The runtime that may wait for the store.
    runtime: Handle,
    /// The longest time that a call waits for the store.
    timeout: Duration,
    /// The permits to look after claims of tokens whose answer was lost.
    lost_claim_permits: LostClaimPermits,
}

/// A request for a token.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    /// The license that pays.
    pub license: &'a CachedLicense,
    /// The method of the call.
    pub method: Method,
    /// The path of the call, in normal form.
    pub path: &'a str,
    /// The number of units that the call may cost; they are held from now on.
    pub units: u64,
    /// The lifetime of the token: from one second to [`TokenRequest::MAX_LIFETIME`].
    pub lifetime: Duration,
}

/// A new token, with its text, which is shown this once.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: RequestToken,
    /// The text of the token.
    pub secret: Credential,
}

/// The format of a token's text: the one that apifew's clients expect.
const FORMAT: KeyFormat = KeyFormat::Apifew;

impl TokenRequest<'_> {
    /// The lifetime of a token if nothing else is said.
    pub const LIFETIME: Duration = Duration::from_secs(300);
    /// The longest time that a token may be used: its units are held for so long.
    pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3_600);
}

impl RequestTokens {
    /// Returns the tokens of a store, for calls that wait up to `timeout`. To be called on the
    /// runtime that may wait for the store.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        hasher: KeyHasher,
        clock: Arc<dyn Clock>,
        instance: InstanceId,
        timeout: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            hasher,
            clock,
            instance,
            runtime: Handle::current(),
            timeout,
            lost_claim_permits: LostClaimPermits::default(),
        })
    }

    /// Issues a token and holds its units.
    ///
    /// # Errors
    /// [`Refusal::QuotaExhausted`] or [`Refusal::QuotaExhaustedForNow`] if too few are left;
    /// [`Refusal::QuotaUnavailable`] if the store fails.
    pub(crate) async fn issue(&self, request: &TokenRequest<'_>) -> Result<IssuedToken, Refused> {
        let license = request.license.license();
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

    /// Returns the token of a text, whatever its state; `None`: there is none. May be called from
    /// any runtime with a timer.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] if the store fails or is too slow.
    pub(crate) async fn find(
        self: &Arc<Self>,
        secret: &[u8],
    ) -> Result<Option<RequestToken>, Refusal> {
        if !could_be_a_token(secret) {
            return Ok(None);
        }
        let hash = self.hasher.hash(secret);
        let tokens = self.clone();
        let look_up = self.runtime.spawn(async move {
            let now = tokens.clock.now();
            tokens.store.tokens()?.token(hash, now).await
        });
        match tokio::time::timeout(self.timeout, look_up).await {
            Ok(Ok(Ok(token))) => Ok(token),
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "a token cannot be looked up");
                Err(Refusal::LicenseStoreUnavailable)
            }
            Ok(Err(_)) | Err(_) => Err(Refusal::LicenseStoreUnavailable),
        }
    }

    /// Claims a token for a call. Of any number of calls that try, on whichever gates, one wins
    /// (G7). May be called from any runtime with a timer; a win that comes too late for the caller
    /// is given back.
    ///
    /// # Errors
    /// [`Refusal::TokenInvalid`] if the token is unknown, used, being used or expired;
    /// [`Refusal::LicenseStoreUnavailable`] if the store fails or is too slow.
    pub(crate) async fn claim(
        self: &Arc<Self>,
        secret: &[u8],
        call_id: CallId,
    ) -> Result<ClaimedToken, Refusal> {
        let hash = self.hasher.hash(secret);
        let tokens = self.clone();
        let (reply, answer) = oneshot::channel();
        self.runtime.spawn(async move {
            let claimed = match tokens.try_claim(hash, call_id).await {
                Ok(Some(claimed)) => Ok(claimed),
                Ok(None) => Err(Refusal::TokenInvalid),
                Err(error) => {
                    tracing::warn!(%error, "a token cannot be claimed");
                    tokens.recover_lost_claim(hash, call_id);
                    Err(Refusal::LicenseStoreUnavailable)
                }
            };
            // What nobody waits for any more is dropped here, and so given back.
            let _ = reply.send(claimed);
        });
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(claimed)) => claimed,
            Ok(Err(_)) | Err(_) => Err(Refusal::LicenseStoreUnavailable),
        }
    }

    /// Claims a token, or returns again what a claim of this call won before; `None`: the token
    /// cannot be claimed.
    async fn try_claim(
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
        let leased = leased.map(|(epoch, units)| HeldUnits { epoch, units });
        let claimed = ClaimedToken::new(self.clone(), token, call_id, leased);
        Ok(Some(claimed))
    }
}

impl std::fmt::Debug for RequestTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestTokens").finish_non_exhaustive()
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

/// Returns whether a text has the form of a token, so that the store is worth asking.
fn could_be_a_token(secret: &[u8]) -> bool {
    std::str::from_utf8(secret).is_ok_and(|text| KeyFormat::of(text) == Some(FORMAT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Disk, Memory, counted, eventually_async};

    #[tokio::test]
    async fn a_token_is_won_by_one_call_and_by_another_only_if_that_one_gives_it_back() {
        let memory = Memory::new(false);
        let disk = Disk::new(&memory.clock).await;
        disk.create("a", &counted(10)).await;
        let license = memory.fill("a", &counted(10), 1).expect("it is filled");
        let tokens = RequestTokens::new(
            disk.store.clone(),
            KeyHasher::new(&[7; 32]),
            memory.clock.clone(),
            disk.instance,
            Duration::from_secs(10),
        );
        let request = TokenRequest {
            license: &license,
            method: Method::Get,
            path: "/",
            units: 3,
            lifetime: TokenRequest::LIFETIME,
        };
        let issued = tokens.issue(&request).await.expect("10 are left");
        let secret = issued.secret.expose().as_bytes();
        let state = async || {
            let found = tokens.find(secret).await.expect("the store answers");
            found.expect("it was issued").state
        };
        let call = |number| CallId::from_u128(number);
        let first = tokens.claim(secret, call(1)).await.expect("it is free");
        let second = tokens.claim(secret, call(2)).await;
        assert_eq!(second.unwrap_err(), Refusal::TokenInvalid);
        assert_eq!(state().await, TokenState::Claimed);
        drop(first);
        eventually_async("it is given back", async || {
            state().await == TokenState::Issued
        })
        .await;
        let third = tokens.claim(secret, call(3)).await.expect("it is free");
        third.finish(200).await;
        let fourth = tokens.claim(secret, call(4)).await;
        assert_eq!(fourth.unwrap_err(), Refusal::TokenInvalid);
    }
}
