//! The journal of a process: its creation, its two threads, its shutdown.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use crate::committer::Committer;
use crate::files::{self, Blank};
use crate::format::Header;
use crate::lane::Lane;
use crate::marks::{MarkSlot, Marks};
use crate::options::{Observer, Unobserved};
use crate::prepare::Preparer;
use crate::state::{self, JournalState};
use crate::writer::Writer;
use crate::{Error, Options, Unavailable, dead};

/// Counters of a journal since its creation, and its state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// The number of syncs that made a lane's frames durable.
    pub commits: u64,
    /// The number of syncs that the disk refused.
    pub failed_syncs: u64,
    /// The number of segments in use or kept, over all lanes.
    pub segments: u64,
    /// The number of mark slots in use.
    pub marks: u64,
    /// Whether the journal refuses records because the disk does.
    pub failed: bool,
    /// The reason for which the journal takes no records, or soon will take none because the next
    /// segment cannot be prepared.
    pub unavailable: Option<Unavailable>,
}

/// The journal of this process. Cheap to clone; dropping the last handle shuts it down.
#[derive(Debug, Clone)]
pub struct Journal {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    state: Arc<JournalState>,
    lanes: Vec<Arc<Lane>>,
    marks: Arc<Marks>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Journal {
    /// Creates a journal: makes and locks the instance's directory, writes its first segments in
    /// full, and starts the threads `journal-commit` and `journal-prepare`. Takes as long as the
    /// disk needs for [`Options::first_bytes`]. If it fails, it leaves nothing behind, so that
    /// repeated tries do not fill a disk that is full already.
    ///
    /// # Errors
    /// Returns [`Error::Option`], [`Error::Locked`] and [`Error::Exists`], which are the caller's
    /// fault, and [`Error::Io`], which is the disk's.
    pub fn create(options: Options) -> Result<Self, Error> {
        Self::create_observed(options, Arc::new(Unobserved))
    }

    /// Creates a journal like [`create`](Self::create), and calls `observer` for each commit.
    ///
    /// # Errors
    /// Returns the errors of [`create`](Self::create).
    pub fn create_observed(options: Options, observer: Arc<dyn Observer>) -> Result<Self, Error> {
        options.check()?;
        dead::sweep(&options.directory);
        let (directory, lock) = claim(&options)?;
        let made = Self::make(options, &directory, lock, observer);
        if made.is_err() {
            // Nothing was ever written to it. Files that cannot be deleted are found as a dead
            // instance without records.
            let _ = fs::remove_dir_all(&directory);
        }
        made
    }

    fn make(
        options: Options,
        directory: &Path,
        lock: File,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Error> {
        let directory = directory.to_owned();
        let state = Arc::new(JournalState::new(
            options,
            directory,
            files::boot_id(),
            lock,
        ));
        let marks = state.directory.join(files::MARKS);
        let marks = Marks::create(&marks, state.options.mark_slots, state.options.instance)
            .map_err(Error::io("prepare the table of marks", &marks))?;
        let lanes = (0..state.options.lanes)
            .map(|index| begin_lane(&state, index))
            .collect::<Result<Vec<_>, _>>()?;
        let spare = Preparer::first_spare(&state);
        let spare = Blank::create(spare.clone(), state.segment_bytes())
            .map_err(Error::io("prepare", &spare))?;
        files::sync_directory(&state.directory).map_err(Error::io("sync", &state.directory))?;

        let committer = Committer::new(Arc::clone(&state), lanes.clone(), observer);
        let preparer = Preparer::new(Arc::clone(&state), lanes.clone(), spare);
        let running = Running {
            state,
            lanes,
            marks: Arc::new(marks),
            threads: Mutex::default(),
        };
        running.start("journal-commit", move || committer.run())?;
        running.start("journal-prepare", move || preparer.run())?;
        Ok(Self {
            running: Arc::new(running),
        })
    }

    /// Returns lane `index`, counted from 0. It stays usable as long as it is held.
    ///
    /// # Panics
    /// If the journal has no such lane.
    pub fn lane(&self, index: usize) -> Arc<Lane> {
        Arc::clone(&self.running.lanes[index])
    }

    /// Returns all lanes, in order.
    pub fn lanes(&self) -> &[Arc<Lane>] {
        &self.running.lanes
    }

    /// Puts a mark into a slot that survives `kill -9`, without a system call. `None`: all slots
    /// are taken, and the call must be refused.
    ///
    /// # Panics
    /// If the mark is longer than 240 bytes.
    pub fn mark(&self, bytes: &[u8]) -> Option<MarkSlot> {
        self.running.marks.set(bytes)
    }

    /// Returns the id of this process start, as given.
    pub fn instance(&self) -> u128 {
        self.running.state.options.instance
    }

    /// Returns the directory of the instance.
    pub fn directory(&self) -> &Path {
        &self.running.state.directory
    }

    /// Returns the counters since creation, and the state.
    pub fn stats(&self) -> Stats {
        let state = &self.running.state;
        Stats {
            commits: state.commits.load(Ordering::Relaxed),
            failed_syncs: state.failed_syncs.load(Ordering::Relaxed),
            segments: self
                .running
                .lanes
                .iter()
                .map(|lane| lane.segments().len() as u64)
                .sum(),
            marks: self.running.marks.used(),
            failed: state.failed(),
            unavailable: state.unavailable().or_else(|| state.shortage()),
        }
    }

    /// Shuts down a journal, and deletes it if nothing was written to it, as when the start that
    /// made it has failed. One that holds records or marks is only shut down.
    ///
    /// # Errors
    /// Returns an error if the system refuses to delete it.
    pub fn discard(self) -> Result<(), Error> {
        self.shutdown();
        let unused = |lane: &Arc<Lane>| lane.opened() == 0;
        if !self.lanes().iter().all(unused) || self.running.marks.used() > 0 {
            return Ok(());
        }
        let directory = self.directory();
        fs::remove_dir_all(directory).map_err(Error::io("delete", directory))
    }

    /// Syncs everything, answers all who wait, and stops the threads. Afterwards nothing can be
    /// reserved; frames that are still written in space reserved before are not synced any more.
    /// The second call does nothing.
    pub fn shutdown(&self) {
        self.running.shutdown();
    }
}

impl Running {
    fn start(&self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(body);
        // If this fails, dropping `self` ends the thread that was started before.
        self.threads
            .lock()
            .push(spawned.map_err(Error::io("start a thread for", &self.state.directory))?);
        Ok(())
    }

    fn shutdown(&self) {
        let mut threads = self.threads.lock();
        if threads.is_empty() {
            return;
        }
        self.state.stop();
        // A waker may drop the last handle on the committer's own thread, which then ends by
        // itself.
        let here = thread::current().id();
        for thread in threads
            .drain(..)
            .filter(|thread| thread.thread().id() != here)
        {
            // A thread that panicked has already said so on standard error.
            let _ = thread.join();
        }
        // If the committer panicked, nobody may wait for ever.
        self.state.set_stopped();
        self.lanes.iter().for_each(|lane| lane.notify());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Makes the instance's directory and locks it. It is locked before it gets its name, so that
/// nobody takes it for a dead one.
fn claim(options: &Options) -> Result<(PathBuf, File), Error> {
    let home = &options.directory;
    fs::create_dir_all(home).map_err(Error::io("create", home))?;
    let name = files::instance_name(options.instance);
    let path = home.join(&name);
    refuse_existing(&path)?;

    let new = home.join(format!(".{name}.new"));
    // The directory was left by a process that was killed right here. Instance ids are used once,
    // so nobody else works on it.
    let _ = fs::remove_dir_all(&new);
    fs::create_dir(&new).map_err(Error::io("create", &new))?;
    let lock_path = new.join(files::LOCK);
    let lock = File::create_new(&lock_path).map_err(Error::io("create", &lock_path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Error::Locked { path }),
        Err(TryLockError::Error(error)) => return Err(Error::io("lock", &lock_path)(error)),
    }
    fs::rename(&new, &path).map_err(Error::io("create", &path))?;
    files::sync_directory(home).map_err(Error::io("sync", home))?;
    Ok((path, lock))
}

fn refuse_existing(path: &Path) -> Result<(), Error> {
    if !path.exists() {
        return Ok(());
    }
    let locked = File::open(path.join(files::LOCK)).is_ok_and(|lock| lock.try_lock().is_err());
    let path = path.to_owned();
    Err(if locked {
        Error::Locked { path }
    } else {
        Error::Exists { path }
    })
}

fn begin_lane(state: &Arc<JournalState>, index: usize) -> Result<Arc<Lane>, Error> {
    let path = files::segment_path(&state.directory, index as u32, 0);
    let blank =
        Blank::create(path.clone(), state.segment_bytes()).map_err(Error::io("prepare", &path))?;
    let header = Header {
        instance: state.options.instance,
        lane: index as u32,
        number: 0,
        start: 0,
        next_sequence: 1,
        closed: 0,
        boot: state.boot,
        created: state::now_micros(),
        durable: 0,
    };
    Ok(Arc::new(Lane::new(
        Arc::clone(state),
        index,
        Writer::begin(blank, &header),
    )))
}
