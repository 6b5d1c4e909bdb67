//! [`QuotaStore`] and [`Rollups`] on `ledger.db`.

use std::iter;

use async_trait::async_trait;
use model::{InstanceId, LicenseId, Timestamp};

use super::{LedgerSession, SqliteStore, balances, quota, rollups};
use crate::credits::CreditStore;
use crate::error::Error;
use crate::ledger::{RollupBatch, RollupRow, StockTaking};
use crate::quota::{Balance, LeaseGrant, LeaseKey, LeaseRequest, LeaseRound, QuotaStore};
use crate::sql::ledger::Rollups;
use crate::sql::usage_events::UsageEvents;
use crate::sql::{at_once, manifest};

#[async_trait]
impl QuotaStore for SqliteStore {
    fn credits(&self) -> Result<&dyn CreditStore, Error> {
        Ok(self)
    }

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
                    Some(terms) => balances::balance(&session.connection(), terms, license_id, now),
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

impl Rollups for SqliteStore {
    async fn roll_up(&self, mut batch: RollupBatch) -> Result<(), Error> {
        let told = UsageEvents::of(&mut batch, &self.used);
        let used = told.used.clone();
        self.ledger
            .write_background(move |session| {
                let LedgerSession {
                    file,
                    dictionary,
                    terms,
                } = session;
                let without_balance =
                    balances::without_balance(&file.connection.raw(), &batch.spent)?;
                if !without_balance.is_empty() {
                    balances::begin_balances(
                        &file.connection.raw(),
                        &terms.of(without_balance.into_iter())?,
                    )?;
                }
                rollups::roll_up(&file.connection.raw(), dictionary, batch)?;
                at_once(told.write(&file.connection))
            })
            .await?;
        self.used.learn(&used);
        Ok(())
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
                let conn = &session.file.connection;
                let connection = conn.raw();
                let snapshot = connection.unchecked_transaction()?;
                let mut stock = StockTaking {
                    manifest: at_once(manifest::files(conn, None, None))?,
                    hours_until: rollups::hours_until(&snapshot)?,
                    balances: balances::spent_by_epoch(&snapshot)?,
                    ..StockTaking::default()
                };
                for state in at_once(manifest::instances(conn))? {
                    let positions = at_once(manifest::positions(conn, state.id))?;
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
}
