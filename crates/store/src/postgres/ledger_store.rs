//! [`Rollups`] on PostgreSQL.

use std::sync::Arc;

use model::Timestamp;
use model::usage::{UsageKey, UsageSums};

use super::conn::Conn;
use super::rollups::{Move, Sums};
use super::server::TxOptions;
use super::{PostgresStore, quota, rollups};
use crate::error::Error;
use crate::files::SealedFiles;
use crate::ledger::{RollupBatch, RollupRow, StockTaking};
use crate::sql::ledger::Rollups;
use crate::sql::manifest;
use crate::sql::usage_events::UsageEvents;

/// The number of rows that one statement of a rebuild writes.
const ROWS_AT_ONCE: usize = 20_000;

impl PostgresStore {
    /// Returns rows of rollups as columns, with the numbers of their dimensions.
    async fn sums(&self, rows: Vec<(UsageKey, UsageSums)>) -> Result<Sums, Error> {
        let keys = Arc::new(Sums::usage_dimensions(&rows));
        let usage_dimensions = Arc::clone(&self.usage_dimensions);
        let number = move |conn: Conn| {
            let (usage_dimensions, keys) = (Arc::clone(&usage_dimensions), Arc::clone(&keys));
            async move { usage_dimensions.numbers(&conn, &keys).await }
        };
        let numbers = self.server.run(TxOptions::WRITE, number).await?;
        Ok(Sums::of(&rows, &numbers))
    }
}

impl Rollups for PostgresStore {
    fn sealed_files(&self) -> Option<&dyn SealedFiles> {
        Some(self)
    }

    async fn roll_up(&self, mut batch: RollupBatch) -> Result<(), Error> {
        let told = UsageEvents::of(&mut batch, &self.used);
        let used = told.used.clone();
        let (rest, rows): (Move, _) = batch.into();
        let roll = move |conn: Conn, work: Arc<(Move, Sums, UsageEvents)>| async move {
            rollups::roll_up(&conn, &work.0, &work.1).await?;
            work.2.write(&*conn).await
        };
        self.server
            .run_with(TxOptions::LOAD, (rest, self.sums(rows).await?, told), roll)
            .await?;
        self.used.learn(&used);
        Ok(())
    }

    async fn rollups(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<RollupRow>, Option<u64>), Error> {
        let page = move |conn: Conn| async move { rollups::page(&conn, after, limit).await };
        self.server.run(TxOptions::REPORT, page).await
    }

    async fn hours_until(&self) -> Result<Option<Timestamp>, Error> {
        let read = |conn: Conn| async move { rollups::hours_until(&conn).await };
        self.server.run(TxOptions::REPORT, read).await
    }

    async fn take_stock(&self) -> Result<StockTaking, Error> {
        let take = |conn: Conn| async move {
            let mut stock = StockTaking::default();
            for state in manifest::instances(&*conn).await? {
                let positions = manifest::positions(&*conn, state.id).await?;
                stock.instances.push((state, positions));
            }
            stock.manifest = manifest::files(&*conn, None, None).await?;
            stock.hours_until = rollups::hours_until(&conn).await?;
            stock.balances = quota::spent_by_epoch(&conn).await?;
            let mut after = None;
            loop {
                let (rows, next) = rollups::page(&conn, after, StockTaking::PAGE).await?;
                stock.add(rows);
                after = next;
                if after.is_none() {
                    return Ok(stock);
                }
            }
        };
        self.server.run(TxOptions::REPORT, take).await
    }

    async fn replace_rollups(&self, rows: Vec<RollupRow>) -> Result<(), Error> {
        let mut parts = Vec::new();
        let mut rows = rows.into_iter().map(|row| (row.key, row.sums)).peekable();
        while rows.peek().is_some() {
            let part = rows.by_ref().take(ROWS_AT_ONCE).collect();
            parts.push(self.sums(part).await?);
        }
        let replace = move |conn: Conn, parts: Arc<Vec<Sums>>| async move {
            rollups::replace(&conn, &parts).await
        };
        self.server.run_with(TxOptions::LOAD, parts, replace).await
    }
}
