//! The events of a roll-up: those of its records, first uses, and quotas that go to their end.

use std::collections::{HashMap, HashSet};
use std::mem;

use model::{Event, EventId, EventType, LicenseId};
use serde_json::{Value as Json, json};

use super::first_use::{self, UsedLicenses};
use super::license_rows::ids_of;
use super::webhooks::outbox::write_of_ledger;
use super::{Engine, Outcome, Row, Sql, Value, count, sql, values};
use crate::error::Error;
use crate::ledger::{RollupBatch, Watched};
use crate::rules::quota_notice::{Noted, Quota, thresholds};

/// The part of a batch that events are made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct UsageEvents {
    /// The licenses that may have been used for the first time.
    pub(crate) used: Vec<LicenseId>,
    events: Vec<Event>,
    watched: Vec<Watched>,
    /// The units that watched licenses spent, by epoch.
    spent: HashMap<(LicenseId, i64), u64>,
}

impl UsageEvents {
    /// Takes this part out of a batch.
    pub(crate) fn of(batch: &mut RollupBatch, used: &UsedLicenses) -> Self {
        let watched = mem::take(&mut batch.watched);
        let told = watched.iter().filter(|watched| watched.quota);
        let told: HashSet<_> = told.map(|watched| watched.license_id).collect();
        let spent = batch.spent.iter();
        let spent = spent.filter(|spent| told.contains(&spent.license_id));
        let by_epoch = spent.flat_map(|spent| {
            let of_license = |(epoch, units)| ((spent.license_id, i64::from(epoch)), units);
            spent.units.iter().copied().map(of_license)
        });
        Self {
            used: used.perhaps_new(&batch.rows),
            events: mem::take(&mut batch.events),
            spent: by_epoch.collect(),
            watched,
        }
    }

    /// Writes the events down, after the spending of the batch was moved.
    pub(crate) async fn write<S: Sql>(&self, sql: &S) -> Outcome<(), S> {
        let new = first_use::note(sql, &self.used).await?;
        let first = self.watched.iter().filter(|watched| watched.first_use);
        let first = first.filter(|watched| new.contains(&watched.license_id));
        let mut events: Vec<_> = first
            .map(|watched| event(watched, EventType::LicenseFirstUsed, None))
            .collect();
        events.extend_from_slice(&self.events);
        events.extend(self.quotas(sql).await?);
        write_of_ledger(sql, &events).await
    }

    /// Decides which thresholds are told now, and notes it.
    async fn quotas<S: Sql>(&self, sql: &S) -> Outcome<Vec<Event>, S> {
        let watched = self.watched.iter().filter(|watched| watched.quota);
        let watched: HashMap<_, _> = watched.map(|w| (w.license_id, w)).collect();
        if watched.is_empty() {
            return Ok(Vec::new());
        }
        let licenses = ids_of(&watched.keys().copied().collect::<Vec<_>>());
        lock(sql, &licenses).await?;
        let mut events = Vec::new();
        for (license, mut quota, noted) in quotas(sql, &licenses).await? {
            let Some(watched) = watched.get(&license) else {
                continue;
            };
            let new = self.spent.get(&(license, quota.epoch));
            quota.new = new.copied().unwrap_or_default();
            let (told, now) = thresholds(quota, noted);
            if noted != Some(now) {
                note(sql, license, now).await?;
            }
            let told = told.iter();
            events.extend(told.map(|kind| event(watched, *kind, Some(quota))));
        }
        Ok(events)
    }
}

fn event(watched: &Watched, kind: EventType, quota: Option<Quota>) -> Event {
    let mut data = json!({"license_id": watched.license_id, "app": watched.app});
    if let Some(quota) = quota {
        data["granted"] = quota.granted.into();
        data["spent"] = quota.spent.into();
    }
    Event {
        id: EventId::generate(),
        kind,
        at: watched.at,
        account: watched.account.clone(),
        app: watched.app.clone(),
        license_id: Some(watched.license_id),
        data: match data {
            Json::Object(data) => data,
            _ => serde_json::Map::new(),
        },
    }
}

/// Has roll-ups of one license wait for each other, so that the last of them sees what all spent.
async fn lock<S: Sql>(sql: &S, licenses: &Value) -> Outcome<(), S> {
    if S::ENGINE == Engine::Postgres {
        let licenses = std::slice::from_ref(licenses);
        let make = sql!(
            "INSERT INTO quota_noted (license, epoch, level)
            SELECT g.license, -1, 0 FROM unnest($1::uuid[]) AS g (license) ORDER BY g.license ON CONFLICT DO NOTHING"
        );
        sql.execute(make, licenses).await?;
        let lock = sql!(
            "SELECT 1 FROM quota_noted WHERE license = ANY ($1::uuid[]) ORDER BY license FOR UPDATE"
        );
        sql.execute(lock, licenses).await?;
    }
    Ok(())
}

/// Returns the balances of licenses that are counted, and what was told of each.
async fn quotas<S: Sql>(
    sql: &S,
    licenses: &Value,
) -> Outcome<Vec<(LicenseId, Quota, Option<Noted>)>, S> {
    let statement = sql!(
        "SELECT b.license, b.epoch, b.granted, least(b.settled + coalesce(sum(l.spent), 0), 9223372036854775807)::bigint,
        n.epoch, n.level, n.granted, n.base
        FROM balances b LEFT JOIN leases l ON l.license = b.license AND l.counter = 0 AND l.period = b.epoch
        LEFT JOIN quota_noted n ON n.license = b.license
        WHERE b.license = ANY ($1::uuid[]) GROUP BY b.license, b.epoch, b.granted, b.settled, n.epoch, n.level,
        n.granted, n.base ORDER BY b.license"
    );
    let read = |row: &Row| {
        let quota = Quota {
            epoch: row.get(1)?,
            granted: row.count(2)?,
            spent: row.count(3)?,
            new: 0,
        };
        let noted = match row.get::<Option<i64>>(4)? {
            Some(epoch) => Some(Noted {
                epoch,
                level: row.word(5, Some)?,
                granted: row
                    .get::<Option<i64>>(6)?
                    .map(|_| row.count(6))
                    .transpose()?,
                base: row.count(7)?,
            }),
            None => None,
        };
        Ok((row.get(0)?, quota, noted))
    };
    let found = sql.query(statement, std::slice::from_ref(licenses)).await?;
    Ok(found.iter().map(read).collect::<Result<_, Error>>()?)
}

async fn note<S: Sql>(sql: &S, license: LicenseId, noted: Noted) -> Outcome<(), S> {
    let statement = sql!(
        "INSERT INTO quota_noted (license, epoch, level, granted, base) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (license) DO UPDATE SET epoch = excluded.epoch, level = excluded.level, granted = excluded.granted,
        base = excluded.base"
    );
    let values = values![
        license,
        noted.epoch,
        i64::from(noted.level),
        noted.granted.map(count),
        count(noted.base),
    ];
    sql.execute(statement, &values).await.map(drop)
}
