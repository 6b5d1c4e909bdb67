//! Apps as the software that is sold with them knows them: by an id, with what their sellers decide
//! while they run, in memory, so that a validation asks the store for none of it.
//!
//! Settings are numbered by the store in the order of their changes. The gate that made a change
//! has it at once, others with the next reading. Nothing is read before somebody asks.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use model::{AccountName, AppId, AppName, AppSettings, KeyHasher};
use parking_lot::Mutex;
use store::{Store, StoredAppSettings};
use tokio::time::Instant;

use super::shared_read::SharedRead;
use super::terms::SoftwareTerms;
use crate::error::Error;
use crate::numbered::NumberedRows;
use crate::plans::CurrentPlans;

/// An app as the software that is sold with it knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoftwareApp {
    /// The app.
    pub app: AppName,
    /// The account that sells it.
    pub account: AccountName,
    /// Its own id.
    pub id: AppId,
    /// What its seller decided.
    pub settings: Arc<AppSettings>,
    /// The number of the last change of the settings; 0: none were made.
    pub number: u64,
    /// The terms of the configuration.
    pub terms: SoftwareTerms,
}

/// The apps of the configuration with their settings.
pub(crate) struct SoftwareApps {
    store: Arc<dyn Store>,
    hasher: KeyHasher,
    plans: Arc<CurrentPlans>,
    known: ArcSwap<Known>,
    /// Held while the store is read, so that a slower reader never puts back older settings.
    reading: tokio::sync::Mutex<()>,
    /// The read for ids that are not known here.
    for_unknown: SharedRead,
    /// The turns of those who change the settings of an app.
    turns: Mutex<HashMap<AppName, Turn>>,
}

/// The turn to change the settings of an app, held by one after the other.
pub(super) type Turn = Arc<tokio::sync::Mutex<()>>;

/// What was read so far.
#[derive(Clone, Default)]
struct Known {
    /// The serial of the plans that the apps were taken from; `None`: nothing was read yet.
    serial: Option<u32>,
    settings: NumberedRows<StoredAppSettings>,
    by_name: HashMap<AppName, Arc<SoftwareApp>>,
    /// The apps by their own ids and by those that were imported.
    by_id: HashMap<String, Arc<SoftwareApp>>,
}

impl SoftwareApp {
    /// Returns the id by which software knows the app: the imported one, if there is one.
    #[must_use]
    pub fn shown_id(&self) -> String {
        match &self.settings.imported_id {
            Some(imported) => imported.clone(),
            None => self.id.to_string(),
        }
    }

    /// Returns whether the software is switched off.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.settings.disabled_at.is_some()
    }
}

impl SoftwareApps {
    pub(crate) fn new(store: Arc<dyn Store>, hasher: KeyHasher, plans: Arc<CurrentPlans>) -> Self {
        Self {
            store,
            hasher,
            plans,
            known: ArcSwap::default(),
            reading: tokio::sync::Mutex::default(),
            for_unknown: SharedRead::default(),
            turns: Mutex::default(),
        }
    }

    /// Returns the app that software knows by an id; `None`: there is none. Another gate may have
    /// imported the id, so that the store is asked for one that is not known here.
    ///
    /// # Errors
    /// The settings have to be read, and the store fails.
    pub(crate) async fn by_id(&self, id: &str) -> Result<Option<Arc<SoftwareApp>>, Error> {
        let came = Instant::now();
        if let Some(app) = self.known().await?.by_id.get(id) {
            return Ok(Some(app.clone()));
        }
        self.for_unknown.since(came, self.read()).await?;
        Ok(self.known().await?.by_id.get(id).cloned())
    }

    /// Returns an app of the configuration.
    ///
    /// # Errors
    /// There is no such app; the settings were not read yet, and the store fails.
    pub(crate) async fn by_name(&self, app: &AppName) -> Result<Arc<SoftwareApp>, Error> {
        let known = self.known().await?;
        let found = known.by_name.get(app).cloned();
        found.ok_or_else(|| Error::AppUnknown(app.clone()))
    }

    /// Returns the turn to change the settings of an app of the configuration.
    pub(super) fn turn(&self, app: &AppName) -> Turn {
        self.turns.lock().entry(app.clone()).or_default().clone()
    }

    async fn known(&self) -> Result<Arc<Known>, Error> {
        let known = self.known.load_full();
        if known.serial == Some(self.plans.serial()) {
            return Ok(known);
        }
        if known.serial.is_some() {
            // Only the apps of the configuration are others now.
            let _alone = self.reading.lock().await;
            self.put(Known::clone(&self.known.load()));
        } else {
            self.read().await?;
        }
        Ok(self.known.load_full())
    }

    /// Reads the settings that are new since the last time. Returns the apps that have some.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn read(&self) -> Result<Vec<AppName>, Error> {
        let _alone = self.reading.lock().await;
        let mut known = Known::clone(&self.known.load());
        let changed = known.settings.read(&*self.store).await?;
        if !changed.is_empty() || known.serial.is_none() {
            self.put(known);
        }
        Ok(changed)
    }

    /// Takes in settings that this gate kept.
    pub(crate) async fn learn(&self, stored: StoredAppSettings) {
        let _alone = self.reading.lock().await;
        let mut known = Known::clone(&self.known.load());
        if known.settings.learn(stored) {
            self.put(known);
        }
    }

    /// Returns whether settings were read, because somebody asked, so that they have to be followed.
    pub(crate) fn is_read(&self) -> bool {
        self.known.load().serial.is_some()
    }

    /// Returns the app at a place among those that are known, which begin again at the end.
    pub(crate) fn at(&self, place: usize) -> Option<AppName> {
        let known = self.known.load();
        let mut names: Vec<_> = known.by_name.keys().collect();
        names.sort_unstable();
        names
            .get(place.checked_rem(names.len())?)
            .map(|&app| app.clone())
    }

    /// Makes the apps of the present configuration, and puts them in force.
    fn put(&self, mut known: Known) {
        let serial = self.plans.serial();
        let plans = self.plans.load();
        (known.by_name, known.by_id) = (HashMap::new(), HashMap::new());
        let mut apps: Vec<_> = plans.apps().collect();
        apps.sort_unstable_by(|one, other| one.app.cmp(&other.app));
        for terms in apps {
            let stored = known.settings.get(&terms.app);
            let app = Arc::new(SoftwareApp {
                app: terms.app.clone(),
                account: terms.account.clone(),
                id: app_id(&self.hasher, &terms.app),
                settings: Arc::new(
                    stored.map_or_else(AppSettings::default, |stored| stored.settings.clone()),
                ),
                number: stored.map_or(0, |stored| stored.number),
                terms: terms.software.clone(),
            });
            known.by_name.insert(app.app.clone(), app.clone());
            known.by_id.insert(app.id.to_string(), app.clone());
            // Of two apps with the same imported id the first by name has it, as long as both do.
            if let Some(imported) = &app.settings.imported_id {
                known.by_id.entry(imported.clone()).or_insert(app);
            }
        }
        known.serial = Some(serial);
        self.known.store(Arc::new(known));
    }
}

/// Returns the id of an app. It is derived from its name with the store's key, so that it is the
/// same on every gate and after every start.
pub(crate) fn app_id(hasher: &KeyHasher, app: &AppName) -> AppId {
    // No credential holds a NUL, so no credential has this hash.
    let hash = hasher.hash(format!("app id\0{app}").as_bytes());
    let (first, _) = hash
        .as_bytes()
        .split_first_chunk()
        .expect("a hash is longer than an id");
    AppId::from_u128(u128::from_be_bytes(*first))
}
