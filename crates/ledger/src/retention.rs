//! Retention: old sealed files go, their rollups and their lines in the manifest stay.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use store::SealedFile;

use crate::error::Error;
use crate::ledger::{Ledger, Shared};

impl Ledger {
    /// Removes the sealed files that are older than the retention; how many. This is also done from time to time by itself.
    ///
    /// # Errors
    /// When the store does not answer or a file cannot be removed.
    pub async fn remove_old(&self) -> Result<usize, Error> {
        let shared = std::sync::Arc::clone(&self.shared);
        self.run(move || shared.remove_old_files()).await
    }
}

impl Shared {
    pub(crate) fn remove_old_files(&self) -> Result<usize, Error> {
        let books = &self.books;
        let retention = self.options.retention;
        if retention.is_none() && !books.keeps_files {
            return Ok(0);
        }
        let now = books.clock.now();
        let _manifest = books
            .manifest
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if self.readers.load(Ordering::SeqCst) > 0 {
            return Ok(0);
        }
        let files = books
            .store
            .ask(|store| async move { store.manifest(None, None).await })?;
        let (mut removed, mut gone) = (0, HashSet::new());
        for file in files {
            let age = now.since(file.last_started_at);
            let old =
                retention.is_some_and(|retention| age > retention) && self.is_rolled(&file)?;
            if file.removed_at.is_none() && !old {
                // The store has it. The copy stays as long as the journal, to be put back into a store that is restored.
                books.forget_copy(&file.name, self.options.keep)?;
                continue;
            }
            if file.removed_at.is_none() {
                let name = file.name.clone();
                // The line first: a file that is gone without a word would count as lost.
                books
                    .store
                    .ask(|store| async move { store.mark_removed(&name, now).await })?;
                removed += 1;
            }
            let path = books.directory.join(&file.name);
            gone.insert(file.name);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(error));
                }
                _ => {}
            }
        }
        books.remove_kept(&gone)?;
        Ok(removed)
    }

    fn is_rolled(&self, file: &SealedFile) -> Result<bool, Error> {
        let range = &file.range;
        let position = self.books.position(range.instance, range.lane)?;
        Ok(position.rolled >= range.through)
    }
}
