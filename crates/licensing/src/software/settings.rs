//! The operations on what sellers decide about their software while it runs.

use std::sync::Arc;
use std::time::Duration;

use model::{AppName, AppSettings, SecurityLists};
use store::{AuditEntries, StoredAppSettings};
use tokio::time::{Instant, timeout_at};

use super::apps::SoftwareApp;
use super::shown_settings::shown;
use crate::error::Error;
use crate::licensing::Licensing;
use crate::operations::AuditedLicensing;

/// The time for which a change waits for its turn, and begins again because another gate was faster.
const PATIENCE: Duration = Duration::from_secs(10);

impl Licensing {
    /// Returns the app that software knows by an id, its own or an imported one; `None`: there is
    /// none. Waits for the store only if nothing was asked for yet.
    ///
    /// # Errors
    /// The store fails.
    pub async fn software_app(&self, id: &str) -> Result<Option<Arc<SoftwareApp>>, Error> {
        self.software_apps.by_id(id).await
    }

    /// Returns an app of the configuration as its software knows it.
    ///
    /// # Errors
    /// There is no such app, or the store fails.
    pub async fn software_app_named(&self, app: &AppName) -> Result<Arc<SoftwareApp>, Error> {
        self.software_apps.by_name(app).await
    }
}

impl Licensing {
    /// Follows what changes about software for ever, from when somebody asked for an app: settings
    /// that other gates changed, and the secrets of their apps. Beside them the secrets of one app
    /// after the other are read again, in case a gate died before it could tell.
    pub(crate) async fn follow_software(&self) {
        let mut turn = 0_usize;
        loop {
            tokio::time::sleep(self.change_poll).await;
            if !self.software_apps.is_read() {
                continue;
            }
            let followed = async {
                for app in self.software_apps.read().await? {
                    self.read_app_secrets(&app).await?;
                }
                if let Some(app) = self.software_apps.at(turn) {
                    self.read_app_secrets(&app).await?;
                }
                Ok::<_, Error>(())
            };
            if let Err(error) = followed.await {
                tracing::debug!(%error, "the settings of apps cannot be read");
            }
            turn = turn.wrapping_add(1);
        }
    }
}

impl AuditedLicensing {
    /// Switches the software of an app on, or off: then nobody can validate a license of it. In
    /// force here when this returns, on other gates with their next reading.
    ///
    /// # Errors
    /// There is no such app, or the store fails.
    pub async fn switch_software(
        &self,
        app: &AppName,
        enabled: bool,
    ) -> Result<Arc<SoftwareApp>, Error> {
        let now = self.clock.now();
        let change = |settings: &mut AppSettings| {
            settings.disabled_at = match enabled {
                true => None,
                false => settings.disabled_at.or(Some(now)),
            };
            Ok(())
        };
        self.change_app_settings(app, change).await
    }

    /// Changes what the seller of an app decided. `change` may run several times, on the settings
    /// as the store has them then; what it makes is in force here when this returns, and on other
    /// gates with their next reading. Settings that stay as they are are not written. The changes
    /// of an app that come to this gate at once are made one after the other.
    ///
    /// # Errors
    /// There is no such app, `change` refuses, a list is too long, the imported id is another
    /// app's, so many change the settings at once that its turn does not come within ten seconds,
    /// or the store fails.
    pub async fn change_app_settings(
        &self,
        app: &AppName,
        change: impl Fn(&mut AppSettings) -> Result<(), Error>,
    ) -> Result<Arc<SoftwareApp>, Error> {
        self.software_apps.by_name(app).await?;
        let until = Instant::now() + PATIENCE;
        let busy = || Error::SettingsBusy(app.clone());
        let turn = self.software_apps.turn(app);
        let _turn = timeout_at(until, turn.lock()).await.map_err(|_| busy())?;
        loop {
            // By what is known here, which may be old, a change may seem to be none.
            self.software_apps.read().await?;
            let before = self.software_apps.by_name(app).await?;
            let mut settings = AppSettings::clone(&before.settings);
            change(&mut settings)?;
            settings.security.remove_repeats();
            if settings == *before.settings {
                return Ok(before);
            }
            self.check_settings(app, &settings).await?;
            if self.keep_settings(&before, settings).await? {
                return self.software_apps.by_name(app).await;
            }
            // Another gate was faster. Two that go on at once would meet again.
            if Instant::now() >= until {
                return Err(busy());
            }
            tokio::time::sleep(pause()).await;
        }
    }

    async fn keep_settings(
        &self,
        before: &SoftwareApp,
        settings: AppSettings,
    ) -> Result<bool, Error> {
        let line = self
            .own_audit_writer()
            .line("app-settings.change", &before.app);
        let line = line.of(&before.account);
        let (old, new) = shown(&before.settings, &settings);
        let entries = AuditEntries::of(vec![line.between(Some(&old), Some(&new))]);
        let software = self.store.software()?;
        let put = software.put_app_settings(&before.app, before.number, settings.clone(), entries);
        let Some(number) = put.await? else {
            return Ok(false);
        };
        let stored = StoredAppSettings {
            app: before.app.clone(),
            number,
            settings,
        };
        self.software_apps.learn(stored).await;
        Ok(true)
    }

    async fn check_settings(&self, app: &AppName, settings: &AppSettings) -> Result<(), Error> {
        check_lists(&settings.security)?;
        let Some(imported) = &settings.imported_id else {
            return Ok(());
        };
        let visible = imported.bytes().all(|byte| byte.is_ascii_graphic());
        if !(1..=128).contains(&imported.len()) || !visible {
            let reason = "an app id has 1 to 128 visible ASCII characters";
            return Err(Error::invalid("app_id", reason));
        }
        match self.software_apps.by_id(imported).await? {
            Some(other) if other.app != *app => {
                Err(Error::invalid("app_id", "it is the id of another app"))
            }
            _ => Ok(()),
        }
    }

    /// Makes other gates read the secrets of an app again. If they cannot be told, they learn of a
    /// new secret when it is presented, and of the end of another within a while.
    pub(crate) async fn announce_app_secret(&self, app: &AppName) {
        let announced = async {
            let Ok(software) = self.store.software() else {
                return Ok(());
            };
            let until = Instant::now() + PATIENCE;
            let turn = self.software_apps.turn(app);
            let Ok(_turn) = timeout_at(until, turn.lock()).await else {
                return Err(Error::SettingsBusy(app.clone()));
            };
            loop {
                self.software_apps.read().await?;
                let known = self.software_apps.by_name(app).await?;
                let settings = AppSettings::clone(&known.settings);
                let entries = AuditEntries::none();
                let put = software.put_app_settings(app, known.number, settings, entries);
                if put.await?.is_some() {
                    return Ok(());
                }
                if Instant::now() >= until {
                    return Err(Error::SettingsBusy(app.clone()));
                }
                tokio::time::sleep(pause()).await;
            }
        };
        if let Err(error) = announced.await {
            tracing::debug!(%error, "other gates are not told of a new secret of an app");
        }
    }
}

/// Returns a random pause of a few milliseconds.
fn pause() -> Duration {
    const LONGEST_US: u32 = 50_000;
    let random = getrandom::u32().unwrap_or_default();
    Duration::from_micros((random % LONGEST_US).into())
}

/// Checks the lists of devices and addresses: at most so many entries.
fn check_lists(lists: &SecurityLists) -> Result<(), Error> {
    let most = SecurityLists::MAX_ENTRIES;
    for (field, count) in [
        ("blocked_devices", lists.blocked_devices.len()),
        ("allowed_devices", lists.allowed_devices.len()),
        ("blocked_networks", lists.blocked_networks.len()),
        ("allowed_networks", lists.allowed_networks.len()),
    ] {
        if count > most {
            let reason = format!("has {count} entries, at most {most} are allowed");
            return Err(Error::invalid(field, reason));
        }
    }
    Ok(())
}
