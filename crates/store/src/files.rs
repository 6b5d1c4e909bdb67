//! The store of sealed files where every gate of a fleet can read them: in the store itself, or on
//! an object store.

use async_trait::async_trait;

use crate::error::Error;
use crate::ledger::SealedFile;

/// The bytes of sealed files, kept beside their lines in the manifest.
#[async_trait]
pub trait SealedFiles: Send + Sync + 'static {
    /// Commits a seal as [`LedgerStore::commit_seal`](crate::LedgerStore::commit_seal) does, with
    /// the file's bytes: in the same transaction, or before their line.
    ///
    /// # Errors
    /// [`Error::Position`] if the sealed position is neither where the range begins nor where it
    /// ends.
    async fn commit_seal_with(&self, file: SealedFile, content: Vec<u8>) -> Result<(), Error>;

    /// Keeps the bytes of a file that is in the manifest already, as when it was made again;
    /// replaces the bytes that were kept.
    async fn put_content(&self, name: &str, content: Vec<u8>) -> Result<(), Error>;

    /// Returns the bytes of a file; `None`: they are not kept, or were removed by retention.
    async fn content(&self, name: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Returns the names of all files whose bytes are kept, in order of name.
    async fn content_names(&self) -> Result<Vec<String>, Error>;

    /// Removes the bytes of a file; nothing if there are none. Where they are in the store,
    /// [`LedgerStore::mark_removed`](crate::LedgerStore::mark_removed) has done so already.
    async fn remove_content(&self, name: &str) -> Result<(), Error>;
}
