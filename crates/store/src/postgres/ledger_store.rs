//! [`LedgerStore`] on PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::usage::{UsageKey, UsageQuery, UsageRow, UsageSums};
use model::{InstanceId, Timestamp};

use super::conn::Conn;
use super::convert::{id, read_id};
use super::rollups::{Move, Sums};
use super::server::TxOptions;
use super::{PostgresStore, manifest, quota, rollups, usage};
use crate::error::Error;
use crate::files::SealedFiles;
use crate::ledger::{
    InstanceState, LanePosition, LedgerStore, RollupBatch, RollupRow, SealIntent, SealedFile,
    StockTaking,
};

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

#[async_trait]
impl LedgerStore for PostgresStore {
    fn sealed_files(&self) -> Option<&dyn SealedFiles> {
        Some(self)
    }

    async fn begin_instance(
        &self,
        instance: InstanceId,
        node: String,
        started_at: Timestamp,
    ) -> Result<(), Error> {
        let begin = move |conn: Conn, node: Arc<String>| async move {
            let sql = "INSERT INTO instances (id, node, started_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
            conn.change(
                sql,
                &[&id(instance.as_u128()), &*node, &started_at.micros()],
            )
            .await?;
            Ok(())
        };
        self.server.run_with(TxOptions::WRITE, node, begin).await
    }

    async fn instances(&self) -> Result<Vec<InstanceState>, Error> {
        let list = |conn: Conn| async move { manifest::instances(&conn).await };
        self.server.run(TxOptions::READ, list).await
    }

    async fn instances_after(&self, after: u64, limit: usize) -> Result<Vec<InstanceState>, Error> {
        let list =
            move |conn: Conn| async move { manifest::instances_after(&conn, after, limit).await };
        self.server.run(TxOptions::READ, list).await
    }

    async fn instances_numbered(&self, numbers: Vec<u64>) -> Result<Vec<InstanceState>, Error> {
        let list = |conn: Conn, numbers: Arc<Vec<u64>>| async move {
            manifest::instances_numbered(&conn, &numbers).await
        };
        self.server.run_with(TxOptions::READ, numbers, list).await
    }

    async fn finish_instance(&self, instance: InstanceId, at: Timestamp) -> Result<(), Error> {
        let finish =
            move |conn: Conn| async move { manifest::finish_instance(&conn, instance, at).await };
        self.server.run(TxOptions::LOAD, finish).await
    }

    async fn positions(&self, instance: InstanceId) -> Result<Vec<LanePosition>, Error> {
        let ask = move |conn: Conn| async move { rollups::positions(&conn, instance).await };
        self.server.run(TxOptions::READ, ask).await
    }

    async fn roll_up(&self, batch: RollupBatch) -> Result<(), Error> {
        let (rest, rows): (Move, _) = batch.into();
        let roll = move |conn: Conn, work: Arc<(Move, Sums)>| async move {
            rollups::roll_up(&conn, &work.0, &work.1).await
        };
        self.server
            .run_with(TxOptions::LOAD, (rest, self.sums(rows).await?), roll)
            .await
    }

    async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, Error> {
        let ask = move |conn: Conn, query: Arc<UsageQuery>| async move {
            usage::usage(&conn, &query).await
        };
        self.server.run_with(TxOptions::REPORT, query, ask).await
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
            for state in manifest::instances(&conn).await? {
                let positions = rollups::positions(&conn, state.id).await?;
                stock.instances.push((state, positions));
            }
            stock.manifest = manifest::files(&conn, None, None).await?;
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

    async fn intend_seal(&self, intent: SealIntent) -> Result<(), Error> {
        let intend = move |conn: Conn| async move { manifest::intend(&conn, &intent).await };
        self.server.run(TxOptions::TRANSACTION, intend).await
    }

    async fn seal_intents(&self, instance: InstanceId) -> Result<Vec<SealIntent>, Error> {
        let list = move |conn: Conn| async move { manifest::intents(&conn, instance).await };
        self.server.run(TxOptions::READ, list).await
    }

    async fn commit_seal(&self, file: SealedFile) -> Result<(), Error> {
        let commit = move |conn: Conn, file: Arc<SealedFile>| async move {
            manifest::commit(&conn, &file).await
        };
        self.server
            .run_with(TxOptions::TRANSACTION, file, commit)
            .await
    }

    async fn manifest(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Vec<SealedFile>, Error> {
        let list = move |conn: Conn| async move { manifest::files(&conn, from, to).await };
        self.server.run(TxOptions::REPORT, list).await
    }

    async fn lane_files(
        &self,
        instance: InstanceId,
        lane: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<SealedFile>, Error> {
        let list = move |conn: Conn| async move {
            manifest::lane_files(&conn, (instance, lane), after, limit).await
        };
        self.server.run(TxOptions::READ, list).await
    }

    async fn old_files(&self, before: Timestamp, limit: usize) -> Result<Vec<SealedFile>, Error> {
        let list = move |conn: Conn| async move { manifest::old_files(&conn, before, limit).await };
        self.server.run(TxOptions::READ, list).await
    }

    async fn files_named(&self, names: Vec<String>) -> Result<Vec<SealedFile>, Error> {
        let list = move |conn: Conn, names: Arc<Vec<String>>| async move {
            manifest::files_named(&conn, &names).await
        };
        self.server.run_with(TxOptions::READ, names, list).await
    }

    async fn begin_freeze(&self, by: InstanceId, lasts: Duration) -> Result<bool, Error> {
        let begin = move |conn: Conn| async move {
            let sql = "INSERT INTO standstill AS s (instance, until)
                VALUES ($1, clock_timestamp() + $2 * interval '1 millisecond')
                ON CONFLICT (one) DO UPDATE SET instance = excluded.instance, until = excluded.until
                WHERE s.instance = excluded.instance OR s.until <= clock_timestamp()";
            let millis = lasts.as_millis() as f64;
            let asked = conn.change(sql, &[&id(by.as_u128()), &millis]).await?;
            Ok(asked == 1)
        };
        self.server.run(TxOptions::REPEATABLE, begin).await
    }

    async fn frozen_by(&self) -> Result<Option<InstanceId>, Error> {
        let ask = |conn: Conn| async move {
            let sql = "SELECT instance FROM standstill WHERE until > clock_timestamp()";
            let row = conn.row(sql, &[]).await?;
            row.map(|row| Ok(InstanceId::from_u128(read_id(&row, 0)?)))
                .transpose()
        };
        self.server.run(TxOptions::READ, ask).await
    }

    async fn end_freeze(&self, by: InstanceId) -> Result<(), Error> {
        let end = move |conn: Conn| async move {
            let sql = "DELETE FROM standstill WHERE instance = $1";
            conn.change(sql, &[&id(by.as_u128())]).await?;
            Ok(())
        };
        self.server.run(TxOptions::REPEATABLE, end).await
    }

    async fn mark_removed(&self, name: &str, at: Timestamp) -> Result<(), Error> {
        let mark = move |conn: Conn, name: Arc<String>| async move {
            let sql =
                "UPDATE sealed_files SET removed_at = coalesce(removed_at, $2) WHERE name = $1";
            if conn.change(sql, &[&*name, &at.micros()]).await? > 0 {
                let sql = "DELETE FROM sealed_bytes WHERE name = $1";
                conn.change(sql, &[&*name]).await?;
            }
            Ok(())
        };
        self.server
            .run_with(TxOptions::TRANSACTION, name.to_owned(), mark)
            .await
    }

    async fn replace_manifest(&self, files: Vec<SealedFile>) -> Result<(), Error> {
        let replace = move |conn: Conn, files: Arc<Vec<SealedFile>>| async move {
            manifest::replace(&conn, &files).await
        };
        self.server.run_with(TxOptions::LOAD, files, replace).await
    }
}
