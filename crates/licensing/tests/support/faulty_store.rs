//! A store between a test and the real one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use model::usage::{UsageQuery, UsageRow};
use model::{
    AccountName, AppName, CredentialId, Fingerprint, InstanceId, KeyHash, LicenseId,
    ManagementKeyId, PlanRevision, PlanRevisionId, Timestamp, User, UserId,
};
use store::{
    Account, ApiKeyStore, AuditEntries, AuditStore, Balance, Change, ChangeNumber, Changed,
    ClaimStore, Error, InstanceState, LanePosition, LeaseGrant, LeaseKey, LeaseRequest, LeaseRound,
    LedgerStore, LicenseChange, LicenseFilter, LicenseStore, ManagementKey, ManagementStore,
    NewLicense, NewManagementKey, NodeClaim, NodeStore, QuotaStore, RollupBatch, RollupRow,
    SealIntent, SealedFile, SealedKey, Snapshot, SqliteStore, StockTaking, StoredLicense,
    TokenStore, UserChange, UserStore,
};
use tokio::sync::Semaphore;

mod sessions;

pub(crate) struct FaultyStore {
    inner: Arc<SqliteStore>,
    /// Every method fails.
    pub(crate) dead: AtomicBool,
    /// No change is seen that was not seen before.
    pub(crate) blind: AtomicBool,
    /// The last change that was seen.
    shown: AtomicU64,
    /// The changes up to this one have been removed.
    pub(crate) forgotten: AtomicU64,
    /// The changes were made at another time: they are others with the same numbers.
    pub(crate) redated: AtomicBool,
    /// The next reading of changes finds a store that knows none yet.
    pub(crate) rewound: AtomicBool,
    /// The next round of leases is done, and its answer lost.
    pub(crate) lossy: AtomicBool,
    /// Readings of changes.
    pub(crate) readings: AtomicU64,
    pub(crate) look_ups: AtomicU64,
    pub(crate) look_ups_by_ids: AtomicU64,
    pub(crate) single_look_ups: AtomicU64,
    pub(crate) leases: AtomicU64,
    pub(crate) lease_requests: AtomicU64,
    pub(crate) management_look_ups: AtomicU64,
    /// Holds back answers that were read already, where a test takes its permits.
    pub(crate) look_up_gate: Semaphore,
    pub(crate) lease_gate: Semaphore,
    /// Answers that are held back now.
    pub(crate) held: AtomicU64,
}

const OPEN: usize = 1_000_000;

impl FaultyStore {
    pub(crate) fn new(inner: SqliteStore) -> Self {
        Self::around(Arc::new(inner))
    }

    /// The same store, meddled with apart.
    pub(crate) fn clone_handle(&self) -> Self {
        Self::around(self.inner.clone())
    }

    fn around(inner: Arc<SqliteStore>) -> Self {
        Self {
            inner,
            dead: AtomicBool::new(false),
            blind: AtomicBool::new(false),
            shown: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            redated: AtomicBool::new(false),
            rewound: AtomicBool::new(false),
            lossy: AtomicBool::new(false),
            readings: AtomicU64::new(0),
            look_ups: AtomicU64::new(0),
            look_ups_by_ids: AtomicU64::new(0),
            single_look_ups: AtomicU64::new(0),
            leases: AtomicU64::new(0),
            lease_requests: AtomicU64::new(0),
            management_look_ups: AtomicU64::new(0),
            look_up_gate: Semaphore::new(OPEN),
            lease_gate: Semaphore::new(OPEN),
            held: AtomicU64::new(0),
        }
    }

    pub(crate) fn count(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::SeqCst)
    }

    pub(crate) fn set(flag: &AtomicBool, on: bool) {
        flag.store(on, Ordering::SeqCst);
    }

    /// Holds back every answer at a gate from now on.
    pub(crate) fn close(gate: &Semaphore) {
        gate.forget_permits(OPEN);
    }

    pub(crate) fn open(gate: &Semaphore) {
        gate.add_permits(OPEN - gate.available_permits());
    }

    fn alive(&self) -> Result<&SqliteStore, Error> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("made dead by the test".to_owned()));
        }
        Ok(&self.inner)
    }

    async fn pass(&self, gate: &Semaphore) {
        self.held.fetch_add(1, Ordering::SeqCst);
        let permit = gate
            .acquire()
            .await
            .expect("gates are never closed for good");
        drop(permit);
        self.held.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl LicenseStore for FaultyStore {
    fn api_keys(&self) -> Result<&dyn ApiKeyStore, Error> {
        LicenseStore::api_keys(self.alive()?)
    }

    async fn create_licenses(
        &self,
        new: Vec<NewLicense>,
        note: AuditEntries<()>,
    ) -> Result<ChangeNumber, Error> {
        self.alive()?.create_licenses(new, note).await
    }

    async fn license(&self, id: LicenseId) -> Result<Option<StoredLicense>, Error> {
        self.single_look_ups.fetch_add(1, Ordering::SeqCst);
        self.alive()?.license(id).await
    }

    async fn licenses_by_ids(&self, ids: Vec<LicenseId>) -> Result<Vec<StoredLicense>, Error> {
        self.look_ups_by_ids.fetch_add(1, Ordering::SeqCst);
        self.alive()?.licenses_by_ids(ids).await
    }

    async fn license_by_key(&self, hash: KeyHash) -> Result<Option<Snapshot>, Error> {
        self.look_ups.fetch_add(1, Ordering::SeqCst);
        let found = self.alive()?.license_by_key(hash).await;
        self.pass(&self.look_up_gate).await;
        found
    }

    async fn sealed_keys(&self, id: LicenseId) -> Result<Vec<(CredentialId, SealedKey)>, Error> {
        self.alive()?.sealed_keys(id).await
    }

    async fn licenses(
        &self,
        filter: LicenseFilter,
        after: Option<LicenseId>,
        limit: usize,
    ) -> Result<Vec<StoredLicense>, Error> {
        self.alive()?.licenses(filter, after, limit).await
    }

    async fn change_license(
        &self,
        id: LicenseId,
        change: LicenseChange,
        note: AuditEntries<Changed<StoredLicense>>,
    ) -> Result<Option<StoredLicense>, Error> {
        self.alive()?.change_license(id, change, note).await
    }

    async fn changes_since(
        &self,
        number: ChangeNumber,
        limit: usize,
    ) -> Result<(Vec<Change>, ChangeNumber), Error> {
        self.readings.fetch_add(1, Ordering::SeqCst);
        if self.rewound.swap(false, Ordering::SeqCst) {
            return Ok((Vec::new(), ChangeNumber(0)));
        }
        let (mut changes, mut last) = self.alive()?.changes_since(number, limit).await?;
        if self.blind.load(Ordering::SeqCst) {
            last = ChangeNumber(self.shown.load(Ordering::SeqCst));
            changes.retain(|change| change.number <= last);
        }
        let forgotten = ChangeNumber(self.forgotten.load(Ordering::SeqCst));
        changes.retain(|change| change.number > forgotten);
        if self.redated.load(Ordering::SeqCst) {
            let earlier = |change: &mut Change| change.at = change.at.plus_micros(-1);
            changes.iter_mut().for_each(earlier);
        }
        self.shown.fetch_max(last.0, Ordering::SeqCst);
        Ok((changes, last))
    }

    async fn fingerprints(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Fingerprint>, Option<u64>), Error> {
        self.alive()?.fingerprints(after, limit).await
    }
}

#[async_trait]
impl QuotaStore for FaultyStore {
    async fn lease(
        &self,
        instance: InstanceId,
        requests: Vec<LeaseRequest>,
        now: Timestamp,
    ) -> Result<Vec<LeaseGrant>, Error> {
        self.leases.fetch_add(1, Ordering::SeqCst);
        let count = requests.len() as u64;
        self.lease_requests.fetch_add(count, Ordering::SeqCst);
        let granted = self.alive()?.lease(instance, requests, now).await;
        self.pass(&self.lease_gate).await;
        granted
    }

    async fn lease_round(
        &self,
        instance: InstanceId,
        round: LeaseRound,
        now: Timestamp,
    ) -> Result<Vec<LeaseGrant>, Error> {
        let leases = !round.requests.is_empty();
        self.leases.fetch_add(u64::from(leases), Ordering::SeqCst);
        self.lease_requests
            .fetch_add(round.requests.len() as u64, Ordering::SeqCst);
        let granted = self.alive()?.lease_round(instance, round, now).await;
        if leases {
            self.pass(&self.lease_gate).await;
        }
        if self.lossy.swap(false, Ordering::SeqCst) {
            return Err(Error::Unavailable("the answer is lost".to_owned()));
        }
        granted
    }

    async fn give_back(
        &self,
        instance: InstanceId,
        units: Vec<(LeaseKey, u64)>,
    ) -> Result<(), Error> {
        self.alive()?.give_back(instance, units).await
    }

    async fn balance(
        &self,
        license_id: LicenseId,
        now: Timestamp,
    ) -> Result<Option<Balance>, Error> {
        self.alive()?.balance(license_id, now).await
    }

    async fn settle_instance(&self, instance: InstanceId) -> Result<(), Error> {
        self.alive()?.settle_instance(instance).await
    }
}

#[async_trait]
impl ManagementStore for FaultyStore {
    fn claims(&self) -> Result<&dyn ClaimStore, Error> {
        self.alive()?;
        self.inner.claims()
    }

    fn tokens(&self) -> Result<&dyn TokenStore, Error> {
        self.alive()?;
        self.inner.tokens()
    }

    fn audit_log(&self) -> Result<&dyn AuditStore, Error> {
        self.alive()?;
        self.inner.audit_log()
    }

    async fn create_account(&self, account: Account, note: AuditEntries<()>) -> Result<(), Error> {
        self.alive()?.create_account(account, note).await
    }

    async fn accounts(&self) -> Result<Vec<Account>, Error> {
        self.alive()?.accounts().await
    }

    async fn account(&self, name: &AccountName) -> Result<Option<Account>, Error> {
        self.alive()?.account(name).await
    }

    async fn set_account_disabled(
        &self,
        name: &AccountName,
        at: Option<Timestamp>,
        note: AuditEntries<Changed<Account>>,
    ) -> Result<Option<Account>, Error> {
        self.alive()?.set_account_disabled(name, at, note).await
    }

    async fn create_management_key(
        &self,
        new: NewManagementKey,
        note: AuditEntries<()>,
    ) -> Result<(), Error> {
        self.alive()?.create_management_key(new, note).await
    }

    async fn replace_management_key(
        &self,
        old: ManagementKeyId,
        at: Timestamp,
        new: NewManagementKey,
        note: AuditEntries<()>,
    ) -> Result<bool, Error> {
        let inner = self.alive()?;
        inner.replace_management_key(old, at, new, note).await
    }

    async fn management_key_by_hash(
        &self,
        hash: KeyHash,
    ) -> Result<Option<(ManagementKey, Option<KeyHash>)>, Error> {
        self.management_look_ups.fetch_add(1, Ordering::SeqCst);
        self.alive()?.management_key_by_hash(hash).await
    }

    async fn management_keys(
        &self,
        account: Option<AccountName>,
    ) -> Result<Vec<ManagementKey>, Error> {
        self.alive()?.management_keys(account).await
    }

    async fn end_management_key(
        &self,
        id: ManagementKeyId,
        at: Timestamp,
        note: AuditEntries<Changed<ManagementKey>>,
    ) -> Result<Option<ManagementKey>, Error> {
        self.alive()?.end_management_key(id, at, note).await
    }

    async fn put_plan_revisions(&self, revisions: Vec<PlanRevision>) -> Result<(), Error> {
        self.alive()?.put_plan_revisions(revisions).await
    }

    async fn plans_named(&self) -> Result<Vec<store::PlanNamed>, Error> {
        self.alive()?.plans_named().await
    }

    async fn apps_named(&self, at: Timestamp) -> Result<Vec<store::AppNamed>, Error> {
        self.alive()?.apps_named(at).await
    }

    async fn last_plan_revision(
        &self,
        name: model::PlanName,
    ) -> Result<Option<PlanRevision>, Error> {
        self.alive()?.last_plan_revision(name).await
    }

    async fn plan_revision(&self, id: PlanRevisionId) -> Result<Option<PlanRevision>, Error> {
        self.alive()?.plan_revision(id).await
    }

    async fn put_if_absent(
        &self,
        name: &str,
        value: Vec<u8>,
        note: AuditEntries<()>,
    ) -> Result<Vec<u8>, Error> {
        self.alive()?.put_if_absent(name, value, note).await
    }

    async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.alive()?.setting(name).await
    }
}

#[async_trait]
impl LedgerStore for FaultyStore {
    async fn begin_instance(
        &self,
        id: InstanceId,
        node: String,
        started_at: Timestamp,
    ) -> Result<(), Error> {
        self.alive()?.begin_instance(id, node, started_at).await
    }

    async fn take_stock(&self) -> Result<StockTaking, Error> {
        self.alive()?.take_stock().await
    }

    async fn instances(&self) -> Result<Vec<InstanceState>, Error> {
        self.alive()?.instances().await
    }

    async fn instances_after(&self, after: u64, limit: usize) -> Result<Vec<InstanceState>, Error> {
        self.alive()?.instances_after(after, limit).await
    }

    async fn instances_numbered(&self, numbers: Vec<u64>) -> Result<Vec<InstanceState>, Error> {
        self.alive()?.instances_numbered(numbers).await
    }

    async fn finish_instance(&self, id: InstanceId, at: Timestamp) -> Result<(), Error> {
        self.alive()?.finish_instance(id, at).await
    }

    async fn positions(&self, instance: InstanceId) -> Result<Vec<LanePosition>, Error> {
        self.alive()?.positions(instance).await
    }

    async fn roll_up(&self, batch: RollupBatch) -> Result<(), Error> {
        self.alive()?.roll_up(batch).await
    }

    async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, Error> {
        self.alive()?.usage(query).await
    }

    async fn rollups(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<RollupRow>, Option<u64>), Error> {
        self.alive()?.rollups(after, limit).await
    }

    async fn hours_until(&self) -> Result<Option<Timestamp>, Error> {
        self.alive()?.hours_until().await
    }

    async fn replace_rollups(&self, rows: Vec<RollupRow>) -> Result<(), Error> {
        self.alive()?.replace_rollups(rows).await
    }

    async fn intend_seal(&self, intent: SealIntent) -> Result<(), Error> {
        self.alive()?.intend_seal(intent).await
    }

    async fn seal_intents(&self, instance: InstanceId) -> Result<Vec<SealIntent>, Error> {
        self.alive()?.seal_intents(instance).await
    }

    async fn commit_seal(&self, file: SealedFile) -> Result<(), Error> {
        self.alive()?.commit_seal(file).await
    }

    async fn manifest(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Vec<SealedFile>, Error> {
        self.alive()?.manifest(from, to).await
    }

    async fn lane_files(
        &self,
        instance: InstanceId,
        lane: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<SealedFile>, Error> {
        let inner = self.alive()?;
        inner.lane_files(instance, lane, after, limit).await
    }

    async fn old_files(&self, before: Timestamp, limit: usize) -> Result<Vec<SealedFile>, Error> {
        self.alive()?.old_files(before, limit).await
    }

    async fn files_named(&self, names: Vec<String>) -> Result<Vec<SealedFile>, Error> {
        self.alive()?.files_named(names).await
    }

    async fn begin_freeze(&self, by: InstanceId, lasts: Duration) -> Result<bool, Error> {
        self.alive()?.begin_freeze(by, lasts).await
    }

    async fn frozen_by(&self) -> Result<Option<InstanceId>, Error> {
        self.alive()?.frozen_by().await
    }

    async fn end_freeze(&self, by: InstanceId) -> Result<(), Error> {
        self.alive()?.end_freeze(by).await
    }

    async fn mark_removed(&self, name: &str, at: Timestamp) -> Result<(), Error> {
        self.alive()?.mark_removed(name, at).await
    }

    async fn replace_manifest(&self, files: Vec<SealedFile>) -> Result<(), Error> {
        self.alive()?.replace_manifest(files).await
    }
}

#[async_trait]
impl UserStore for FaultyStore {
    async fn create_user(&self, user: User, note: AuditEntries<()>) -> Result<(), Error> {
        self.alive()?.create_user(user, note).await
    }

    async fn user(&self, app: &AppName, login: &str) -> Result<Option<User>, Error> {
        self.alive()?.user(app, login).await
    }

    async fn user_by_id(&self, id: UserId) -> Result<Option<User>, Error> {
        self.alive()?.user_by_id(id).await
    }

    async fn users(
        &self,
        app: &AppName,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<User>, Error> {
        self.alive()?.users(app, after, limit).await
    }

    async fn change_user(
        &self,
        app: &AppName,
        login: &str,
        change: UserChange,
        at: Timestamp,
        note: AuditEntries<Changed<User>>,
    ) -> Result<Option<User>, Error> {
        let inner = self.alive()?;
        inner.change_user(app, login, change, at, note).await
    }

    async fn delete_user(
        &self,
        app: &AppName,
        login: &str,
        note: AuditEntries<User>,
    ) -> Result<bool, Error> {
        self.alive()?.delete_user(app, login, note).await
    }
}

#[async_trait]
impl NodeStore for FaultyStore {
    async fn claim_node(&self, node: &str) -> Result<NodeClaim, Error> {
        self.alive()?.claim_node(node).await
    }

    async fn claimed_nodes(&self, nodes: Vec<String>) -> Result<Vec<String>, Error> {
        self.alive()?.claimed_nodes(nodes).await
    }
}
