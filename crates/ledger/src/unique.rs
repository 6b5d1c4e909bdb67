//! The search for call ids that occur twice, in bounded memory: the ids are gone through several
//! times, a part of them each time.

use crate::context::LedgerContext;
use crate::error::Error;

/// The number of ids that are looked at in one pass: 64 MB.
const PASS: u64 = 4_000_000;
/// The number of doubled ids that are named at most.
const MAX_NAMED: usize = 1_000;

/// The places in which call ids are searched.
#[derive(Debug, Default)]
pub(crate) struct Unique {
    files: Vec<String>,
    /// The ids that are in no file yet; as many as the journal holds unsealed.
    kept: Vec<u128>,
    count: u64,
}

impl Unique {
    /// Adds a file with its number of records.
    pub(crate) fn file(&mut self, name: &str, records: u64) {
        self.files.push(name.to_owned());
        self.count += records;
    }

    /// Adds one id.
    pub(crate) fn keep(&mut self, id: u128) {
        self.kept.push(id);
        self.count += 1;
    }

    /// Returns the ids that occur more than once, and how often.
    pub(crate) fn doubled(&self, context: &LedgerContext) -> Result<Vec<(u128, u64)>, Error> {
        let passes = u128::from(self.count / PASS + 1);
        let mut doubled = Vec::new();
        for pass in 0..passes {
            // The low bits count a worker's calls: they spread ids evenly.
            let mut ids: Vec<u128> = self.kept.clone();
            ids.retain(|id| id % passes == pass);
            for file in &self.files {
                context.open(file)?.call_ids(&mut |id| {
                    if id % passes == pass {
                        ids.push(id);
                    }
                })?;
            }
            ids.sort_unstable();
            for group in ids.chunk_by(|a, b| a == b) {
                if group.len() > 1 && doubled.len() < MAX_NAMED {
                    doubled.push((group[0], group.len() as u64));
                }
            }
        }
        Ok(doubled)
    }
}
