//! [`SoftwareStore`] on both engines.

use async_trait::async_trait;
use model::{AppName, AppSettings, Device, DeviceId, LicenseId};

use super::audit::add_entries;
use super::license_changes::lock;
use super::license_events::{is_told, tell_change, tell_freed_devices};
use super::license_rows::{get, ids_of};
use super::numbered::NumberedTable;
use super::{Backend, Kind, Outcome, Part, Row, Sql, Twins, Value, json, list, rows, sql, values};
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::licenses::{ChangeNumber, SealedKey, StoredLicense};
use crate::rules::devices::{Slot, slot_for};
use crate::rules::numbers::LICENSE_REVOKED;
use crate::software::{
    Binding, NewActivation, NewDevice, OfflineActivation, OfflineFile, SoftwareStore,
    StoredAppSettings,
};

/// The columns in the order that [`read_settings`] reads.
const SETTINGS: &str = "app, number, settings";
/// The columns in the order that [`read_file`] reads.
const FILE: &str = "id, license_id, activated_by, devices, issued_at, expires_at, sealed";

#[async_trait]
impl<B: Backend> SoftwareStore for B {
    async fn bind_device(
        &self,
        new: NewDevice,
        entries: AuditEntries<Changed<StoredLicense>>,
    ) -> Result<Option<(Binding, StoredLicense)>, Error> {
        let asked = (new, entries);
        let bound = self
            .run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
                Box::pin(bind(sql, &asked.0, &asked.1))
            })
            .await?;
        if let Some((Binding::Bound | Binding::BoundAfterReset, stored)) = &bound {
            self.after_changes(stored.version, 1).await;
        }
        Ok(bound)
    }

    async fn reset_devices_of(
        &self,
        app: &AppName,
        after: Option<LicenseId>,
        limit: usize,
        entries: AuditEntries<Vec<LicenseId>>,
    ) -> Result<(Option<LicenseId>, u64), Error> {
        let asked = (app.clone(), after.unwrap_or_default(), limit, entries);
        let freed = self
            .run(Part::Licenses, Kind::Load, asked, |sql, asked| {
                Box::pin(async move {
                    let (app, after, limit, entries) = asked;
                    let (freed, last) = free_all(sql, app, *after, *limit).await?;
                    if !freed.is_empty() {
                        add_entries(sql, entries, &freed).await?;
                    }
                    Ok((freed, last))
                })
            })
            .await?;
        let (freed, last) = freed;
        let count = freed.len() as u64;
        self.after_changes(last, count).await;
        Ok((freed.last().copied(), count))
    }

    async fn app_settings(&self, app: &AppName) -> Result<Option<StoredAppSettings>, Error> {
        self.run(Part::Licenses, Kind::Read, app.clone(), |sql, app| {
            Box::pin(async move {
                let statement = sql!("SELECT {SETTINGS} FROM app_settings WHERE app = $1");
                let row = sql.query_opt(statement, &values![app]).await?;
                Ok(row.as_ref().map(read_settings).transpose()?)
            })
        })
        .await
    }

    async fn app_settings_after(
        &self,
        number: u64,
        limit: usize,
    ) -> Result<Vec<StoredAppSettings>, Error> {
        let asked = (i64::try_from(number).unwrap_or(i64::MAX), limit);
        self.run(Part::Licenses, Kind::List, asked, |sql, (number, limit)| {
            Box::pin(async move {
                let statement = sql!(
                    "SELECT {SETTINGS} FROM app_settings WHERE number > $1 ORDER BY number LIMIT $2"
                );
                let values = values![*number, rows(*limit)];
                let found = sql.query(statement, &values).await?;
                Ok(found.iter().map(read_settings).collect::<Result<_, _>>()?)
            })
        })
        .await
    }

    async fn put_app_settings(
        &self,
        app: &AppName,
        in_place_of: u64,
        settings: AppSettings,
        entries: AuditEntries<()>,
    ) -> Result<Option<u64>, Error> {
        let asked = (app.clone(), in_place_of, settings, entries);
        self.run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
            Box::pin(async move {
                let (app, in_place_of, settings, entries) = asked;
                let number = put_settings(sql, app, *in_place_of, settings).await?;
                if number.is_some() {
                    add_entries(sql, entries, &()).await?;
                }
                Ok(number)
            })
        })
        .await
    }

    async fn add_offline_file(
        &self,
        file: OfflineFile,
        entries: AuditEntries<()>,
    ) -> Result<(), Error> {
        let asked = (file, entries);
        self.run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
            Box::pin(async move {
                let (file, entries) = asked;
                insert_file(sql, file).await?;
                add_entries(sql, entries, &()).await
            })
        })
        .await
    }

    async fn activate_offline(
        &self,
        new: NewActivation,
        bound: AuditEntries<Changed<StoredLicense>>,
        kept: AuditEntries<()>,
    ) -> Result<Option<OfflineActivation>, Error> {
        let asked = (new, bound, kept);
        let activated = self
            .run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
                Box::pin(activate(sql, &asked.0, &asked.1, &asked.2))
            })
            .await?;
        if let Some(OfflineActivation::Kept(binding, stored)) = &activated
            && *binding != Binding::There
        {
            self.after_changes(stored.version, 1).await;
        }
        Ok(activated)
    }

    async fn offline_file_of(
        &self,
        license_id: LicenseId,
        device: &DeviceId,
    ) -> Result<Option<OfflineFile>, Error> {
        let asked = (license_id, device.clone());
        self.run(Part::Licenses, Kind::Read, asked, |sql, asked| {
            Box::pin(activated_file(sql, asked.0, &asked.1))
        })
        .await
    }

    async fn offline_files(
        &self,
        license_id: LicenseId,
        after: Option<u128>,
        limit: usize,
    ) -> Result<Vec<OfflineFile>, Error> {
        let asked = (license_id, after.unwrap_or(0), limit);
        self.run(Part::Licenses, Kind::List, asked, |sql, asked| {
            Box::pin(async move {
                let (license, after, limit) = asked;
                let statement = sql!(
                    "SELECT {FILE} FROM offline_files WHERE license_id = $1 AND id > $2 ORDER BY id LIMIT $3"
                );
                let values = values![*license, Value::Id(*after), rows(*limit)];
                let found = sql.query(statement, &values).await?;
                Ok(found.iter().map(read_file).collect::<Result<_, _>>()?)
            })
        })
        .await
    }
}

async fn bind<S: Twins>(
    sql: &S,
    new: &NewDevice,
    entries: &AuditEntries<Changed<StoredLicense>>,
) -> Outcome<Option<(Binding, StoredLicense)>, S> {
    let id = new.license_id;
    lock(sql, id).await?;
    let Some(before) = get(sql, id).await? else {
        return Ok(None);
    };
    let device = Device {
        id: new.device.clone(),
        bound_at: new.at,
    };
    let (binding, devices) = match slot_for(&before, &new.device) {
        Slot::NotNeeded => return Ok(Some((Binding::There, before))),
        Slot::Free => {
            let devices = before.devices.iter().cloned().chain([device]);
            (Binding::Bound, devices.collect::<Vec<_>>())
        }
        Slot::None if new.frees_others_once && free_once(sql, new).await? => {
            (Binding::BoundAfterReset, vec![device])
        }
        Slot::None => return Ok(Some((Binding::Full, before))),
    };
    let statement = sql!("UPDATE licenses SET devices = $2 WHERE id = $1");
    sql.execute(statement, &values![id, list(&devices)]).await?;
    let told = is_told(sql, &before.license.account).await?;
    sql.record_changes(&[(id, None)]).await?;
    let Some(after) = get(sql, id).await? else {
        return Ok(None);
    };
    let changed = Changed { before, after };
    if told {
        tell_change(sql, &changed).await?;
    }
    add_entries(sql, entries, &changed).await?;
    Ok(Some((binding, changed.after)))
}

/// Notes that a device frees the slots of the others. Returns whether it may: once in the life of
/// the license.
async fn free_once<S: Sql>(sql: &S, new: &NewDevice) -> Outcome<bool, S> {
    let statement = sql!(
        "UPDATE licenses SET devices_freed_at = $2 WHERE id = $1 AND devices_freed_at IS NULL"
    );
    let values = values![new.license_id, new.at];
    Ok(sql.execute(statement, &values).await? == 1)
}

/// Frees the devices of licenses of an app, in order of id. Returns those that had any, and the
/// number of the last change.
async fn free_all<S: Twins>(
    sql: &S,
    app: &AppName,
    after: LicenseId,
    limit: usize,
) -> Outcome<(Vec<LicenseId>, ChangeNumber), S> {
    let statement = sql!(
        "SELECT id, account FROM licenses WHERE app = $1 AND devices IS NOT NULL AND status <> {LICENSE_REVOKED} AND id > $2
        ORDER BY id LIMIT $3 FOR NO KEY UPDATE"
    );
    let values = values![app, after, rows(limit)];
    let bound = sql.query(statement, &values).await?;
    let read = |row: &Row| Ok((row.get(0)?, row.text(1)?));
    let sold = bound.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
    let bound: Vec<LicenseId> = sold.iter().map(|(license, _)| *license).collect();
    if bound.is_empty() {
        return Ok((bound, ChangeNumber(0)));
    }
    tell_freed_devices(sql, &sold).await?;
    let statement = sql!("UPDATE licenses SET devices = NULL WHERE id = ANY ($1::uuid[])");
    sql.execute(statement, &[ids_of(&bound)]).await?;
    let changes: Vec<_> = bound.iter().map(|license| (*license, None)).collect();
    let last = sql.record_changes(&changes).await?;
    Ok((bound, last))
}

/// Writes settings in place of those that were seen.
async fn put_settings<S: Sql>(
    sql: &S,
    app: &AppName,
    in_place_of: u64,
    settings: &AppSettings,
) -> Outcome<Option<u64>, S> {
    static TABLE: NumberedTable = NumberedTable::new("app_settings", "app");
    let Some(number) = TABLE.next(sql, app.as_str(), in_place_of).await? else {
        return Ok(None);
    };
    let statement = sql!(
        "INSERT INTO app_settings ({SETTINGS}) VALUES ($1, $2, $3)
        ON CONFLICT (app) DO UPDATE SET number = excluded.number, settings = excluded.settings"
    );
    let values = values![app, number as i64, json(settings)];
    sql.execute(statement, &values).await?;
    Ok(Some(number))
}

/// Keeps the file of a device and binds the device, unless it has one, or too many had one.
async fn activate<S: Twins>(
    sql: &S,
    new: &NewActivation,
    bound: &AuditEntries<Changed<StoredLicense>>,
    kept: &AuditEntries<()>,
) -> Outcome<Option<OfflineActivation>, S> {
    let NewActivation { device, file, most } = new;
    // Those of one license are counted and kept one after the other.
    lock(sql, device.license_id).await?;
    if let Some(file) = activated_file(sql, device.license_id, &device.device).await? {
        return Ok(Some(OfflineActivation::There(Box::new(file))));
    }
    let statement = sql!(
        "SELECT count(*) FROM offline_files WHERE license_id = $1 AND activated_by IS NOT NULL"
    );
    let row = sql
        .query_opt(statement, &values![device.license_id])
        .await?;
    if row.map_or(Ok(0), |row| row.count(0))? >= u64::from(*most) {
        return Ok(Some(OfflineActivation::Full));
    }
    Ok(match bind(sql, device, bound).await? {
        None => None,
        // Nothing was written.
        Some((Binding::Full, _)) => Some(OfflineActivation::NoSlot),
        Some((binding, stored)) => {
            insert_file(sql, file).await?;
            add_entries(sql, kept, &()).await?;
            Some(OfflineActivation::Kept(binding, Box::new(stored)))
        }
    })
}

async fn activated_file<S: Sql>(
    sql: &S,
    license: LicenseId,
    device: &DeviceId,
) -> Outcome<Option<OfflineFile>, S> {
    let statement =
        sql!("SELECT {FILE} FROM offline_files WHERE license_id = $1 AND activated_by = $2");
    let row = sql
        .query_opt(statement, &values![license, device.as_str()])
        .await?;
    Ok(row.as_ref().map(read_file).transpose()?)
}

async fn insert_file<S: Sql>(sql: &S, file: &OfflineFile) -> Outcome<(), S> {
    let statement = sql!("INSERT INTO offline_files ({FILE}) VALUES ($1, $2, $3, $4, $5, $6, $7)");
    let values = values![
        Value::Id(file.id),
        file.license_id,
        file.activated_by.as_ref().map(|device| device.as_str()),
        list(&file.devices),
        file.issued_at,
        file.expires_at,
        file.sealed.as_bytes(),
    ];
    sql.insert(statement, &values, "an offline file with this id")
        .await
        .map(drop)
}

fn read_settings(row: &Row) -> Result<StoredAppSettings, Error> {
    Ok(StoredAppSettings {
        app: row.text(0)?,
        number: row.count(1)?,
        settings: row.json(2)?.ok_or_else(|| row.unreadable(2))?,
    })
}

fn read_file(row: &Row) -> Result<OfflineFile, Error> {
    Ok(OfflineFile {
        id: row.get(0)?,
        license_id: row.get(1)?,
        activated_by: row.optional_text(2)?,
        devices: row.list(3)?,
        issued_at: row.get(4)?,
        expires_at: row.get(5)?,
        sealed: SealedKey::new(row.get(6)?),
    })
}
