//! A store between a test and the real one, which fails, waits and forgets as the test says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;
use model::usage::{UsageQuery, UsageRow};
use model::{
    AccountName, AppName, CredentialId, Fingerprint, InstanceId, KeyHash, LicenseId,
    ManagementKeyId, PlanName, PlanRevision, PlanRevisionId, RateLimit, Session, SessionId,
    Timestamp, User, UserId,
};
use store::{
    Account, AgentStore, ApiKeyStore, AppNamed, AuditEntries, AuditStore, Balance, Change,
    ChangeNumber, Changed, ClaimStore, CreditStore, Error, InstanceState, KeyCall, KeyOwner,
    LanePosition, LeaseGrant, LeaseKey, LeaseRequest, LeaseRound, LedgerStore, LicenseChange,
    LicenseFilter, LicenseStore, ManagementKey, ManagementStore, NewLicense, NewManagementKey,
    NewTokens, NodeClaim, NodeStore, PlanNamed, QuotaStore, RefreshOutcome, RollupBatch, RollupRow,
    SealIntent, SealedFile, SealedKey, SessionStore, Snapshot, SoftwareStore, SqliteStore,
    StockTaking, StoredLicense, StoredRefreshToken, TokenStore, UserChange, UserStore,
};
use tokio::sync::Semaphore;

pub(crate) struct FaultyStore {
    inner: Arc<SqliteStore>,
    /// Every method fails.
    pub(crate) dead: AtomicBool,
    /// No balance can be read.
    pub(crate) unreadable: AtomicBool,
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
    /// The number of readings of changes.
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
    /// The number of answers that are held back now.
    pub(crate) held: AtomicU64,
}

const OPEN: usize = 1_000_000;

impl FaultyStore {
    pub(crate) fn new(inner: SqliteStore) -> Self {
        Self::around(Arc::new(inner))
    }

    /// Returns another store on the same data, with faults of its own.
    pub(crate) fn clone_handle(&self) -> Self {
        Self::around(self.inner.clone())
    }

    fn around(inner: Arc<SqliteStore>) -> Self {
        Self {
            inner,
            dead: AtomicBool::new(false),
            unreadable: AtomicBool::new(false),
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

/// Implements a trait of the store for [`FaultyStore`]. The methods in the first braces hand their
/// call on to the real store unless this one is dead; their errors are all [`Error`]. The methods
/// in the second braces stand there as they are.
macro_rules! delegate {
    ($store:ident {
        $(fn $name:ident($($argument:ident: $type:ty),*) -> $value:ty;)*
    } { $($own:tt)* }) => {
        #[async_trait]
        impl $store for FaultyStore {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$value, Error> {
                self.alive()?.$name($($argument),*).await
            })*

            $($own)*
        }
    };
}

delegate!(LicenseStore {
    fn create_licenses(new: Vec<NewLicense>, entries: AuditEntries<()>) -> ChangeNumber;
    fn owners_of_keys(hashes: Vec<KeyHash>) -> Vec<KeyOwner>;
    fn sealed_keys(id: LicenseId) -> Vec<(CredentialId, SealedKey)>;
    fn licenses(filter: LicenseFilter, after: Option<LicenseId>, limit: usize) -> Vec<StoredLicense>;
    fn change_license(
        id: LicenseId, change: LicenseChange, entries: AuditEntries<Changed<StoredLicense>>
    ) -> Option<StoredLicense>;
    fn fingerprints(after: Option<u64>, limit: usize) -> (Vec<Fingerprint>, Option<u64>);
} {
    fn api_keys(&self) -> Result<&dyn ApiKeyStore, Error> {
        LicenseStore::api_keys(self.alive()?)
    }

    fn agents(&self) -> Result<&dyn AgentStore, Error> {
        LicenseStore::agents(self.alive()?)
    }

    fn software(&self) -> Result<&dyn SoftwareStore, Error> {
        LicenseStore::software(self.alive()?)
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
});

delegate!(QuotaStore {
    fn give_back(instance: InstanceId, units: Vec<(LeaseKey, u64)>) -> ();
    fn settle_instance(instance: InstanceId) -> ();
} {
    fn credits(&self) -> Result<&dyn CreditStore, Error> {
        QuotaStore::credits(self.alive()?)
    }

    async fn balance(
        &self,
        license_id: LicenseId,
        now: Timestamp,
    ) -> Result<Option<Balance>, Error> {
        if self.unreadable.load(Ordering::SeqCst) {
            return Err(Error::Unavailable("no balance is read".to_owned()));
        }
        self.alive()?.balance(license_id, now).await
    }

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
});

delegate!(ManagementStore {
    fn create_account(account: Account, entries: AuditEntries<()>) -> ();
    fn accounts() -> Vec<Account>;
    fn account(name: &AccountName) -> Option<Account>;
    fn set_account_disabled(
        name: &AccountName, at: Option<Timestamp>, entries: AuditEntries<Changed<Account>>
    ) -> Option<Account>;
    fn create_management_key(new: NewManagementKey, entries: AuditEntries<()>) -> ();
    fn replace_management_key(
        old: ManagementKeyId, at: Timestamp, new: NewManagementKey, entries: AuditEntries<()>
    ) -> bool;
    fn management_keys(account: Option<AccountName>) -> Vec<ManagementKey>;
    fn end_management_key(
        id: ManagementKeyId, at: Timestamp, entries: AuditEntries<Changed<ManagementKey>>
    ) -> Option<ManagementKey>;
    fn put_plan_revisions(revisions: Vec<PlanRevision>) -> ();
    fn plans_named() -> Vec<PlanNamed>;
    fn apps_named(at: Timestamp) -> Vec<AppNamed>;
    fn last_plan_revision(name: PlanName) -> Option<PlanRevision>;
    fn plan_revision(id: PlanRevisionId) -> Option<PlanRevision>;
    fn put_if_absent(name: &str, value: Vec<u8>, entries: AuditEntries<()>) -> Vec<u8>;
    fn setting(name: &str) -> Option<Vec<u8>>;
} {
    fn claims(&self) -> Result<&dyn ClaimStore, Error> {
        self.alive()?.claims()
    }

    fn tokens(&self) -> Result<&dyn TokenStore, Error> {
        self.alive()?.tokens()
    }

    fn audit_log(&self) -> Result<&dyn AuditStore, Error> {
        self.alive()?.audit_log()
    }

    async fn management_key_by_hash(
        &self,
        hash: KeyHash,
    ) -> Result<Option<(ManagementKey, Option<KeyHash>)>, Error> {
        self.management_look_ups.fetch_add(1, Ordering::SeqCst);
        self.alive()?.management_key_by_hash(hash).await
    }
});

delegate!(LedgerStore {
    fn begin_instance(id: InstanceId, node: String, started_at: Timestamp) -> ();
    fn take_stock() -> StockTaking;
    fn instances() -> Vec<InstanceState>;
    fn instances_after(after: u64, limit: usize) -> Vec<InstanceState>;
    fn instances_numbered(numbers: Vec<u64>) -> Vec<InstanceState>;
    fn finish_instance(id: InstanceId, at: Timestamp) -> ();
    fn positions(instance: InstanceId) -> Vec<LanePosition>;
    fn roll_up(batch: RollupBatch) -> ();
    fn usage(query: UsageQuery) -> Vec<UsageRow>;
    fn rollups(after: Option<u64>, limit: usize) -> (Vec<RollupRow>, Option<u64>);
    fn hours_until() -> Option<Timestamp>;
    fn replace_rollups(rows: Vec<RollupRow>) -> ();
    fn intend_seal(intent: SealIntent) -> ();
    fn seal_intents(instance: InstanceId) -> Vec<SealIntent>;
    fn commit_seal(file: SealedFile) -> ();
    fn manifest(from: Option<Timestamp>, to: Option<Timestamp>) -> Vec<SealedFile>;
    fn lane_files(instance: InstanceId, lane: u32, after: u64, limit: usize) -> Vec<SealedFile>;
    fn old_files(before: Timestamp, limit: usize) -> Vec<SealedFile>;
    fn files_named(names: Vec<String>) -> Vec<SealedFile>;
    fn begin_freeze(by: InstanceId, lasts: Duration) -> bool;
    fn frozen_by() -> Option<InstanceId>;
    fn end_freeze(by: InstanceId) -> ();
    fn mark_removed(name: &str, at: Timestamp) -> ();
    fn replace_manifest(files: Vec<SealedFile>) -> ();
} {});

delegate!(UserStore {
    fn create_user(user: User, entries: AuditEntries<()>) -> ();
    fn user(app: &AppName, login: &str) -> Option<User>;
    fn user_by_id(id: UserId) -> Option<User>;
    fn users(app: &AppName, after: Option<UserId>, limit: usize) -> Vec<User>;
    fn change_user(
        app: &AppName, login: &str, change: UserChange, at: Timestamp,
        entries: AuditEntries<Changed<User>>
    ) -> Option<User>;
    fn delete_user(app: &AppName, login: &str, entries: AuditEntries<User>) -> bool;
} {});

delegate!(NodeStore {
    fn claim_node(node: &str) -> NodeClaim;
    fn claimed_nodes(nodes: Vec<String>) -> Vec<String>;
} {});

delegate!(SessionStore {
    fn create_session(
        session: Session, tokens: NewTokens, max: u32, entries: AuditEntries<()>
    ) -> bool;
    fn session(id: SessionId) -> Option<Session>;
    fn sessions_of(key_id: ManagementKeyId, after: Option<SessionId>, limit: usize) -> Vec<Session>;
    fn management_key(id: ManagementKeyId) -> Option<ManagementKey>;
    fn refresh_token(hash: KeyHash) -> Option<StoredRefreshToken>;
    fn refresh_session(
        refresh: KeyHash, asked_at: Timestamp, next: NewTokens,
        entries: AuditEntries<RefreshOutcome>
    ) -> RefreshOutcome;
    fn end_session(
        id: SessionId, at: Timestamp, entries: AuditEntries<Changed<Session>>
    ) -> Option<Session>;
    fn token_ends(tokens: Vec<(LicenseId, CredentialId)>) -> Vec<(CredentialId, Timestamp)>;
    fn set_key_allow_ips(
        id: ManagementKeyId, allow_ips: Vec<IpNet>, entries: AuditEntries<Changed<ManagementKey>>
    ) -> Option<ManagementKey>;
    fn count_key_call(
        id: ManagementKeyId, limits: Vec<RateLimit>, now: Timestamp, take: bool
    ) -> KeyCall;
    fn sweep_sessions(before: Timestamp, limit: usize) -> u64;
} {});
