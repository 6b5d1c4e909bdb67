//! Marks of calls in flight: slots of a mapped file that are set and cleared with plain stores.
//!
//! ```text
//! page of 4096: magic, version u32, slots u32, instance u128, crc32c u32
//! slot of 256:  state word (1: set), len u32, crc32c u32, payload up to 240 bytes
//! ```

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::Error;
use crate::files;
use crate::format;
use crate::map::WordMap;

/// The size of the longest mark in bytes.
const PAYLOAD_MAX: usize = 240;
const SLOT_BYTES: usize = 256;
const SLOT_HEADER: usize = 16;
const PAGE_BYTES: usize = 4096;
const PAGE_HEADER: usize = 40;
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"MARKSLOT";
const SET: u64 = 1;
/// The number of free lists; each thread starts at its own.
const SHARDS: usize = 16;

/// The table of a live journal.
#[derive(Debug)]
pub(crate) struct Marks {
    map: WordMap,
    salt: u32,
    free: Vec<Mutex<Vec<u32>>>,
    used: AtomicU64,
}

/// A mark in the table of calls in flight. If it is dropped without [`clear`](Self::clear), it
/// stays set, so that a call that went wrong in an unforeseen way is found again.
#[derive(Debug)]
#[must_use = "a slot that is never cleared stays taken"]
pub struct MarkSlot {
    marks: Arc<Marks>,
    slot: u32,
}

impl MarkSlot {
    /// Clears the mark. Makes no system call.
    pub fn clear(self) {
        self.marks.clear(self.slot);
    }
}

impl Marks {
    pub(crate) fn create(path: &Path, slots: u32, instance: u128) -> io::Result<Self> {
        let bytes = file_bytes(slots) as usize;
        let file = files::allocate(path, bytes)?;
        let map = WordMap::new(&file, bytes)?;
        map.store(0, &page_header(slots, instance));
        file.sync_data()?;
        // The low slots are on top, so that a quiet table stays in few pages.
        let shard = |shard: u32| {
            Mutex::new(
                (0..slots)
                    .rev()
                    .filter(|slot| slot % SHARDS as u32 == shard)
                    .collect(),
            )
        };
        let free = (0..SHARDS as u32).map(shard).collect();
        Ok(Self {
            map,
            salt: salt(instance),
            free,
            used: AtomicU64::new(0),
        })
    }

    pub(crate) fn set(self: &Arc<Self>, payload: &[u8]) -> Option<MarkSlot> {
        assert!(payload.len() <= PAYLOAD_MAX, "mark above 240 bytes");
        let slot = self.take()?;
        self.used.fetch_add(1, Ordering::Relaxed);
        let at = place(slot);
        let len = payload.len() as u32;
        let crc = crc32c::crc32c_append(self.salt.wrapping_add(len), payload);
        self.map.store(
            at + 8,
            &(u64::from(len) | u64::from(crc) << 32).to_le_bytes(),
        );
        self.map.store(at + SLOT_HEADER, payload);
        // This word is stored last, so that a process killed before has set nothing.
        self.map.store_last(at, SET);
        Some(MarkSlot {
            marks: Arc::clone(self),
            slot,
        })
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self) -> Option<u32> {
        let home = home_shard();
        (0..SHARDS).find_map(|step| self.free[(home + step) % SHARDS].lock().pop())
    }

    fn clear(&self, slot: u32) {
        self.map.store_last(place(slot), 0);
        self.used.fetch_sub(1, Ordering::Relaxed);
        self.free[slot as usize % SHARDS].lock().push(slot);
    }
}

/// Returns the size of a table with `slots` slots, in bytes.
pub(crate) fn file_bytes(slots: u32) -> u64 {
    PAGE_BYTES as u64 + u64::from(slots) * SLOT_BYTES as u64
}

fn place(slot: u32) -> usize {
    PAGE_BYTES + slot as usize * SLOT_BYTES
}

fn salt(instance: u128) -> u32 {
    crc32c::crc32c(&instance.to_le_bytes())
}

fn page_header(slots: u32, instance: u128) -> [u8; PAGE_HEADER] {
    let mut bytes = [0; PAGE_HEADER];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&slots.to_le_bytes());
    bytes[16..32].copy_from_slice(&instance.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..32]);
    bytes[32..36].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn home_shard() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static HOME: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS);
    }
    HOME.with(Cell::get)
}

/// Returns the marks that a dead instance left set. Torn ones, as a power cut may leave them, are
/// skipped.
pub(crate) fn read(path: &Path, instance: u128) -> Result<Vec<Vec<u8>>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        // The process was killed while it started.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    parse(&bytes, path, instance)
}

/// Returns the valid marks among the bytes of a table.
pub(crate) fn parse(bytes: &[u8], path: &Path, instance: u128) -> Result<Vec<Vec<u8>>, Error> {
    let Some(page) = bytes
        .get(..PAGE_BYTES)
        .filter(|page| page.iter().any(|byte| *byte != 0))
    else {
        return Ok(Vec::new());
    };
    let found = format::u32_at(page, 8).unwrap_or(0);
    if page[..8] == MAGIC && found > VERSION {
        return Err(Error::NewerVersion {
            path: path.to_owned(),
            found,
            known: VERSION,
        });
    }
    let slots = format::u32_at(page, 12).unwrap_or(0);
    if page[..PAGE_HEADER] != page_header(slots, instance) {
        return Err(Error::Corrupt {
            path: path.to_owned(),
            offset: 0,
            what: "the header does not fit",
        });
    }
    let salt = salt(instance);
    Ok(bytes[PAGE_BYTES..]
        .chunks_exact(SLOT_BYTES)
        .filter_map(|slot| valid(slot, salt))
        .collect())
}

fn valid(slot: &[u8], salt: u32) -> Option<Vec<u8>> {
    let len = format::u32_at(slot, 8)?;
    let payload = slot.get(SLOT_HEADER..SLOT_HEADER + len as usize)?;
    let fits = format::u64_at(slot, 0)? == SET
        && crc32c::crc32c_append(salt.wrapping_add(len), payload) == format::u32_at(slot, 12)?;
    fits.then(|| payload.to_vec())
}
