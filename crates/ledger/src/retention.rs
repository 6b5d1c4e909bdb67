//! The retention of sealed files: old files are removed, their rollups and their lines in the
//! manifest stay.

use std::io::ErrorKind;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::Timestamp;

use crate::error::Error;
use crate::file::file_name;
use crate::ledger::{Ledger, Shared};
use crate::seal::files_in;

/// The number of files that are asked for at once.
const BATCH_SIZE: usize = 1_000;

impl Ledger {
    /// Removes the sealed files that are older than the retention. Returns how many. The ledger
    /// also does this from time to time by itself.
    ///
    /// # Errors
    /// Returns an error when the store does not answer or a file cannot be removed.
    pub async fn remove_old(&self) -> Result<usize, Error> {
        let shared = std::sync::Arc::clone(&self.shared);
        self.run(move || shared.remove_old_files()).await
    }
}

impl Shared {
    pub(crate) fn remove_old_files(&self) -> Result<usize, Error> {
        let context = &self.context;
        let retention = self.options.retention;
        if retention.is_none() && !context.keeps_files {
            return Ok(0);
        }
        let now = context.clock.now();
        let _manifest = context
            .manifest
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if self.readers.load(Ordering::SeqCst) > 0 {
            return Ok(0);
        }
        let removed = match retention {
            Some(retention) => self.remove_before(now, retention)?,
            None => 0,
        };
        self.tidy_directory()?;
        if removed > 0 {
            context.remove_kept()?;
        }
        Ok(removed)
    }

    /// Removes all files whose calls are older. Returns how many.
    fn remove_before(&self, now: Timestamp, retention: Duration) -> Result<usize, Error> {
        let context = &self.context;
        let age = i64::try_from(retention.as_micros()).unwrap_or(i64::MAX);
        let before = now.plus_micros(age.saturating_neg());
        let mut removed = 0;
        loop {
            let old = context
                .store
                .ask(|store| async move { store.old_files(before, BATCH_SIZE).await })?;
            for file in &old {
                let name = file.name.clone();
                // The line is marked first: a file that is gone without a mark would count as lost.
                context
                    .store
                    .ask(|store| async move { store.mark_removed(&name, now).await })?;
            }
            removed += old.len();
            if old.len() < BATCH_SIZE {
                return Ok(removed);
            }
        }
    }

    /// Removes this machine's files that some gate has removed, and copies of files that are kept
    /// elsewhere. The copies stay as long as the journal, to be put back into a store that is
    /// restored.
    fn tidy_directory(&self) -> Result<(), Error> {
        let context = &self.context;
        let names: Vec<_> = files_in(&context.directory)?
            .iter()
            .map(file_name)
            .collect();
        for some in names.chunks(BATCH_SIZE) {
            for file in context.files_named(some.to_vec())? {
                if file.removed_at.is_none() {
                    context.remove_copy(&file.name, self.options.keep)?;
                    continue;
                }
                let path = context.directory.join(&file.name);
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(Error::io("remove", &path)(error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
