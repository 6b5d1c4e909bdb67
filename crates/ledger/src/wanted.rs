//! The events of calls that somebody wants to be told of: a small copy of what the webhooks of the
//! store say, which is at most a second old.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{AccountName, AppName, EventType, Webhook, WebhookState};
use store::{Error as StoreError, Store, WebhookFilter};

use crate::error::Error;
use crate::prices::BlockingStore;

/// The age from which on the copy is made anew.
const MAX_AGE: Duration = Duration::from_secs(1);
/// The number of webhooks that the store is asked for at once.
const PAGE: usize = 1_000;

/// The events of calls that webhooks want.
#[derive(Debug, Default)]
pub(crate) struct Wanted(Vec<Wish>);

/// The wish of a webhook.
#[derive(Debug)]
struct Wish {
    account: AccountName,
    /// The app; `None`: every app of the account.
    app: Option<AppName>,
    kinds: Kinds,
}

/// The types of events that are made of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds {
    /// A license was validated.
    pub(crate) validated: bool,
    /// A license was used for the first time.
    pub(crate) first_use: bool,
    /// The quota of a license goes to its end.
    pub(crate) quota: bool,
}

/// The copy, and when it was made. Of several threads that find it too old one makes it anew, and
/// the others wait.
#[derive(Debug, Default)]
pub(crate) struct WantedCache(Mutex<Option<(Instant, Arc<Wanted>)>>);

impl WantedCache {
    /// Returns what is wanted.
    ///
    /// # Errors
    /// Returns an error when the store does not answer. One that keeps no webhooks wants nothing.
    pub(crate) fn get(&self, store: &BlockingStore) -> Result<Arc<Wanted>, Error> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, wanted)) = &*known
            && at.elapsed() < MAX_AGE
        {
            return Ok(Arc::clone(wanted));
        }
        let begun = Instant::now();
        let wanted = Arc::new(store.ask(|store| async move { Wanted::read(&*store).await })?);
        *known = Some((begun, Arc::clone(&wanted)));
        Ok(wanted)
    }
}

impl Wanted {
    async fn read(store: &dyn Store) -> Result<Self, StoreError> {
        let Ok(hooks) = store.webhooks() else {
            return Ok(Self::default());
        };
        let (mut wishes, mut after) = (Vec::new(), None);
        loop {
            let page = hooks
                .webhooks(WebhookFilter::default(), after, PAGE)
                .await?;
            after = page.last().map(|webhook| webhook.id);
            let is_last = page.len() < PAGE;
            wishes.extend(page.into_iter().filter_map(Wish::of));
            if is_last {
                return Ok(Self(wishes));
            }
        }
    }

    /// Returns whether nobody wants anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what is wanted of the calls of an app.
    pub(crate) fn of(&self, account: &AccountName, app: &AppName) -> Kinds {
        let of_app = |wish: &&Wish| wish.app.as_ref().is_none_or(|wanted| wanted == app);
        let wishes = self.0.iter().filter(|wish| wish.account == *account);
        wishes
            .filter(of_app)
            .fold(Kinds::default(), |all, wish| all.and(wish.kinds))
    }
}

impl Wish {
    /// Returns the wish of a webhook; `None`: it gets no events of calls.
    fn of(webhook: Webhook) -> Option<Self> {
        let kinds = Kinds {
            validated: webhook.gets(EventType::LicenseValidated),
            first_use: webhook.gets(EventType::LicenseFirstUsed),
            quota: webhook.gets(EventType::QuotaLow) || webhook.gets(EventType::QuotaExhausted),
        };
        let wants = kinds != Kinds::default() && webhook.state != WebhookState::Unproven;
        wants.then_some(Self {
            account: webhook.account,
            app: webhook.app,
            kinds,
        })
    }
}

impl Kinds {
    const fn and(self, other: Self) -> Self {
        Self {
            validated: self.validated || other.validated,
            first_use: self.first_use || other.first_use,
            quota: self.quota || other.quota,
        }
    }
}
