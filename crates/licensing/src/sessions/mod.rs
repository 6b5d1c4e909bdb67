//! Sessions: the exchange of a key and its secret for an access token, which lives for an hour, and
//! a refresh token, which can be used once.
//!
//! An access token is a JWT that names its session. Its rights are read from the store each time,
//! so that an end is in force at once on every listener. Where the key draws on a license, the
//! token is also a credential of that license, by its hash like any other: the gate neither reads
//! the JWT nor knows of sessions.

mod claims;
mod limits;
mod log_in;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::{
    Actor, Address, AuditEntry, ManagementKeyId, RateLimit, RefreshToken, Session, SessionId,
    SigningUse, Who,
};
use serde_json::{Value, json};
use store::{AuditEntries, Changed, ManagementKey};
use zeroize::Zeroizing;

pub use limits::{Allowance, PairTerms};

use self::claims::Claims;
use crate::error::Error;
use crate::licensing::Licensing;
use crate::operations::{has_ended, may_use_from};
use crate::signing::{Signing, TokenFault, TokenTerms};

/// The operations on sessions. There is one value for a process.
pub struct Sessions {
    licensing: Arc<Licensing>,
    signing: Arc<Signing>,
    options: SessionOptions,
}

/// The options of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// The issuer and the audience of access tokens.
    pub terms: TokenTerms,
    /// The use of the key that signs them.
    pub signing_use: SigningUse,
    /// The lifetime of an access token, in whole seconds.
    pub access_lifetime: Duration,
    /// The lifetime of a refresh token.
    pub refresh_lifetime: Duration,
    /// The rate windows of keys whose license and plan state none.
    pub rate_limits: Vec<RateLimit>,
}

/// An access token in the clear. Its `Debug` redacts, and its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Zeroizing<String>);

/// The tokens that a log-in or a refresh returns.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token, for calls.
    pub access: AccessToken,
    /// The refresh token, for the next pair of tokens; it can be used once.
    pub refresh: RefreshToken,
    /// The lifetime of the access token.
    pub expires_in: Duration,
    /// The holder of the tokens.
    pub holder: Holder,
}

/// The holder of an access token: a session and the key that it acts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The session.
    pub session: Session,
    /// The key.
    pub key: ManagementKey,
}

/// The reason why a log-in, refresh or token is refused.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is no key of a pair with this secret, or it has ended; the answer does not say which.
    /// Blame: caller.
    #[error("the key or its secret is wrong")]
    Credentials,
    /// The text is not an access token of ours. Blame: caller.
    #[error("the access token is not valid")]
    InvalidToken,
    /// The access token has expired. Blame: caller.
    #[error("the access token has expired, refresh it")]
    ExpiredToken,
    /// The session or the key of the access token was ended. Blame: caller.
    #[error("the access token was revoked, log in again")]
    RevokedToken,
    /// There is no such refresh token that may be used; the answer does not say why. Blame: caller.
    #[error("the refresh token is invalid, expired or used, log in again")]
    RefreshToken,
    /// The key may not be used from this address. Blame: caller.
    #[error("the key may not be used from this address")]
    Address,
    /// The operation failed. Blame: us.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl Sessions {
    /// The number of sessions of one key that may be refreshed. Beyond it the oldest end.
    pub const MAX_PER_KEY: u32 = 1_000;
    /// The time for which an ended session is kept, so that its tokens are refused with the reason.
    const RETENTION: Duration = Duration::from_secs(86_400);

    /// Returns the sessions of the keys of `licensing`.
    #[must_use]
    pub const fn new(
        licensing: Arc<Licensing>,
        signing: Arc<Signing>,
        options: SessionOptions,
    ) -> Self {
        Self {
            licensing,
            signing,
            options,
        }
    }

    /// Removes sessions that ended long ago, for ever. Spawn it once; several gates may do it at a
    /// time.
    pub async fn run(self: Arc<Self>) {
        const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
        const BATCH_SIZE: usize = 1_000;
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            let now = self.licensing.clock.now();
            let retention = i64::try_from(Self::RETENTION.as_micros()).unwrap_or(i64::MAX);
            let before = now.plus_micros(-retention);
            if let Err(error) = self
                .licensing
                .store
                .sweep_sessions(before, BATCH_SIZE)
                .await
            {
                tracing::debug!(%error, "ended sessions cannot be forgotten now");
            }
        }
    }

    /// Returns the holder of an access token that is presented from an address: a token that we
    /// signed and that has not expired, whose session and key are in force, used from where the key
    /// may be used. Nothing is cached between two calls.
    ///
    /// # Errors
    /// The first rule that refuses.
    pub async fn authenticate(
        &self,
        presented: &str,
        address: Option<Address>,
    ) -> Result<Holder, SessionError> {
        let claims: Claims = self
            .signing
            .verify_token(presented, &self.options.terms)
            .map_err(|fault| match fault {
                TokenFault::Expired => SessionError::ExpiredToken,
                TokenFault::Invalid | TokenFault::NotYet => SessionError::InvalidToken,
            })?;
        let store = &self.licensing.store;
        let session = store.session(claims.sid).await.map_err(Error::from)?;
        let session = session.filter(|session| session.key_id == claims.sub);
        let session = session.ok_or(SessionError::InvalidToken)?;
        if session.ended_at.is_some() {
            return Err(SessionError::RevokedToken);
        }
        let key = self.live_key(&session).await?;
        let key = key.ok_or(SessionError::RevokedToken)?;
        if !may_use_from(&key, address) {
            return Err(SessionError::Address);
        }
        Ok(Holder { session, key })
    }

    /// Returns the session with this id, and the key that it acts for.
    ///
    /// # Errors
    /// There is no such session, or the store fails.
    pub async fn holder(&self, id: SessionId) -> Result<Holder, Error> {
        let store = &self.licensing.store;
        let unknown = || Error::SessionUnknown(id);
        let session = store.session(id).await?.ok_or_else(unknown)?;
        let key = store.management_key(session.key_id).await?;
        let key = key.ok_or_else(unknown)?;
        Ok(Holder { session, key })
    }

    /// Returns up to `limit` sessions of a key (at most 100,000), oldest first, beginning after
    /// `after`. Ended sessions are among them for a day.
    ///
    /// # Errors
    /// The store fails.
    pub async fn of_key(
        &self,
        key_id: ManagementKeyId,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, Error> {
        Ok(self
            .licensing
            .store
            .sessions_of(key_id, after, limit)
            .await?)
    }

    /// Ends a session for somebody else than its holder, with all its tokens. The end is in force
    /// on this gate when this returns. The end of one that had ended is not logged again.
    ///
    /// # Errors
    /// There is no such session, or the store fails.
    pub async fn end_by(&self, holder: &Holder, actor: Actor) -> Result<Session, Error> {
        let Holder { session, key } = holder;
        let store = &self.licensing.store;
        let line = self.line("session.end", session, key, actor);
        let entries =
            AuditEntries::from_result(move |Changed { before, .. }: &Changed<Session>| {
                let ends = before.ended_at.is_none();
                ends.then(|| line.clone()).into_iter().collect()
            });
        let now = self.licensing.clock.now();
        let ended = store.end_session(session.id, now, entries).await?;
        self.licensing.changes.learn_now().await;
        ended.ok_or(Error::SessionUnknown(session.id))
    }

    /// Ends the session of its holder, who asks from an address, with all its tokens. The end is in
    /// force on this gate when this returns.
    ///
    /// # Errors
    /// The store fails.
    pub async fn end(&self, holder: &Holder, address: Option<Address>) -> Result<(), Error> {
        let actor = actor_of(&holder.key, address);
        self.end_by(holder, actor).await.map(drop)
    }

    /// Returns the audit line of an event of a session.
    fn line(
        &self,
        action: &str,
        session: &Session,
        key: &ManagementKey,
        actor: Actor,
    ) -> AuditEntry {
        let line = self.licensing.audit_writer(actor).line(action, session.id);
        let state = json!({ "key": key.id, "draws_on": session.license_id });
        line.of(&key.account).between(None::<&Value>, Some(&state))
    }

    /// Returns the key of a session; `None`: it has ended or its account is disabled.
    async fn live_key(&self, session: &Session) -> Result<Option<ManagementKey>, Error> {
        let store = &self.licensing.store;
        let key = store.management_key(session.key_id).await?;
        let now = self.licensing.clock.now();
        let Some(key) = key.filter(|key| !has_ended(key, now)) else {
            return Ok(None);
        };
        let account = store.account(&key.account).await?;
        let off = account.is_some_and(|account| account.disabled_at.is_some());
        Ok((!off).then_some(key))
    }
}

/// Returns the actor of the audit log for the holder of a key.
fn actor_of(key: &ManagementKey, address: Option<Address>) -> Actor {
    Actor {
        who: Who::Key(key.id),
        address,
    }
}

impl AccessToken {
    /// Returns the text of the token. Show it once, to its holder; never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(redacted)")
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
