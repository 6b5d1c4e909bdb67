//! [`QuotaStore`] and [`LedgerStore`] on `ledger.db`.

use std::iter;
use std::time::Duration;

use async_trait::async_trait;
use model::usage::{UsageQuery, UsageRow};
use model::{InstanceId, LicenseId, Timestamp};

use super::{LedgerSession, SqliteStore, freeze, manifest, quota, rollups, usage};
use crate::error::Error;
use crate::ledger::{
    InstanceState, LanePosition, LedgerStore, RollupBatch, RollupRow, SealIntent, SealedFile,
    StockTaking,
};
use crate::quota::{Balance, LeaseGrant, LeaseKey, LeaseRequest, LeaseRound, QuotaStore};

#[async_trait]
impl QuotaStore for SqliteStore {
    async fn lease(
        &self,
        instance: InstanceId,
        requests: Vec<LeaseRequest>,
        now: Timestamp,
    ) -> Result<Vec<LeaseGrant>, Error> {
        self.ledger
            .write(move |session| {
                let licenses = requests.iter().map(|request| request.key.license_id);
                let terms = session.terms.of(licenses)?;
                quota::lease(&session.connection(), &terms, instance, &requests, now)
            })
            .await
    }

    async fn lease_round(
        &self,
        instance: InstanceId,
        round: LeaseRound,
        now: Timestamp,
    ) -> Result<Vec<LeaseGrant>, Error> {
        self.ledger
            .write(move |session| {
                let requests = round.requests.iter();
                let terms = session
                    .terms
                    .of(requests.map(|request| request.key.license_id))?;
                quota::lease_round(&session.connection(), &terms, instance, &round, now)
            })
            .await
    }

    async fn give_back(
        &self,
        instance: InstanceId,
        units: Vec<(LeaseKey, u64)>,
    ) -> Result<(), Error> {
        self.ledger
            .write(move |session| quota::give_back(&session.connection(), instance, &units))
            .await
    }

    async fn balance(
        &self,
        license_id: LicenseId,
        now: Timestamp,
    ) -> Result<Option<Balance>, Error> {
        self.ledger
            .read(move |session| {
                let terms = session.terms.of(iter::once(license_id))?;
                match terms.get(&license_id) {
                    Some(terms) => quota::balance(&session.connection(), terms, license_id, now),
                    None => Ok(None),
                }
            })
            .await
    }

    async fn settle_instance(&self, instance: InstanceId) -> Result<(), Error> {
        self.ledger
            .write_background(move |session| quota::settle(&session.connection(), instance))
            .await
    }
}

#[async_trait]
impl LedgerStore for SqliteStore {
    async fn begin_instance(
        &self,
        id: InstanceId,
        node: String,
        started_at: Timestamp,
    ) -> Result<(), Error> {
        self.ledger
            .write(move |session| {
                manifest::begin_instance(&session.connection(), id, &node, started_at)
            })
            .await
    }

    async fn instances(&self) -> Result<Vec<InstanceState>, Error> {
        self.ledger
            .read(|session| manifest::instances(&session.connection()))
            .await
    }

    async fn instances_after(&self, after: u64, limit: usize) -> Result<Vec<InstanceState>, Error> {
        self.ledger
            .read(move |session| manifest::instances_after(&session.connection(), after, limit))
            .await
    }

    async fn instances_numbered(&self, numbers: Vec<u64>) -> Result<Vec<InstanceState>, Error> {
        self.ledger
            .read(move |session| manifest::instances_numbered(&session.connection(), &numbers))
            .await
    }

    async fn finish_instance(&self, id: InstanceId, at: Timestamp) -> Result<(), Error> {
        self.ledger
            .write(move |session| manifest::finish_instance(&session.connection(), id, at))
            .await
    }

    async fn positions(&self, instance: InstanceId) -> Result<Vec<LanePosition>, Error> {
        self.ledger
            .read(move |session| rollups::positions(&session.connection(), instance))
            .await
    }

    async fn roll_up(&self, batch: RollupBatch) -> Result<(), Error> {
        self.ledger
            .write_background(move |session| {
                let LedgerSession {
                    file,
                    dictionary,
                    terms,
                } = session;
                let without_balance = quota::without_balance(&file.connection.raw(), &batch.spent)?;
                if !without_balance.is_empty() {
                    quota::begin_balances(
                        &file.connection.raw(),
                        &terms.of(without_balance.into_iter())?,
                    )?;
                }
                rollups::roll_up(&file.connection.raw(), dictionary, batch)
            })
            .await
    }

    async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, Error> {
        self.ledger
            .read_background(move |session| usage::usage(&session.connection(), &query))
            .await
    }

    async fn rollups(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<RollupRow>, Option<u64>), Error> {
        self.ledger
            .read_background(move |session| rollups::page(&session.connection(), after, limit))
            .await
    }

    async fn hours_until(&self) -> Result<Option<Timestamp>, Error> {
        self.ledger
            .read_background(|session| rollups::hours_until(&session.connection()))
            .await
    }

    async fn take_stock(&self) -> Result<StockTaking, Error> {
        self.ledger
            .read_background(|session| {
                let connection = session.connection();
                let snapshot = connection.unchecked_transaction()?;
                let mut stock = StockTaking {
                    manifest: manifest::files(&snapshot, None, None)?,
                    hours_until: rollups::hours_until(&snapshot)?,
                    balances: quota::spent_by_epoch(&snapshot)?,
                    ..StockTaking::default()
                };
                for state in manifest::instances(&snapshot)? {
                    let positions = rollups::positions(&snapshot, state.id)?;
                    stock.instances.push((state, positions));
                }
                let mut after = None;
                loop {
                    let (rows, next) = rollups::page(&snapshot, after, StockTaking::PAGE)?;
                    stock.add(rows);
                    after = next;
                    if after.is_none() {
                        return Ok(stock);
                    }
                }
            })
            .await
    }

    async fn replace_rollups(&self, rows: Vec<RollupRow>) -> Result<(), Error> {
        self.ledger
            .write_background(move |session| {
                let LedgerSession {
                    file, dictionary, ..
                } = session;
                rollups::replace(&file.connection.raw(), dictionary, rows)
            })
            .await
    }

    async fn intend_seal(&self, intent: SealIntent) -> Result<(), Error> {
        self.ledger
            .write(move |session| manifest::intend(&session.connection(), &intent))
            .await
    }

    async fn seal_intents(&self, instance: InstanceId) -> Result<Vec<SealIntent>, Error> {
        self.ledger
            .read(move |session| manifest::intents(&session.connection(), instance))
            .await
    }

    async fn commit_seal(&self, file: SealedFile) -> Result<(), Error> {
        self.ledger
            .write(move |session| manifest::commit(&session.connection(), &file))
            .await
    }

    async fn manifest(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Vec<SealedFile>, Error> {
        self.ledger
            .read_background(move |session| manifest::files(&session.connection(), from, to))
            .await
    }

    async fn lane_files(
        &self,
        instance: InstanceId,
        lane: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<SealedFile>, Error> {
        self.ledger
            .read(move |session| {
                manifest::lane_files(&session.connection(), (instance, lane), after, limit)
            })
            .await
    }

    async fn old_files(&self, before: Timestamp, limit: usize) -> Result<Vec<SealedFile>, Error> {
        self.ledger
            .read(move |session| manifest::old_files(&session.connection(), before, limit))
            .await
    }

    async fn files_named(&self, names: Vec<String>) -> Result<Vec<SealedFile>, Error> {
        self.ledger
            .read(move |session| manifest::files_named(&session.connection(), &names))
            .await
    }

    async fn begin_freeze(&self, by: InstanceId, lasts: Duration) -> Result<bool, Error> {
        self.ledger
            .write(move |session| freeze::begin(&session.connection(), by, lasts))
            .await
    }

    async fn frozen_by(&self) -> Result<Option<InstanceId>, Error> {
        self.ledger
            .read(|session| freeze::asked_by(&session.connection()))
            .await
    }

    async fn end_freeze(&self, by: InstanceId) -> Result<(), Error> {
        self.ledger
            .write(move |session| freeze::end(&session.connection(), by))
            .await
    }

    async fn mark_removed(&self, name: &str, at: Timestamp) -> Result<(), Error> {
        let name = name.to_owned();
        self.ledger
            .write(move |session| manifest::mark_removed(&session.connection(), &name, at))
            .await
    }

    async fn replace_manifest(&self, files: Vec<SealedFile>) -> Result<(), Error> {
        self.ledger
            .write_background(move |session| manifest::replace(&session.connection(), &files))
            .await
    }
}
