//! `[journal]` and `[ledger]`: the records of the last days, and those that are sealed.

use std::path::PathBuf;

use model::Interval;

use crate::bytes::ByteSize;
use crate::duration::Millis;
use crate::reader::Section;
use crate::store::is_url;
use crate::value::{FromValue, words};

/// `[journal]`: the records of the last days, on the way of every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The failure that a record must survive before the caller sees the status \[`disk`\].
    pub durability: Durability,
    /// The time that a segment is kept after it was passed on \[72 h\].
    pub keep: Interval,
    /// The size of passed segments together beyond which they are deleted early, oldest first \[1
    /// GiB\].
    pub keep_bytes: ByteSize,
    /// The size of one segment file, 64 KiB to 1 GiB, a multiple of 4 KiB \[16 MiB\].
    pub segment_bytes: ByteSize,
    /// The longest time that a sync waits so that more records share it, in proportion to how many
    /// shared the last one; at most 1 s \[4 ms\].
    pub commit_window: Millis,
}

words! {
    /// The failure that the record of a call must survive before its caller sees the status.
    Durability {
        /// A power cut: the record is synced to the disk.
        #[default]
        Disk = "disk",
        /// `kill -9`, but not a power cut: the record is in the kernel's hands.
        Process = "process",
    }
}

/// `[ledger]`: sealed files and rollups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The folder of sealed files, relative to the configuration file; `None`: `ledger` in
    /// `data_dir`.
    pub directory: Option<PathBuf>,
    /// The object store that keeps sealed files for all gates; `None`: none does.
    pub objects: Option<ObjectsUrl>,
    /// The time that sealed files are kept; `None`: for ever. Rollups stay.
    pub retention: Option<Interval>,
    /// The size of records at which they are sealed into a file, 64 KiB to 1 GiB \[64 MiB\].
    pub seal_bytes: ByteSize,
    /// The longest time until records are sealed \[1 h\].
    pub seal_every: Millis,
    /// The time between two updates of the rollups in the store \[2 s\].
    pub rollup_every: Millis,
}

/// A folder of an object store, such as `s3://bucket/folder`. Credentials never stand in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectsUrl(String);

impl ObjectsUrl {
    /// Returns the URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromValue for ObjectsUrl {
    const EXPECTED: &'static str =
        "\"s3://bucket/folder\", \"gs://bucket/folder\" or \"az://container/folder\"";

    fn from_text(text: &str) -> Option<Result<Self, String>> {
        let valid = is_url(text, &["s3", "gs", "az"]) && !text.contains(['@', '?', '#']);
        Some(valid.then(|| Self(text.to_owned())).ok_or_else(|| {
            format!(
                "this is not a folder of an object store: write {}",
                Self::EXPECTED
            )
        }))
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            durability: Durability::Disk,
            keep: Interval::from_seconds(72 * 3_600).expect("72 hours are an interval"),
            keep_bytes: ByteSize::from_mebibytes(1_024),
            segment_bytes: ByteSize::from_mebibytes(16),
            commit_window: Millis::from_millis(4),
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            directory: None,
            objects: None,
            retention: None,
            seal_bytes: ByteSize::from_mebibytes(64),
            seal_every: Millis::from_seconds(3_600),
            rollup_every: Millis::from_seconds(2),
        }
    }
}

const MIN_FILE_BYTES: ByteSize = ByteSize::from_bytes(64 << 10);
const MAX_FILE_BYTES: ByteSize = ByteSize::from_mebibytes(1_024);

impl Journal {
    pub(crate) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let journal = Self {
            durability: section.value("durability", default.durability),
            keep: section.value("keep", default.keep),
            keep_bytes: section.value("keep_bytes", default.keep_bytes),
            segment_bytes: section.size(
                "segment_bytes",
                MIN_FILE_BYTES..=MAX_FILE_BYTES,
                default.segment_bytes,
            ),
            commit_window: section.value("commit_window", default.commit_window),
        };
        if !journal.segment_bytes.bytes().is_multiple_of(4_096) {
            let message = format!(
                "segment_bytes: {} is not a multiple of 4KiB: write such as \"16MiB\"",
                journal.segment_bytes
            );
            section.report(section.at("segment_bytes"), message);
        }
        if journal.commit_window > Millis::from_seconds(1) {
            let message = format!(
                "commit_window: {} is not allowed here: write 0s to 1s",
                journal.commit_window
            );
            section.report(section.at("commit_window"), message);
        }
        section.finish();
        journal
    }
}

impl Ledger {
    pub(crate) fn read(section: Section<'_>) -> Self {
        let default = Self::default();
        let directory: Option<PathBuf> = section.unless_empty("directory");
        let ledger = Self {
            directory: directory.map(|path| section.reader().resolve(&path)),
            objects: section.unless_empty("objects"),
            retention: section.unless_empty("retention"),
            seal_bytes: section.size(
                "seal_bytes",
                MIN_FILE_BYTES..=MAX_FILE_BYTES,
                default.seal_bytes,
            ),
            seal_every: section.timeout("seal_every", default.seal_every),
            rollup_every: section.timeout("rollup_every", default.rollup_every),
        };
        section.finish();
        ledger
    }
}
