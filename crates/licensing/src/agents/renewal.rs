//! Tokens of agents that are renewed by the agents themselves: each has a refresh token beside it,
//! which gives the next two.
//!
//! The store keeps no refresh token. Its text names the license and the credential that it came
//! with, and is signed with the key of the store; it is good as long as that credential is the
//! newest of the license, so that it is used once.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::agent::AgentIdentity;
use model::{
    AccountName, AppName, Credential, CredentialId, CredentialStatus, KeyFormat, KeyHash,
    LicenseId, LicenseSpec, LicenseStatus, LicenseUpdate, Timestamp,
};
use sha2::{Digest, Sha256};
use store::{ClaimKind, StoredLicense};

use crate::error::Error;
use crate::licensing::Licensing;
use crate::operations::{
    AuditedLicensing, Idempotency, IdempotentRequest, IssueRequest, Issued, after,
};

/// A token of an agent with the one that renews it, both shown this once.
#[derive(Clone, Debug)]
pub struct AgentTokens {
    /// The license that the token is.
    pub license: StoredLicense,
    /// The token.
    pub token: Credential,
    /// The time from now after which it ends.
    pub expires_in: Duration,
    /// The token that renews it.
    pub refresh: AgentRefreshToken,
}

/// A token that renews an agent's, once. Its text shows in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentRefreshToken(String);

/// What a refresh token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    license: LicenseId,
    /// The credential that it came with.
    credential: CredentialId,
}

/// The bytes of a license and a credential.
const NAMED_BYTES: usize = 32;
/// The context that separates refresh tokens from other uses of the keyring.
const CONTEXT: &[u8] = b"tallygate agent refresh token 1\0";

// === impl AgentTokens ===

impl AgentTokens {
    /// The life of a token that its agent renews.
    pub const LIFETIME: Duration = Duration::from_secs(86_400);
    /// The time for which a token that was renewed stays good, for calls under way.
    const OVERLAP: Duration = Duration::from_secs(60);
    /// The time for which a use of a refresh token is remembered. Later it names a credential that
    /// is not the newest.
    const REMEMBERED: Duration = Duration::from_secs(600);
}

// === impl AgentRefreshToken ===

impl AgentRefreshToken {
    /// The beginning of every refresh token.
    const PREFIX: &'static str = "art_";

    /// Returns the text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for AgentRefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AgentRefreshToken(redacted)")
    }
}

impl Licensing {
    fn refresh_token(&self, named: Named) -> AgentRefreshToken {
        let bytes = named.bytes();
        let hash = self.refresh_hash(&bytes);
        let text = URL_SAFE_NO_PAD.encode([&bytes[..], hash.as_bytes()].concat());
        AgentRefreshToken(format!("{}{text}", AgentRefreshToken::PREFIX))
    }

    /// Returns what a refresh token names; `None`: no gate of this store made it.
    fn read_refresh_token(&self, text: &str) -> Option<Named> {
        let text = text.strip_prefix(AgentRefreshToken::PREFIX)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (named, hash) = bytes.split_at_checked(NAMED_BYTES)?;
        let hash = KeyHash::from_bytes(hash.try_into().ok()?);
        let is_ours = self.refresh_hash(named).matches(&hash);
        is_ours.then(|| Named::of(named))?
    }

    fn refresh_hash(&self, named: &[u8]) -> KeyHash {
        let mut hasher = Sha256::new();
        hasher.update(CONTEXT);
        hasher.update(named);
        self.hasher.hash_digest(&hasher.finalize().into())
    }
}

impl AuditedLicensing {
    /// Registers an agent with an account: makes a token that it renews itself.
    ///
    /// # Errors
    /// The errors of [`AuditedLicensing::issue`].
    pub async fn register_agent(
        &self,
        account: &AccountName,
        app: AppName,
        identity: AgentIdentity,
        label: String,
    ) -> Result<AgentTokens, Error> {
        let spec = LicenseSpec {
            label: Some(label),
            expires_at: Some(self.next_end()),
            agent: Some(Box::new(identity)),
            ..LicenseSpec::default()
        };
        let request = IssueRequest {
            account: Some(account.clone()),
            spec,
            ..IssueRequest::for_app(app)
        };
        let mut issued = self.issue(request).await?;
        let issued = issued.pop().expect("one was asked for");
        Ok(self.granted(issued))
    }

    /// Renews the token of an agent. The one before stays good for a minute. `of`: the license that
    /// it must be of; `None`: any. Returns `None` for a refresh token that is unknown or used, and
    /// for one of a license that was disabled or revoked.
    ///
    /// # Errors
    /// The store fails. The same refresh token may be sent again.
    pub async fn renew_agent_token(
        &self,
        refresh: &str,
        of: Option<LicenseId>,
    ) -> Result<Option<AgentTokens>, Error> {
        let named = self.read_refresh_token(refresh);
        let Some(named) = named.filter(|named| of.is_none_or(|of| of == named.license)) else {
            return Ok(None);
        };
        let request = IdempotentRequest {
            kind: ClaimKind::RefreshToken,
            name: &[CONTEXT, &named.bytes()],
            content: &[],
            reference: 0,
            prepared: None,
            waits_for_disk: true,
            lifetime: AgentTokens::REMEMBERED,
            dead: &[],
        };
        let Idempotency::Run(claim) = self.once(&request).await? else {
            return Ok(None);
        };
        let stored = match self.license(named.license).await {
            Err(Error::LicenseUnknown(_)) => return Ok(None),
            stored => stored?,
        };
        if !is_newest(&stored, named.credential) {
            return Ok(None);
        }
        let update = LicenseUpdate {
            expires_at: Some(Some(self.next_end())),
            ..LicenseUpdate::default()
        };
        self.change(named.license, update).await?;
        let overlap = AgentTokens::OVERLAP;
        let issued = self
            .rotate(named.license, overlap, KeyFormat::Tallygate)
            .await?;
        // Without it the next who tries finds that the credential is not the newest any more.
        if let Err(error) = self.finish_once(claim, Vec::new()).await {
            tracing::debug!(%error, "the use of a refresh token is not noted");
        }
        Ok(Some(self.granted(issued)))
    }

    fn next_end(&self) -> Timestamp {
        after(self.clock.now(), AgentTokens::LIFETIME)
    }

    fn granted(&self, issued: Issued) -> AgentTokens {
        let named = Named {
            license: issued.license.license.id,
            credential: issued.credential_id,
        };
        AgentTokens {
            token: issued.credential.expect("a generated key is known"),
            license: issued.license,
            expires_in: AgentTokens::LIFETIME,
            refresh: self.refresh_token(named),
        }
    }
}

/// Returns whether a credential of a token that may be used is the newest one. A token that has
/// ended may be renewed: that is what its refresh token is for.
fn is_newest(stored: &StoredLicense, credential: CredentialId) -> bool {
    let is_token = stored.license.spec.agent.is_some();
    let is_on = stored.license.status == LicenseStatus::Active;
    let newest = stored
        .credentials
        .iter()
        .max_by_key(|info| (info.created_at, info.id));
    let is_it =
        newest.is_some_and(|info| info.id == credential && info.status == CredentialStatus::Active);
    is_token && is_on && is_it
}

// === impl Named ===

impl Named {
    fn bytes(self) -> [u8; NAMED_BYTES] {
        let mut bytes = [0; NAMED_BYTES];
        bytes[..16].copy_from_slice(&self.license.as_u128().to_be_bytes());
        bytes[16..].copy_from_slice(&self.credential.as_u128().to_be_bytes());
        bytes
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let (license, credential) = bytes.split_at_checked(16)?;
        let bits = |bytes: &[u8]| Some(u128::from_be_bytes(bytes.try_into().ok()?));
        Some(Self {
            license: LicenseId::from_u128(bits(license)?),
            credential: CredentialId::from_u128(bits(credential)?),
        })
    }
}
