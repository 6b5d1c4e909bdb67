//! Verifying an API key, for whoever asks by whichever protocol: judged by `licensing`, spent by the gate.

use gate::{Holder, Spend};
use licensing::{ApiKeyOwner, ApiKeyView, Entry, KeyRefusal};
use model::{Mode, Refusal, ResourcePermissions};

use crate::protocol::Fault;
use crate::state::Api;

/// What a verification says: the key as it is after it, or why it is not valid.
pub(crate) type Verified = Result<ApiKeyView, KeyRefusal>;

impl Api {
    /// Verifies a key, which spends one unit of it and leaves a record that is durable when this returns (G1).
    ///
    /// # Errors
    /// What is not about the key: the store or the journal are out of reach.
    pub(crate) async fn verify_key(
        &self,
        owner: &ApiKeyOwner,
        key: &str,
        asked: Option<&ResourcePermissions>,
    ) -> Result<Verified, Fault> {
        let entry = match self.spender.look_up(key.as_bytes()).await {
            Ok(entry) => entry,
            Err(Refusal::LicenseUnknown) => return Ok(Err(KeyRefusal::Unknown)),
            Err(refusal) => return Err(trouble(refusal)),
        };
        let now = self.spender.now();
        let judged = self.licensing.judge_api_key(owner, &entry, asked, now);
        let verified = match judged {
            Err(refusal @ (KeyRefusal::Unknown | KeyRefusal::NotPermitted)) => Err(refusal),
            // The gate refuses a key that is switched off or has ended by itself, and records that it did.
            judged => match self.spend_key(owner, &entry).await? {
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
        owner: &ApiKeyOwner,
        entry: &std::sync::Arc<Entry>,
    ) -> Result<Verified, Fault> {
        let spend = Spend {
            app: owner.app.as_ref(),
            ..Spend::one(Holder::Entry(entry), Mode::Verify)
        };
        match self.spender.spend(spend).await {
            Ok(spent) => {
                let view =
                    self.licensing
                        .used_api_key(&spent.entry, spent.left, spent.rate, spent.at);
                Ok(view.ok_or(KeyRefusal::Unknown))
            }
            Err(refused) => {
                let now = self.spender.now();
                match KeyRefusal::of(refused.refusal, refused.retry_after, entry, now) {
                    Some(refusal) => Ok(Err(refusal)),
                    None => Err(trouble(refused.refusal)),
                }
            }
        }
    }
}

/// A refusal that is not about the key.
fn trouble(refusal: Refusal) -> Fault {
    if refusal.is_ours() && refusal != Refusal::GatewayError {
        tracing::warn!(code = refusal.code(), "an api key cannot be verified");
        Fault::Unavailable
    } else {
        Fault::internal(&format_args!("verifying was refused: {}", refusal.code()))
    }
}
