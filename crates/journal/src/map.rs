//! Memory-mapped files: the only unsafe code of the crate.
//!
//! Three assumptions hold for everything here. The file of a map keeps its length: this crate never
//! truncates a mapped file, and the instance's lock keeps other processes of ours away. Its blocks
//! are allocated, because the file was written in full before it was mapped, so that no store meets
//! a full disk. (Should the disk fail to read back a page that was evicted, the process dies of
//! SIGBUS, as it would of a failing swap device.) Another program that changes the file while it is
//! mapped can change bytes under a shared slice; whoever may write the data directory is trusted
//! that far.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A mapped range, unmapped when dropped.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread; what may be read or written through `base`, and when,
// is decided by the two types below, which own their mapping.
unsafe impl Send for Mapping {}
// SAFETY: as above; a shared `Mapping` by itself offers no access.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(file: &File, len: usize) -> io::Result<Self> {
        if file.metadata()?.len() < len as u64 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "file is shorter than its map",
            ));
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours; the descriptor is
        // open for the call, and the mapping outlives it by itself.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base =
            NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))?;
        Ok(Self { base, len })
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        &self.words(at, 1)[0]
    }

    fn words(&self, at: usize, count: usize) -> &[AtomicU64] {
        assert!(
            at.is_multiple_of(8) && at <= self.len && count <= (self.len - at) / 8,
            "{count} words at {at} are outside the map"
        );
        // SAFETY: the words lie inside the mapping and are aligned, because `base` is page-aligned. That no plain
        // access runs beside an atomic one is argued in the two types below.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(at).cast(), count) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `base` and `len` are what mmap gave, and nobody holds a slice: slices borrow the owner of this value.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// A mapped segment for its readers: bytes below the published end never change.
#[derive(Debug)]
pub(crate) struct Map {
    mapping: Mapping,
    published: AtomicUsize,
}

impl Map {
    /// Maps the first `len` bytes of `file`, with nothing published, and returns the only writer.
    pub(crate) fn writable(file: &File, len: usize) -> io::Result<MapWriter> {
        let mapping = Mapping::new(file, len)?;
        Ok(MapWriter {
            map: Arc::new(Self {
                mapping,
                published: AtomicUsize::new(0),
            }),
        })
    }

    /// Gives the pages of a segment that is read rarely from now on back to the page cache, so that
    /// they do not count as this process's memory.
    pub(crate) fn rest(&self) {
        let Mapping { base, len } = self.mapping;
        // SAFETY: the range is exactly the mapping. Of a shared file mapping this drops page table entries only: the
        // addresses stay valid, and the next access finds the same bytes in the page cache or the file.
        unsafe { libc::madvise(base.as_ptr().cast(), len, libc::MADV_DONTNEED) };
    }

    /// Returns the bytes below `end`.
    ///
    /// # Panics
    /// If `end` is beyond the published end.
    pub(crate) fn published(&self, end: usize) -> &[u8] {
        assert!(
            end <= self.published.load(Ordering::Acquire),
            "read beyond the published end"
        );
        // SAFETY: `published` never exceeds the mapping's length and never falls; the only writer refuses to store below
        // it, and its stores to this range happened before the Release store of `published` that we just acquired.
        // So the range is initialised and nobody writes it while the slice lives, which borrows the mapping's owner.
        unsafe { std::slice::from_raw_parts(self.mapping.base.as_ptr(), end) }
    }
}

/// The only writer of a [`Map`], which can be neither cloned nor shared.
#[derive(Debug)]
pub(crate) struct MapWriter {
    map: Arc<Map>,
}

impl MapWriter {
    pub(crate) fn map(&self) -> &Arc<Map> {
        &self.map
    }

    pub(crate) fn len(&self) -> usize {
        self.map.mapping.len
    }

    /// Copies `bytes` to offset `at`.
    ///
    /// # Panics
    /// If the range is outside the map or below the published end.
    pub(crate) fn store(&mut self, at: usize, bytes: &[u8]) {
        assert!(
            at <= self.len() && bytes.len() <= self.len() - at,
            "store outside the map"
        );
        assert!(
            at >= self.map.published.load(Ordering::Relaxed),
            "store below the published end"
        );
        // SAFETY: the range was checked to be inside the mapping. No reference to it exists: readers get slices below
        // `published` only, and `&mut self` excludes a second writer, as the writer of a map cannot be cloned.
        // Source and target cannot overlap for the same reason.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.map.mapping.base.as_ptr().add(at),
                bytes.len(),
            );
        }
    }

    /// Stores one aligned word after all stores before it, so that a process killed in between leaves the old word.
    ///
    /// # Panics
    /// As [`store`](Self::store), and if `at` is not a multiple of 8.
    pub(crate) fn store_word(&mut self, at: usize, word: u64) {
        assert!(
            at >= self.map.published.load(Ordering::Relaxed),
            "store below the published end"
        );
        // The word is unpublished, so no reader's slice covers it, and `&mut self` excludes other
        // writers.
        self.map
            .mapping
            .word(at)
            .store(word.to_le(), Ordering::Release);
    }

    /// Publishes everything below `end` to readers. What is published stays published.
    ///
    /// # Panics
    /// If `end` is outside the map.
    pub(crate) fn publish(&mut self, end: usize) {
        assert!(end <= self.len(), "published outside the map");
        if end > self.map.published.load(Ordering::Relaxed) {
            self.map.published.store(end, Ordering::Release);
        }
    }
}

/// A mapped table of words that any thread may store to. It hands out no slice and uses atomic
/// words only, so stores that collide leave one of the two words and are never undefined.
#[derive(Debug)]
pub(crate) struct WordMap {
    mapping: Mapping,
}

impl WordMap {
    /// Maps the first `len` bytes of `file`.
    pub(crate) fn new(file: &File, len: usize) -> io::Result<Self> {
        Ok(Self {
            mapping: Mapping::new(file, len)?,
        })
    }

    /// Copies `bytes` to offset `at`, with the last word filled up with zeros.
    ///
    /// # Panics
    /// If the range is outside the map or `at` is not a multiple of 8.
    pub(crate) fn store(&self, at: usize, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let filled_up = (!rest.is_empty()).then_some(&last);
        let places = self.mapping.words(at, bytes.len().div_ceil(8));
        for (place, word) in places.iter().zip(words.iter().chain(filled_up)) {
            place.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
        }
    }

    /// Stores one word after all stores before it.
    ///
    /// # Panics
    /// As [`store`](Self::store).
    pub(crate) fn store_last(&self, at: usize, word: u64) {
        self.mapping.word(at).store(word.to_le(), Ordering::Release);
    }
}
