//! The access to sealed files: those in this machine's directory, and those that the store or an
//! object store keeps, which are fetched when they are read.
//!
//! Fetched files are in a folder of their own: recovery takes every file in the directory itself
//! for one that this machine sealed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use store::{SealedFile, SealedFiles, Store};

use crate::context::LedgerContext;
use crate::error::Error;
use crate::file::{SealedReader, parse_file_name};

/// The name of the folder of fetched files.
const FOLDER: &str = "fetched";
/// The largest size of that folder in bytes; the oldest files are removed first.
const MAX_CACHE_BYTES: u64 = 1 << 30;

impl LedgerContext {
    /// Opens a file of the manifest for reading, wherever it is.
    pub(crate) fn open(&self, name: &str) -> Result<SealedReader, Error> {
        match SealedReader::open(&self.local(name)?) {
            // Another fetch removed it to make room at this very moment.
            Err(error) if self.keeps_files && is_missing(&error) => {
                SealedReader::open(&self.local(name)?)
            }
            opened => opened,
        }
    }

    /// Returns the path at which a file of the manifest can be read. For a file that is nowhere,
    /// that is its path in the directory.
    pub(crate) fn local(&self, name: &str) -> Result<PathBuf, Error> {
        let own = self.directory.join(name);
        let fetched = self.directory.join(FOLDER).join(name);
        if !self.keeps_files || own.exists() {
            return Ok(own);
        }
        if fetched.exists() {
            return Ok(fetched);
        }
        self.fetch(name)
    }

    /// Returns the path of a file as it is kept: the store's copy counts, whatever lies here
    /// already.
    pub(crate) fn as_kept(&self, name: &str) -> Result<PathBuf, Error> {
        if self.keeps_files {
            return self.fetch(name);
        }
        Ok(self.directory.join(name))
    }

    /// Puts a file of the directory into the manifest, with its bytes where the store keeps them.
    pub(crate) fn commit_file(&self, file: SealedFile) -> Result<(), Error> {
        if !self.keeps_files {
            return self
                .store
                .ask(|store| async move { store.commit_seal(file).await });
        }
        let content = self.read_own(&file.name)?;
        let files = self.files.clone();
        self.store.ask(|store| async move {
            match keeper(&files, &*store) {
                Some(keeper) => keeper.commit_seal_with(file, content).await,
                None => store.commit_seal(file).await,
            }
        })
    }

    /// Gives the store the bytes of a file of the directory again, if it keeps them.
    pub(crate) fn keep_file(&self, name: &str) -> Result<(), Error> {
        if !self.keeps_files {
            return Ok(());
        }
        let content = self.read_own(name)?;
        let files = self.files.clone();
        self.store.ask(|store| async move {
            match keeper(&files, &*store) {
                Some(keeper) => keeper.put_content(name, content).await,
                None => Ok(()),
            }
        })
    }

    /// Returns the names of the files that the store keeps.
    pub(crate) fn kept_names(&self) -> Result<Vec<String>, Error> {
        let files = self.files.clone();
        self.store.ask(|store| async move {
            match keeper(&files, &*store) {
                Some(keeper) => keeper.content_names().await,
                None => Ok(Vec::new()),
            }
        })
    }

    /// Removes the kept bytes of files that retention has removed.
    pub(crate) fn remove_kept(&self) -> Result<(), Error> {
        const BATCH_SIZE: usize = 1_000;
        // The store removes the bytes together with the manifest's line.
        let Some(files) = self.files.clone() else {
            return Ok(());
        };
        for some in self.kept_names()?.chunks(BATCH_SIZE) {
            let known = self.files_named(some.to_vec())?;
            for file in known.iter().filter(|file| file.removed_at.is_some()) {
                self.store.ask(|_| files.remove_content(&file.name))?;
            }
        }
        Ok(())
    }

    /// Returns the manifest's lines with these names.
    pub(crate) fn files_named(&self, names: Vec<String>) -> Result<Vec<SealedFile>, Error> {
        self.store
            .ask(|store| async move { store.files_named(names).await })
    }

    /// Removes this machine's copy of a file that the store keeps, if the copy is older than `age`.
    pub(crate) fn remove_copy(&self, name: &str, age: Duration) -> Result<(), Error> {
        let path = self.directory.join(name);
        let modified = path.metadata().and_then(|metadata| metadata.modified());
        let old =
            modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|elapsed| elapsed > age));
        if self.keeps_files && old {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }

    fn read_own(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.directory.join(name);
        fs::read(&path).map_err(Error::io("read", &path))
    }

    /// Fetches a file from the store. Returns its path, where nothing is if the store has no such
    /// file.
    fn fetch(&self, name: &str) -> Result<PathBuf, Error> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let folder = self.directory.join(FOLDER);
        let path = folder.join(name);
        // A name from the store becomes a path: only the name of a sealed file is taken.
        if parse_file_name(name).is_none() {
            return Ok(path);
        }
        let files = self.files.clone();
        let content = self.store.ask(|store| async move {
            match keeper(&files, &*store) {
                Some(keeper) => keeper.content(name).await,
                None => Ok(None),
            }
        })?;
        let Some(content) = content else {
            remove_if_there(&path)?;
            return Ok(path);
        };
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let part = folder.join(format!("{}-{number}.part", std::process::id()));
        fs::write(&part, content).map_err(Error::io("write", &part))?;
        fs::rename(&part, &path).map_err(Error::io("rename", &part))?;
        make_room(&folder, &path)?;
        Ok(path)
    }
}

/// Returns the store of the files' bytes, if they are kept anywhere but in the directory.
fn keeper<'a>(
    files: &'a Option<Arc<dyn SealedFiles>>,
    store: &'a dyn Store,
) -> Option<&'a dyn SealedFiles> {
    files.as_deref().or_else(|| store.sealed_files())
}

/// Removes the files that were fetched first, until the rest is small enough.
fn make_room(folder: &Path, newest: &Path) -> Result<(), Error> {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        // A file that is gone meanwhile takes no room.
        if let Ok(metadata) = entry.metadata()
            && entry.path() != newest
        {
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            files.push((modified, metadata.len(), entry.path()));
        }
    }
    files.sort_unstable();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if total <= MAX_CACHE_BYTES {
            break;
        }
        remove_if_there(&path)?;
        total -= bytes;
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
