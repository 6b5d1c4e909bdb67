//! The services that the handlers of every protocol share.

use std::path::Path;
use std::sync::Arc;

use gate::Spender;
use licensing::sessions::SessionError;
use licensing::{AuditedLicensing, Licensing, Sessions, may_use_from};
use model::{Actor, Timestamp};
use store::ManagementKey;
use webhooks::AuditedWebhooks;

use crate::http::caller::Caller;
use crate::http::client::Client;
use crate::http::fault::{Denied, Fault};
use crate::http::state::{Api, AppDirectory, ControlState};
use crate::http::throttle::Attempts;

/// The services behind the protocols. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Services(Arc<Api>);

impl Services {
    /// Returns the services over a state.
    #[must_use]
    pub fn new(state: ControlState) -> Self {
        Self(Arc::new(Api::new(state)))
    }

    pub(crate) fn api(&self) -> &Arc<Api> {
        &self.0
    }

    /// Returns the operations on licenses, keys and all that belongs to them.
    #[must_use]
    pub fn licensing(&self) -> &Arc<Licensing> {
        &self.0.licensing
    }

    /// Returns the charging of calls that are not forwarded, with checks that charge nothing.
    #[must_use]
    pub fn spender(&self) -> &Arc<Spender> {
        &self.0.spender
    }

    /// Returns the operations on sessions.
    #[must_use]
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.0.sessions
    }

    /// Returns the operations on webhooks in the name of the caller, which the audit log keeps.
    #[must_use]
    pub fn acting_on_webhooks(&self, caller: &Caller, client: &Client) -> AuditedWebhooks {
        self.0.webhooks.acting(caller.actor(client))
    }

    /// Returns how many wrong credentials the client's address may still present.
    #[must_use]
    pub fn attempts(&self, client: &Client) -> Attempts {
        self.0.throttle.left(client.guesser(), self.0.clock.now())
    }

    /// Returns the operations in the name of the caller, which the audit log keeps.
    #[must_use]
    pub fn acting(&self, caller: &Caller, client: &Client) -> AuditedLicensing {
        self.0.licensing.acting(caller.actor(client))
    }

    /// Returns the apps and plans of the configuration.
    #[must_use]
    pub fn directory(&self) -> &AppDirectory {
        &self.0.directory
    }

    /// Returns the path of the Unix socket on which the data plane listens for calls by rpc.
    pub(crate) fn rpc_socket(&self) -> &Path {
        &self.0.rpc_socket
    }

    /// Returns the time of the state's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Checks that the client's address may try a credential. To be called before the credential is
    /// judged.
    ///
    /// # Errors
    /// Returns [`Denied::Throttled`] if the address failed too often lately.
    pub fn may_try(&self, client: &Client) -> Result<(), Denied> {
        self.0.may_try(client)
    }

    /// Counts a failed credential of this client, and adds it to the audit log.
    pub fn failed(&self, client: &Client) {
        self.0.failed(client);
    }

    /// Returns the holder of the management key that a request presents, wherever its protocol puts
    /// it.
    ///
    /// # Errors
    /// Returns [`Fault::Denied`] without a key, for one that is unknown or has ended (alike), and
    /// for an address with too many failures; [`Fault::Unavailable`] without a store.
    pub async fn authenticate(
        &self,
        client: &Client,
        presented: Option<&str>,
    ) -> Result<Caller, Fault> {
        self.0.authenticate(client, presented).await
    }

    /// Returns the holder of the management key or of the access token that a request presents; a
    /// key pair is exchanged for such a token.
    ///
    /// # Errors
    /// Returns the errors of [`authenticate`](Self::authenticate).
    pub async fn authenticate_owner(
        &self,
        client: &Client,
        presented: Option<&str>,
    ) -> Result<Caller, Fault> {
        let token = presented.filter(|text| model::is_access_token(text.as_bytes()));
        let Some(token) = token else {
            return self.authenticate(client, presented).await;
        };
        let check = async {
            match self.0.sessions.authenticate(token, client.address).await {
                Ok(holder) => self.0.holder(holder.key).await,
                Err(SessionError::InvalidToken) => Ok(None),
                Err(SessionError::Failed(error)) => Err(error.into()),
                // The token was valid once, so this is no guess.
                Err(_) => Err(Fault::from(Denied::Wrong)),
            }
        };
        self.0.credential(client, check).await
    }

    /// Returns what a credential of any other kind stands for, throttled as management keys are:
    /// `check` is polled only if the address may try, and its `None` counts as a failure of the
    /// address.
    ///
    /// # Errors
    /// Returns the errors of [`authenticate`](Self::authenticate), and those of `check`.
    pub async fn credential<T, E: Into<Fault>>(
        &self,
        client: &Client,
        check: impl Future<Output = Result<Option<T>, E>>,
    ) -> Result<T, Fault> {
        self.0.credential(client, check).await
    }
}

impl Api {
    pub(crate) async fn authenticate(
        &self,
        client: &Client,
        presented: Option<&str>,
    ) -> Result<Caller, Fault> {
        // A throttled client learns nothing more, not even that it sent no key.
        let check = async {
            let presented = presented.ok_or(Denied::Missing)?;
            let found = self.licensing.authenticate(presented).await;
            let found = found.map_err(Fault::from)?;
            match found.filter(|key| may_use_from(key, client.address)) {
                Some(key) => self.holder(key).await,
                None => Ok(None),
            }
        };
        self.credential(client, check).await
    }

    /// Returns the holder of a management key. A key for one license sees the app of that license,
    /// which older keys do not name, and no other. Returns `None` if the license is gone.
    async fn holder(&self, mut key: ManagementKey) -> Result<Option<Caller>, Fault> {
        if let (Some(id), None) = (key.license_id, &key.app) {
            let license = match self.licensing.license(id).await {
                Err(licensing::Error::LicenseUnknown(_)) => return Ok(None),
                found => found?.license,
            };
            key.app = Some(license.app).filter(|app| !app.is_every());
        }
        Ok(Some(Caller::Key(Arc::new(key))))
    }

    async fn credential<T, E: Into<Fault>>(
        &self,
        client: &Client,
        check: impl Future<Output = Result<Option<T>, E>>,
    ) -> Result<T, Fault> {
        self.may_try(client)?;
        if let Some(found) = check.await.map_err(Into::into)? {
            return Ok(found);
        }
        self.failed(client);
        Err(Denied::Wrong.into())
    }

    fn may_try(&self, client: &Client) -> Result<(), Denied> {
        let Some(address) = client.guesser() else {
            return Ok(());
        };
        let admitted = self.throttle.admit(address, self.clock.now());
        admitted.map_err(|wait| Denied::Throttled { wait })
    }

    fn failed(&self, client: &Client) {
        if let Some(address) = client.guesser() {
            self.throttle.failed(address, self.clock.now());
        }
        self.licensing.audit_denied(Actor::unknown(client.address));
    }
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Services").finish()
    }
}
