//! [`LedgerStore`] on both engines: instances, sealing and the manifest ([`manifest`]) and reports
//! ([`usage`]) are written once; rollups are each engine's own ([`Rollups`]).

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use model::usage::{UsageQuery, UsageRow};
use model::{InstanceId, Timestamp};

use super::manifest;
use super::usage::usage;
use super::{Backend, Engine, Kind, Part, Sql};
use crate::error::Error;
use crate::files::SealedFiles;
use crate::ledger::{
    InstanceState, LanePosition, LedgerStore, RollupBatch, RollupRow, SealIntent, SealedFile,
    StockTaking,
};

/// The methods of [`LedgerStore`] that each engine has by a way of its own.
pub(crate) trait Rollups: Backend {
    /// Returns the part that keeps sealed files: [`LedgerStore::sealed_files`].
    fn sealed_files(&self) -> Option<&dyn SealedFiles> {
        None
    }

    /// Adds a batch to the rollups: [`LedgerStore::roll_up`].
    fn roll_up(&self, batch: RollupBatch) -> impl Future<Output = Result<(), Error>> + Send;

    /// Returns a page of rollups: [`LedgerStore::rollups`].
    fn rollups(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> impl Future<Output = Result<(Vec<RollupRow>, Option<u64>), Error>> + Send;

    /// Returns the end of the rollups by the hour: [`LedgerStore::hours_until`].
    fn hours_until(&self) -> impl Future<Output = Result<Option<Timestamp>, Error>> + Send;

    /// Returns everything as of one moment: [`LedgerStore::take_stock`].
    fn take_stock(&self) -> impl Future<Output = Result<StockTaking, Error>> + Send;

    /// Puts other rollups in the place of all: [`LedgerStore::replace_rollups`].
    fn replace_rollups(
        &self,
        rows: Vec<RollupRow>,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

#[async_trait]
impl<B: Rollups> LedgerStore for B {
    fn sealed_files(&self) -> Option<&dyn SealedFiles> {
        Rollups::sealed_files(self)
    }

    async fn begin_instance(
        &self,
        id: InstanceId,
        node: String,
        started_at: Timestamp,
    ) -> Result<(), Error> {
        let new = (id, node, started_at);
        self.run(Part::Ledger, Kind::Write, new, |sql, (id, node, at)| {
            Box::pin(manifest::begin_instance(sql, *id, node, *at))
        })
        .await
    }

    async fn instances(&self) -> Result<Vec<InstanceState>, Error> {
        self.run(Part::Ledger, Kind::Read, (), |sql, ()| {
            Box::pin(manifest::instances(sql))
        })
        .await
    }

    async fn instances_after(&self, after: u64, limit: usize) -> Result<Vec<InstanceState>, Error> {
        let asked = (after, limit);
        self.run(Part::Ledger, Kind::Read, asked, |sql, (after, limit)| {
            Box::pin(manifest::instances_after(sql, *after, *limit))
        })
        .await
    }

    async fn instances_numbered(&self, numbers: Vec<u64>) -> Result<Vec<InstanceState>, Error> {
        self.run(Part::Ledger, Kind::Read, numbers, |sql, numbers| {
            Box::pin(manifest::instances_numbered(sql, numbers))
        })
        .await
    }

    async fn finish_instance(&self, id: InstanceId, at: Timestamp) -> Result<(), Error> {
        let kind = match <B::Conn as Sql>::ENGINE {
            Engine::Sqlite => Kind::Write,
            // Leases may be settled with it.
            Engine::Postgres => Kind::Load,
        };
        self.run(Part::Ledger, kind, (id, at), |sql, (id, at)| {
            Box::pin(manifest::finish_instance(sql, *id, *at))
        })
        .await
    }

    async fn positions(&self, instance: InstanceId) -> Result<Vec<LanePosition>, Error> {
        self.run(Part::Ledger, Kind::Read, instance, |sql, instance| {
            Box::pin(manifest::positions(sql, *instance))
        })
        .await
    }

    async fn roll_up(&self, batch: RollupBatch) -> Result<(), Error> {
        Rollups::roll_up(self, batch).await
    }

    async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, Error> {
        self.run(Part::Ledger, Kind::Report, query, |sql, query| {
            Box::pin(usage(sql, query))
        })
        .await
    }

    async fn rollups(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<RollupRow>, Option<u64>), Error> {
        Rollups::rollups(self, after, limit).await
    }

    async fn hours_until(&self) -> Result<Option<Timestamp>, Error> {
        Rollups::hours_until(self).await
    }

    async fn take_stock(&self) -> Result<StockTaking, Error> {
        Rollups::take_stock(self).await
    }

    async fn replace_rollups(&self, rows: Vec<RollupRow>) -> Result<(), Error> {
        Rollups::replace_rollups(self, rows).await
    }

    async fn intend_seal(&self, intent: SealIntent) -> Result<(), Error> {
        self.run(Part::Ledger, Kind::Transaction, intent, |sql, intent| {
            Box::pin(manifest::intend(sql, intent))
        })
        .await
    }

    async fn seal_intents(&self, instance: InstanceId) -> Result<Vec<SealIntent>, Error> {
        self.run(Part::Ledger, Kind::Read, instance, |sql, instance| {
            Box::pin(manifest::intents(sql, *instance))
        })
        .await
    }

    async fn commit_seal(&self, file: SealedFile) -> Result<(), Error> {
        self.run(Part::Ledger, Kind::Transaction, file, |sql, file| {
            Box::pin(manifest::commit(sql, file))
        })
        .await
    }

    async fn manifest(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Vec<SealedFile>, Error> {
        self.run(Part::Ledger, Kind::Report, (from, to), |sql, (from, to)| {
            Box::pin(manifest::files(sql, *from, *to))
        })
        .await
    }

    async fn lane_files(
        &self,
        instance: InstanceId,
        lane: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<SealedFile>, Error> {
        let asked = ((instance, lane), after, limit);
        self.run(
            Part::Ledger,
            Kind::Read,
            asked,
            |sql, (lane, after, limit)| Box::pin(manifest::lane_files(sql, *lane, *after, *limit)),
        )
        .await
    }

    async fn old_files(&self, before: Timestamp, limit: usize) -> Result<Vec<SealedFile>, Error> {
        let asked = (before, limit);
        self.run(Part::Ledger, Kind::Read, asked, |sql, (before, limit)| {
            Box::pin(manifest::old_files(sql, *before, *limit))
        })
        .await
    }

    async fn files_named(&self, names: Vec<String>) -> Result<Vec<SealedFile>, Error> {
        self.run(Part::Ledger, Kind::Read, names, |sql, names| {
            Box::pin(manifest::files_named(sql, names))
        })
        .await
    }

    async fn begin_freeze(&self, by: InstanceId, lasts: Duration) -> Result<bool, Error> {
        self.run(
            Part::Ledger,
            Kind::Repeatable,
            (by, lasts),
            |sql, (by, lasts)| Box::pin(manifest::begin_freeze(sql, *by, *lasts)),
        )
        .await
    }

    async fn frozen_by(&self) -> Result<Option<InstanceId>, Error> {
        self.run(Part::Ledger, Kind::Read, (), |sql, ()| {
            Box::pin(manifest::frozen_by(sql))
        })
        .await
    }

    async fn end_freeze(&self, by: InstanceId) -> Result<(), Error> {
        self.run(Part::Ledger, Kind::Repeatable, by, |sql, by| {
            Box::pin(manifest::end_freeze(sql, *by))
        })
        .await
    }

    async fn mark_removed(&self, name: &str, at: Timestamp) -> Result<(), Error> {
        let file = (name.to_owned(), at);
        self.run(Part::Ledger, Kind::Transaction, file, |sql, (name, at)| {
            Box::pin(manifest::mark_removed(sql, name, *at))
        })
        .await
    }

    async fn replace_manifest(&self, files: Vec<SealedFile>) -> Result<(), Error> {
        self.run(Part::Ledger, Kind::Load, files, |sql, files| {
            Box::pin(manifest::replace(sql, files))
        })
        .await
    }
}
