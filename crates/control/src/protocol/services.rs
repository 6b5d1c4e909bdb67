//! What the handlers of every protocol work with.

use std::sync::Arc;

use gate::Spender;
use licensing::Licensing;
use model::Timestamp;

use super::client::Client;
use super::fault::{Denied, Fault};
use crate::caller::Caller;
use crate::state::{Api, AppDirectory, ControlState};

/// The services behind the protocols. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Services(Arc<Api>);

impl Services {
    /// The services over a state.
    #[must_use]
    pub fn new(state: ControlState) -> Self {
        Self(Arc::new(Api::new(state)))
    }

    pub(crate) fn api(&self) -> &Arc<Api> {
        &self.0
    }

    /// The operations on licenses, keys and all that belongs to them.
    #[must_use]
    pub fn licensing(&self) -> &Arc<Licensing> {
        &self.0.licensing
    }

    /// Spending what is not forwarded, and checks that spend nothing.
    #[must_use]
    pub fn spender(&self) -> &Arc<Spender> {
        &self.0.spender
    }

    /// The apps and plans of the configuration.
    #[must_use]
    pub fn directory(&self) -> &AppDirectory {
        &self.0.directory
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The holder of the management key that a request presents, wherever its protocol puts it.
    ///
    /// # Errors
    /// [`Fault::Denied`] without a key, for one that is unknown or has ended (alike), and for an address with too many
    /// failures; [`Fault::Unavailable`] without a store.
    pub async fn authenticate(
        &self,
        client: &Client,
        presented: Option<&str>,
    ) -> Result<Caller, Fault> {
        self.0.authenticate(client, presented).await
    }

    /// What a credential of any other kind stands for, throttled like management keys are: `check` is asked only if the
    /// address may try, and its `None` is a failure of the address.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate), and those of `check`.
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
        // Whoever is throttled learns nothing more, not even that they sent no key.
        let check = async {
            let presented = presented.ok_or(Denied::Missing)?;
            let found = self.licensing.authenticate(presented).await;
            found.map_err(Fault::from)
        };
        let key = self.credential(client, check).await?;
        Ok(Caller::Key(Arc::new(key)))
    }

    async fn credential<T, E: Into<Fault>>(
        &self,
        client: &Client,
        check: impl Future<Output = Result<Option<T>, E>>,
    ) -> Result<T, Fault> {
        let now = self.clock.now();
        if let Some(address) = client.address {
            let admitted = self.throttle.admit(address, now);
            admitted.map_err(|wait| Denied::Throttled { wait })?;
        }
        if let Some(found) = check.await.map_err(Into::into)? {
            return Ok(found);
        }
        if let Some(address) = client.address {
            self.throttle.failed(address, now);
        }
        Err(Denied::Wrong.into())
    }
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Services").finish()
    }
}
