//! The table of the states of licenses. It stands apart from the cached licenses, so that a state
//! outlives a refresh and an eviction.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use model::{LicenseId, Timestamp};
use parking_lot::Mutex;

use super::notify_table::fold;
use super::queues::LicenseQueues;
use super::state::LicenseState;

const SHARDS: usize = 64;

/// The states of all licenses that are cached, have a running call, hold leased units or count a
/// window: one for each.
pub(crate) struct States {
    shards: Box<[Mutex<Shard>]>,
    queues: Arc<LicenseQueues>,
}

type Shard = HashSet<ById, BuildHasherDefault<IdHasher>>;

struct ById(Arc<LicenseState>);

/// The hasher of license ids. Their lower half is random, so that folding them is hashing enough.
#[derive(Default)]
struct IdHasher(u64);

impl States {
    pub(crate) fn new(queues: Arc<LicenseQueues>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            queues,
        }
    }

    pub(crate) fn get(&self, id: LicenseId) -> Option<Arc<LicenseState>> {
        self.shard(id).lock().get(&id).map(|state| state.0.clone())
    }

    pub(crate) fn get_or_create(&self, id: LicenseId) -> Arc<LicenseState> {
        let mut shard = self.shard(id).lock();
        if let Some(state) = shard.get(&id) {
            return state.0.clone();
        }
        let state = Arc::new(LicenseState::new(id, self.queues.clone()));
        shard.insert(ById(state.clone()));
        state
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    pub(crate) fn for_each(&self, mut visit: impl FnMut(&Arc<LicenseState>)) {
        for shard in &self.shards {
            shard.lock().iter().for_each(|state| visit(&state.0));
        }
    }

    /// Sweeps one shard, another one with each call: queues idle leases to be given back (if
    /// `give_back`), and drops states that nothing refers to and whose meters hold nothing.
    pub(crate) fn sweep(&self, round: usize, now: Timestamp, give_back: bool) {
        let mut idle = Vec::new();
        let mut shard = self.shards[round % SHARDS].lock();
        shard.retain(|ById(state)| {
            if give_back && state.meter().retire_idle(now, self.queues.leases.options()) {
                idle.push(state.clone());
            }
            // With the shard locked and no other reference, nobody can get hold of the state
            // meanwhile.
            Arc::strong_count(state) > 1 || !state.meter().is_empty(now)
        });
        if shard.capacity() > 4 * shard.len().max(64) {
            shard.shrink_to_fit();
        }
        drop(shard);
        for state in idle {
            self.queues.leases.enqueue(&state);
        }
    }

    pub(crate) const ROUNDS: usize = SHARDS;

    fn shard(&self, id: LicenseId) -> &Mutex<Shard> {
        // The hasher's lower bits choose the bucket, its upper seven tell entries apart: the shard
        // takes bits between.
        &self.shards[(fold(id) >> 40) as usize % SHARDS]
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.id().hash(hasher);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Eq for ById {}

impl Borrow<LicenseId> for ById {
    fn borrow(&self) -> &LicenseId {
        self.0.id_ref()
    }
}

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0.rotate_left(8) ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }

    fn write_u128(&mut self, bits: u128) {
        let folded = fold(LicenseId::from_u128(bits));
        self.0 = folded ^ (folded >> 32);
    }
}
