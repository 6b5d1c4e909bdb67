//! The verification of keys for every protocol: judged by `licensing`, charged by the gate.

use std::sync::Arc;

use gate::{Holder, Spend};
use licensing::{ApiKeyOwner, ApiKeyView, CachedLicense, KeyRefusal};
use model::{Credential, Mode, Refusal, ResourcePermissions};

use crate::http::fault::Fault;
use crate::http::state::Api;

/// The result of a verification: the key as it is after it, or why it is not valid.
pub(crate) type Verified = Result<VerifiedKey, KeyRefusal>;

/// A key that is valid.
pub(crate) struct VerifiedKey {
    /// The kind of the key.
    pub(crate) kind: KeyKind,
    /// The key as it is shown after this use.
    pub(crate) view: ApiKeyView,
}

/// The way in which a key was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// The key was made as an API key.
    ApiKey,
    /// The key was made with its license, or for it.
    License,
}

/// A question about a key.
pub(crate) struct Verification<'a> {
    /// The owner; keys of others are unknown.
    pub(crate) owner: &'a ApiKeyOwner,
    /// The key.
    pub(crate) key: &'a str,
    /// The permissions that the key must have.
    pub(crate) asked: Option<&'a ResourcePermissions>,
    /// Whether only keys that were made as API keys are valid, as for a protocol that knows no
    /// others.
    pub(crate) only_api_keys: bool,
}

impl Api {
    /// Verifies a key, which spends one unit of it and leaves a record that is durable when this
    /// returns (G1).
    ///
    /// # Errors
    /// Returns faults that are not about the key: the store or the journal are out of reach.
    pub(crate) async fn verify_key(&self, asked: &Verification<'_>) -> Result<Verified, Fault> {
        let entry = match self.spender.look_up(asked.key.as_bytes()).await {
            Ok(entry) => entry,
            Err(Refusal::LicenseUnknown) => return Ok(Err(KeyRefusal::Unknown)),
            Err(refusal) => return Err(fault_of(refusal)),
        };
        if asked.only_api_keys && entry.api_key().is_none() {
            return Ok(Err(KeyRefusal::Unknown));
        }
        let now = self.spender.now();
        let judged = self
            .licensing
            .judge_key(asked.owner, &entry, asked.asked, now);
        let verified = match judged {
            Err(refusal @ (KeyRefusal::Unknown | KeyRefusal::NotPermitted)) => Err(refusal),
            // The gate refuses a key that is switched off or has ended by itself, and records that it did.
            judged => match self.spend_key(asked, &entry).await? {
                Ok(_) if judged.is_err() => {
                    let cause = "the gate let a key pass that is switched off or has ended";
                    return Err(Fault::internal(&cause));
                }
                spent => spent,
            },
        };
        if let Err(refusal) = verified {
            let forgotten = self
                .licensing
                .forget_api_key(&self.api_keys, &entry, refusal);
            forgotten.await?;
        }
        Ok(verified)
    }

    async fn spend_key(
        &self,
        asked: &Verification<'_>,
        entry: &Arc<CachedLicense>,
    ) -> Result<Verified, Fault> {
        let spend = Spend {
            app: asked.owner.app.as_ref(),
            // The one who asks is not the holder of the key, so their address says nothing of it.
            elsewhere: true,
            ..Spend::one(Holder::Found(entry), Mode::Verify)
        };
        match self.spender.spend(spend).await {
            Ok(spent) => {
                let key = Credential::parse(asked.key).ok();
                let start = key.as_ref().map_or("", Credential::visible_prefix);
                let (entry, left) = (&spent.entry, spent.left);
                let used = self
                    .licensing
                    .used_key(entry, start, left, spent.rate, spent.at);
                Ok(Ok(VerifiedKey {
                    kind: match entry.api_key() {
                        Some(_) => KeyKind::ApiKey,
                        None => KeyKind::License,
                    },
                    view: used,
                }))
            }
            Err(refused) => {
                let now = self.spender.now();
                match KeyRefusal::of(refused.refusal, refused.retry_after, entry, now) {
                    Some(refusal) => Ok(Err(refusal)),
                    None => Err(fault_of(refused.refusal)),
                }
            }
        }
    }
}

/// Returns the fault for a refusal that is not about the key.
fn fault_of(refusal: Refusal) -> Fault {
    if refusal.is_ours() && refusal != Refusal::GatewayError {
        tracing::warn!(code = refusal.code(), "an api key cannot be verified");
        Fault::Unavailable
    } else {
        Fault::internal(&format_args!("verifying was refused: {}", refusal.code()))
    }
}
