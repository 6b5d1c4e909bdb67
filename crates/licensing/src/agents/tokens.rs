//! Tokens of agents: licenses that an agent shows.

use std::sync::Arc;

use model::agent::{AgentIdentity, AgentTokenState, CallingAgent, TokenShown};
use model::{
    AccountName, AppName, Credential, License, LicenseId, LicenseStatus, Refusal, Timestamp,
};

use crate::cache::Found;
use crate::error::Error;
use crate::license::CachedLicense;
use crate::licensing::Licensing;
use crate::operations::{KeySource, Minted};

/// What became of a token that was shown.
#[derive(Clone, Debug)]
pub struct AgentTokenFound {
    /// What became of it.
    pub shown: TokenShown,
    /// The license that it is; `None`: it is none of this agent for this app.
    pub license: Option<Arc<CachedLicense>>,
}

impl AgentTokenFound {
    /// Returns the end of the token; `None`: it has none, or there is no token.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        let license = self.license.as_ref()?;
        let ends = [
            license.license().spec.expires_at,
            license.credential().expires_at,
        ];
        ends.into_iter().flatten().min()
    }
}

impl Licensing {
    /// Looks up the token that an agent showed for a call of an app: from memory for most calls, from
    /// the store where it is unknown here. A key of a license that is no agent's, and a token of
    /// another agent or for another app, are unknown.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] if the store fails or is too slow.
    pub async fn agent_token(
        &self,
        presented: Option<&str>,
        (account, app): (&AccountName, &AppName),
        calling: Option<CallingAgent<'_>>,
    ) -> Result<AgentTokenFound, Refusal> {
        let Some(presented) = presented else {
            return Ok(AgentTokenFound {
                shown: TokenShown::None,
                license: None,
            });
        };
        let found = match Credential::parse(presented) {
            Ok(credential) => self.cached_license_of(&credential).await?,
            Err(_) => None,
        };
        let is_own = |found: &Arc<CachedLicense>| {
            let license = found.license();
            let whose = license.spec.agent.as_ref();
            let covers = |whose: &AgentIdentity| calling.is_some_and(|agent| whose.covers(agent));
            whose.is_some_and(|whose| covers(whose)) && license.opens(account, app)
        };
        let license = found.filter(is_own);
        let state = |found: &Arc<CachedLicense>| {
            let credential = found.credential();
            let credential = (credential.status, credential.expires_at);
            AgentTokenState::of(found.license(), credential, self.clock.now())
        };
        Ok(AgentTokenFound {
            shown: license
                .as_ref()
                .map_or(TokenShown::Unknown, |found| TokenShown::Known(state(found))),
            license,
        })
    }

    /// Returns the license of a key, whatever the state of either; `None`: no license has it.
    async fn cached_license_of(
        &self,
        key: &Credential,
    ) -> Result<Option<Arc<CachedLicense>>, Refusal> {
        let (admission, now) = (&self.admission, self.clock.since_boot());
        let hash = self.hasher.hash(key.expose().as_bytes());
        let found = match admission.find(&hash, now) {
            Found::Unread | Found::Unheard => admission.find_after_refresh(&hash, now).await,
            found => found,
        };
        let license = match found {
            Found::Known(license) => license,
            Found::Unknown => return Ok(None),
            Found::Unread | Found::Unheard | Found::Unavailable => {
                return Err(Refusal::LicenseStoreUnavailable);
            }
            Found::Cold => match admission.load(hash).await? {
                Some(license) => license,
                None => return Ok(None),
            },
        };
        admission.with_plan(&hash, license).await.map(Some)
    }

    /// Returns a new secret of a token.
    pub(crate) fn mint_agent_token(&self, now: Timestamp) -> Minted {
        let secret = AgentIdentity::generate_secret();
        let mut minted = self.mint(&KeySource::Import(secret.clone()), now);
        AgentIdentity::KIND.clone_into(&mut minted.new.info.kind);
        minted.new.info.prefix = secret.expose()[..AgentIdentity::VISIBLE].to_owned();
        minted
    }

    /// Refuses a token whose payer is no license of its account that calls can be charged to.
    pub(crate) async fn check_payer(&self, token: &License) -> Result<(), Error> {
        let Some(payer) = token.spec.agent.as_ref().and_then(|agent| agent.payer) else {
            return Ok(());
        };
        let unknown = || payer_refused(payer, "there is no such license of the account");
        let license = match self.license(payer).await {
            Err(Error::LicenseUnknown(_)) => return Err(unknown()),
            found => found?.license,
        };
        if license.account != token.account {
            return Err(unknown());
        }
        let pays = |app: &AppName| license.opens(&token.account, app);
        if license.status == LicenseStatus::Revoked {
            Err(payer_refused(payer, "it is revoked"))
        } else if license.spec.agent.is_some() || license.is_wallet() {
            let why = "it is an agent's token or a wallet: name a license of whoever pays";
            Err(payer_refused(payer, why))
        } else if !pays(&token.app) {
            let why = "it is for another app than the token: name that app for the token";
            Err(payer_refused(payer, why))
        } else {
            Ok(())
        }
    }
}

fn payer_refused(payer: LicenseId, why: &str) -> Error {
    Error::invalid("payer", format!("{payer} cannot pay for the token: {why}"))
}
