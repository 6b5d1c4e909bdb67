//! Dead instances: those whose process is gone.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::dead_lane::{self, DeadLane};
use crate::reader::Reader;
use crate::{Error, files, marks};

/// An instance whose process is gone. It stays locked while this value or one of its readers lives.
/// Nothing is ever added to its records.
#[derive(Debug)]
pub struct DeadInstance {
    path: PathBuf,
    instance: u128,
    lanes: usize,
    lock: Arc<File>,
}

/// Returns the instances under `directory` whose process is gone; none if the directory does not
/// exist.
///
/// # Errors
/// Returns an error if the directory, or an instance in it, cannot be read.
pub fn dead_instances(directory: &Path) -> Result<Vec<DeadInstance>, Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", directory)(error)),
    };
    let mut dead = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("list", directory))?;
        if entry
            .file_name()
            .to_str()
            .and_then(files::parse_instance)
            .is_none()
        {
            continue;
        }
        match DeadInstance::open(&entry.path()) {
            Ok(instance) => dead.push(instance),
            Err(Error::Locked { .. }) => {}
            // Another process has just removed it.
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    dead.sort_by_key(|instance| std::cmp::Reverse(instance.age()));
    Ok(dead)
}

impl DeadInstance {
    /// Opens and locks one instance's directory.
    ///
    /// # Errors
    /// Returns [`Error::Locked`] while its process lives or another process reads it, and
    /// [`Error::NotAnInstance`] for any other directory.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = path.file_name().and_then(|name| name.to_str());
        let instance = name.and_then(files::parse_instance);
        let instance = instance.ok_or_else(|| Error::NotAnInstance {
            path: path.to_owned(),
        })?;
        let lock_path = path.join(files::LOCK);
        let lock = File::open(&lock_path).map_err(Error::io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &lock_path)(error)),
        }
        let lanes = dead_lane::count_lanes(path).map_err(Error::io("list", path))?;
        Ok(Self {
            path: path.to_owned(),
            instance,
            lanes,
            lock: Arc::new(lock),
        })
    }

    /// Returns the id of the instance.
    pub fn instance(&self) -> u128 {
        self.instance
    }

    /// Returns the directory of the instance.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of lanes that left files.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Returns the time since anything in the directory changed; zero if the system does not tell.
    pub fn age(&self) -> Duration {
        let changed = |path: &Path| {
            fs::metadata(path)
                .and_then(|metadata| metadata.modified())
                .ok()
        };
        let files = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let newest = files
            .filter_map(|entry| changed(&entry.path()))
            .chain(changed(&self.path))
            .max();
        newest
            .and_then(|newest| SystemTime::now().duration_since(newest).ok())
            .unwrap_or_default()
    }

    /// Returns the size of the files in bytes.
    pub fn bytes(&self) -> u64 {
        let files = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let lengths = files.filter_map(|file| file.metadata().ok());
        lengths.map(|metadata| metadata.len()).sum()
    }

    /// Deletes the files that were prepared and never used.
    ///
    /// # Errors
    /// Returns an error if the system refuses.
    pub fn delete_spares(&self) -> Result<(), Error> {
        let files = fs::read_dir(&self.path).map_err(Error::io("list", &self.path))?;
        for file in files.flatten() {
            let name = file.file_name();
            if name
                .to_str()
                .is_some_and(|name| name.starts_with(files::SPARE))
            {
                let path = file.path();
                fs::remove_file(&path).map_err(Error::io("delete", &path))?;
            }
        }
        Ok(())
    }

    /// Returns a reader like [`Lane::reader_from`](crate::Lane::reader_from), up to the lane's end.
    /// Frames that were open when the process died are those without a close at the end.
    ///
    /// # Errors
    /// Returns an error if the lane is damaged or a segment is missing.
    pub fn reader_from(&self, lane: usize, number: u64) -> Result<Reader, Error> {
        Arc::new(self.lane(lane)?).reader_from(number)
    }

    /// Returns the smallest number that [`reader_from`](Self::reader_from) takes: the number of
    /// closes in the segments that are gone.
    ///
    /// # Errors
    /// Returns an error if a segment cannot be read.
    pub fn kept_from(&self, lane: usize) -> Result<u64, Error> {
        Ok(self.lane(lane)?.kept_from())
    }

    fn lane(&self, lane: usize) -> Result<DeadLane, Error> {
        if lane >= self.lanes {
            return Err(Error::NoLane {
                path: self.path.clone(),
                lane,
            });
        }
        DeadLane::open(
            &self.path,
            self.instance,
            lane as u32,
            Arc::clone(&self.lock),
        )
    }

    /// Returns the last close number of a lane.
    ///
    /// # Errors
    /// Returns an error if the end of the lane is damaged.
    pub fn closed(&self, lane: usize) -> Result<u64, Error> {
        let mut reader = self.reader_from(lane, u64::MAX)?;
        while reader.next()?.is_some() {}
        Ok(reader.closed())
    }

    /// Returns the marks that were still set. Torn ones, as a power cut may leave them, are
    /// skipped.
    ///
    /// # Errors
    /// Returns an error if the table cannot be read or its header is damaged.
    pub fn marks(&self) -> Result<Vec<Vec<u8>>, Error> {
        marks::read(&self.path.join(files::MARKS), self.instance)
    }

    /// Deletes the instance, durably.
    ///
    /// # Errors
    /// Returns an error if the system refuses; the rest is deleted when the next journal is
    /// created.
    pub fn remove(self) -> Result<(), Error> {
        let name = files::instance_name(self.instance);
        let gone = self.path.with_file_name(format!(".{name}{GONE}"));
        fs::rename(&self.path, &gone).map_err(Error::io("rename", &self.path))?;
        files::sync_parent(&gone).map_err(Error::io("sync the directory of", &gone))?;
        fs::remove_dir_all(&gone).map_err(Error::io("delete", &gone))
    }
}

const GONE: &str = ".gone";

/// Deletes the rest of interrupted removals, as far as possible.
pub(crate) fn sweep(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let of = name
            .to_str()
            .and_then(|name| name.strip_prefix('.')?.strip_suffix(GONE));
        if of.and_then(files::parse_instance).is_some() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
