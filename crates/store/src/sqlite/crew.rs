//! The threads of one database: its writer and its readers.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::desk::{Desk, Extent, Job, Patience};
use super::file::Access;
use super::queue::{Bounds, Queue, Rank};
use super::reader::{self, Interrupt};
use super::session::{Opener, Session};
use super::trouble::Trouble;
use super::writer;
use crate::error::Error;

/// What a crew is to be.
pub(super) struct Plan {
    /// Name of the writer thread; at most 15 bytes, as Linux wants it.
    pub(super) writer: &'static str,
    /// Name of the reader threads.
    pub(super) reader: &'static str,
    /// How many readers.
    pub(super) readers: usize,
    /// How long callers wait.
    pub(super) patience: Patience,
    /// The database, for messages.
    pub(super) path: PathBuf,
}

/// One writer and some readers, and the desks in front of them. Dropping it ends them all.
pub(super) struct Crew<S: 'static> {
    writing: Desk<S>,
    reading: Desk<S>,
    write_queue: Arc<Queue<Job<S>>>,
    read_queue: Arc<Queue<Job<S>>>,
    writer: Option<JoinHandle<()>>,
    readers: Vec<(JoinHandle<()>, Interrupt)>,
}

impl<S: Session> Crew<S> {
    /// Starts the threads. They open their files when the first work comes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the system gives no thread.
    pub(super) fn hire(plan: Plan, opener: impl Fn(Access) -> Opener<S>) -> Result<Self, Error> {
        let readers = plan.readers.max(2);
        let write_queue = Arc::new(Queue::new(Bounds {
            prompt: 4_096,
            patient: 64,
            patient_at_once: 1,
        }));
        let read_queue = Arc::new(Queue::new(Bounds {
            prompt: 4_096,
            patient: 64,
            patient_at_once: readers - 1,
        }));
        let mut crew = Self {
            writing: Desk::new(Arc::clone(&write_queue), plan.patience),
            reading: Desk::new(Arc::clone(&read_queue), plan.patience),
            write_queue,
            read_queue,
            writer: None,
            readers: Vec::new(),
        };
        let (queue, open, path) = (
            Arc::clone(&crew.write_queue),
            opener(Access::Write),
            plan.path,
        );
        crew.writer = Some(spawn(plan.writer, move || writer::run(&queue, path, open))?);
        for _ in 0..readers {
            let (queue, open) = (Arc::clone(&crew.read_queue), opener(Access::Read));
            let interrupt = Interrupt::default();
            let own = Arc::clone(&interrupt);
            let thread = spawn(plan.reader, move || reader::run(&queue, open, &own))?;
            crew.readers.push((thread, interrupt));
        }
        Ok(crew)
    }

    /// A short write that somebody waits for.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut S) -> Result<T, Trouble> + Send + 'static,
    {
        self.writing.ask(Rank::Prompt, Extent::Short, work).await
    }

    /// A write that comes after those that somebody waits for, and may be long.
    pub(super) async fn write_patiently<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut S) -> Result<T, Trouble> + Send + 'static,
    {
        self.writing.ask(Rank::Patient, Extent::Long, work).await
    }

    /// A look-up.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut S) -> Result<T, Trouble> + Send + 'static,
    {
        self.reading.ask(Rank::Prompt, Extent::Short, work).await
    }

    /// A report or a page of many rows.
    pub(super) async fn read_patiently<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut S) -> Result<T, Trouble> + Send + 'static,
    {
        self.reading.ask(Rank::Patient, Extent::Long, work).await
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| Error::Unavailable(format!("no thread for {name}: {error}")))
}

impl<S: 'static> Drop for Crew<S> {
    fn drop(&mut self) {
        self.read_queue.close();
        self.write_queue.close();
        for (thread, interrupt) in self.readers.drain(..) {
            if let Some(handle) = interrupt.lock().take() {
                handle.interrupt();
            }
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
        // Last, so that the log can be moved into the file as a whole.
        if let Some(thread) = self.writer.take() {
            let _ = thread.join();
        }
    }
}
