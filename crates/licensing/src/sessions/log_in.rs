//! The exchange of a key and its secret, or of a refresh token, for new tokens.

use model::{
    Actor, Address, AuditEntry, CredentialId, License, LicenseId, LicenseSpec, LicenseStatus,
    RefreshToken, Session, SessionId, Timestamp,
};
use serde_json::Value;
use store::{AuditEntries, ManagementKey, NewLicense, NewTokens, RefreshOutcome};
use zeroize::Zeroizing;

use super::claims::Claims;
use super::{AccessToken, Holder, SessionError, Sessions, Tokens, actor_of};
use crate::error::Error;
use crate::operations::{may_use_from, shown};

/// The new tokens in the clear, and the record of them that the store keeps.
struct Minted {
    access: AccessToken,
    refresh: RefreshToken,
    record: NewTokens,
}

impl Sessions {
    /// Begins a session of a key, if the secret belongs to it.
    ///
    /// # Errors
    /// The credentials are wrong, the key may not be used from the address, or the store fails.
    pub async fn log_in(
        &self,
        key: &str,
        secret: &str,
        address: Option<Address>,
    ) -> Result<Tokens, SessionError> {
        let key = self.licensing.authenticate_pair(key, secret).await?;
        let key = key.ok_or(SessionError::Credentials)?;
        let actor = actor_of(&key, address);
        if !may_use_from(&key, address) {
            self.licensing.audit_denied(actor);
            return Err(SessionError::Address);
        }
        let now = self.licensing.clock.now();
        let session = Session {
            id: SessionId::generate(),
            key_id: key.id,
            license_id: self.paying_license(&key, actor).await?,
            created_at: now,
            ended_at: None,
        };
        let minted = self.mint(&session, now);
        let entries = AuditEntries::of(vec![self.line("session.create", &session, &key, actor)]);
        let store = &self.licensing.store;
        let is_created = store
            .create_session(
                session.clone(),
                minted.record.clone(),
                Self::MAX_PER_KEY,
                entries,
            )
            .await
            .map_err(Error::from)?;
        if !is_created {
            // The key ended just now.
            return Err(SessionError::Credentials);
        }
        self.licensing.changes.learn_now().await;
        Ok(self.tokens_for(minted, session, key))
    }

    /// Exchanges a refresh token for new tokens, once. One that was used before ends its whole
    /// session; one that loses a race with another request is refused and ends nothing.
    ///
    /// # Errors
    /// [`SessionError::RefreshToken`], the key may not be used from the address, or the store
    /// fails.
    pub async fn refresh(
        &self,
        presented: &str,
        address: Option<Address>,
    ) -> Result<Tokens, SessionError> {
        const REFUSED: SessionError = SessionError::RefreshToken;
        let asked_at = self.licensing.clock.now();
        let presented = RefreshToken::parse(presented).ok_or(REFUSED)?;
        let hash = self.licensing.hasher.hash(presented.expose().as_bytes());
        let store = &self.licensing.store;
        let found = store.refresh_token(hash).await.map_err(Error::from)?;
        // One that is over is refused like one that never was, after the same work.
        let found = found.filter(|token| !token.is_over(asked_at));
        let session = found.ok_or(REFUSED)?.session;
        let key = self.live_key(&session).await?.ok_or(REFUSED)?;
        let actor = actor_of(&key, address);
        if !may_use_from(&key, address) {
            self.licensing.audit_denied(actor);
            return Err(SessionError::Address);
        }
        let refreshed = self.line("session.refresh", &session, &key, actor);
        // Whoever sent it, one of the two who have it is not its holder.
        let somebody = Actor::unknown(address);
        let replayed = self.line("session.replay", &session, &key, somebody);
        let entries = AuditEntries::from_result(move |outcome: &RefreshOutcome| match outcome {
            RefreshOutcome::Refreshed => vec![refreshed.clone()],
            RefreshOutcome::Replayed => vec![replayed.clone()],
            RefreshOutcome::Lost | RefreshOutcome::Refused => Vec::new(),
        });
        // What was used is told by the store, in one transaction with its use.
        let minted = self.mint(&session, asked_at);
        let outcome = store
            .refresh_session(hash, asked_at, minted.record.clone(), entries)
            .await
            .map_err(Error::from)?;
        self.licensing.changes.learn_now().await;
        match outcome {
            RefreshOutcome::Refreshed => Ok(self.tokens_for(minted, session, key)),
            RefreshOutcome::Replayed => {
                tracing::warn!(session = %session.id, key = %key.id, "a refresh token was used twice, its session is ended");
                Err(REFUSED)
            }
            RefreshOutcome::Lost | RefreshOutcome::Refused => Err(REFUSED),
        }
    }

    fn mint(&self, session: &Session, now: Timestamp) -> Minted {
        let options = &self.options;
        let lifetime = i64::try_from(options.access_lifetime.as_secs()).unwrap_or(i64::MAX);
        let claims = Claims {
            iss: options.terms.issuer.clone(),
            aud: options.terms.audience.clone(),
            sub: session.key_id,
            sid: session.id,
            jti: CredentialId::generate(),
            iat: now.seconds(),
            nbf: now.seconds(),
            exp: now.seconds().saturating_add(lifetime),
        };
        let access = self.signing.sign_token(options.signing_use, &claims);
        let access = AccessToken(Zeroizing::new(access));
        let refresh = RefreshToken::generate();
        let hash = |text: &str| self.licensing.hasher.hash(text.as_bytes());
        let refresh_lifetime = i64::try_from(options.refresh_lifetime.as_micros());
        let record = NewTokens {
            access_id: claims.jti,
            access: hash(access.expose()),
            access_expires_at: Timestamp::from_micros(claims.exp.saturating_mul(1_000_000)),
            refresh: hash(refresh.expose()),
            refresh_expires_at: now.plus_micros(refresh_lifetime.unwrap_or(i64::MAX)),
            issued_at: now,
        };
        Minted {
            access,
            refresh,
            record,
        }
    }

    fn tokens_for(&self, minted: Minted, session: Session, key: ManagementKey) -> Tokens {
        Tokens {
            access: minted.access,
            refresh: minted.refresh,
            expires_in: self.options.access_lifetime,
            holder: Holder { session, key },
        }
    }

    /// Returns the license that tokens of a key draw on. The license of a pair that was made for an
    /// app and no license is made with its first token, once, whichever gates are asked at the same
    /// time.
    async fn paying_license(
        &self,
        key: &ManagementKey,
        actor: Actor,
    ) -> Result<Option<LicenseId>, Error> {
        let Some(id) = key.draws_on else {
            return Ok(None);
        };
        if self.licensing.store.license(id).await?.is_some() {
            return Ok(Some(id));
        }
        let made_for = key.app.as_ref().filter(|_| key.license_id.is_none());
        let plans = self.licensing.plans();
        let served = made_for.filter(|app| {
            let terms = plans.app(app);
            terms.is_some_and(|terms| terms.account == key.account)
        });
        let Some(app) = served else {
            return Ok(None);
        };
        let license = License {
            id,
            account: key.account.clone(),
            app: app.clone(),
            status: LicenseStatus::Active,
            created_at: self.licensing.clock.now(),
            spec: LicenseSpec {
                label: Some(format!("tokens of {}", key.id)),
                ..LicenseSpec::default()
            },
        };
        let new = NewLicense {
            license,
            credentials: vec![],
            devices: vec![],
        };
        let now = new.license.created_at;
        let entry = AuditEntry::new(&actor, now, "license.create", id).of(&key.account);
        let entry = entry.between(None::<&Value>, Some(&shown(&new.license)));
        let entries = AuditEntries::of(vec![entry]);
        match self
            .licensing
            .store
            .create_licenses(vec![new], entries)
            .await
        {
            Ok(_) | Err(store::Error::Exists(_)) => Ok(Some(id)),
            Err(error) => Err(error.into()),
        }
    }
}
