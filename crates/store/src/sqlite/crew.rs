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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::super::file::{DatabaseFile, LICENSES, OpenFile};
    use super::{Access, Arc, Crew, Error, Opener, Patience, Plan, Session, Trouble};

    struct Plain(OpenFile);

    impl Session for Plain {
        fn file(&mut self) -> &mut OpenFile {
            &mut self.0
        }
    }

    fn crew(directory: &tempfile::TempDir) -> Crew<Plain> {
        let file = DatabaseFile {
            path: directory.path().join("test.db"),
            schema: &LICENSES,
            busy_timeout: Duration::from_secs(10),
        };
        file.create().expect("made");
        let plan = Plan {
            writer: "test-writer",
            reader: "test-reader",
            readers: 2,
            patience: Patience {
                short: Duration::from_secs(30),
                long: Duration::from_secs(30),
            },
            path: file.path.clone(),
        };
        let opener = |access: Access| -> Opener<Plain> {
            let file = file.clone();
            Box::new(move || file.open(access).map(Plain))
        };
        Crew::hire(plan, opener).expect("threads")
    }

    fn put(session: &mut Plain, name: &str) -> Result<(), Trouble> {
        session.0.connection.execute(
            "INSERT INTO settings (name, value) VALUES (?1, x'00')",
            [name],
        )?;
        Ok(())
    }

    fn names(session: &mut Plain) -> Result<Vec<String>, Trouble> {
        let mut statement = session
            .0
            .connection
            .prepare("SELECT name FROM settings ORDER BY name")?;
        let names = statement.query_map([], |row| row.get(0))?;
        Ok(names.collect::<rusqlite::Result<_>>()?)
    }

    /// Keeps the writer busy until the sender is dropped; returns once it is.
    async fn occupy(crew: &Arc<Crew<Plain>>) -> (mpsc::Sender<()>, JoinHandle<Result<(), Error>>) {
        let (go, wait) = mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let crew = Arc::clone(crew);
        let busy = tokio::spawn(async move {
            crew.write(move |_| {
                let _ = begun.send(());
                let _ = wait.recv();
                Ok(())
            })
            .await
        });
        begins.await.expect("it begins");
        (go, busy)
    }

    /// Three writes that share a transaction, since they were handed over while the writer was busy.
    async fn together<A: Future, B: Future, C: Future>(
        crew: &Arc<Crew<Plain>>,
        (a, b, c): (A, B, C),
    ) -> (A::Output, B::Output, C::Output) {
        let (go, busy) = occupy(crew).await;
        let release = async {
            while crew.write_queue.waiting() < 3 {
                tokio::task::yield_now().await;
            }
            drop(go);
        };
        let (a, b, c, ()) = tokio::join!(a, b, c, release);
        busy.await.expect("no panic").expect("done");
        (a, b, c)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_fails_in_a_group_undoes_only_itself() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let crew = Arc::new(crew(&directory));
        let refused = crew.write(|session| -> Result<(), Trouble> {
            put(session, "half")?;
            Err(Error::Exists("it").into())
        });
        let first = crew.write(|session| put(session, "first"));
        let last = crew.write(|session| put(session, "last"));
        let (first, refused, last) = together(&crew, (first, refused, last)).await;
        assert_eq!((first, last), (Ok(()), Ok(())));
        assert_eq!(refused, Err(Error::Exists("it")));
        assert_eq!(crew.read(names).await.expect("read"), ["first", "last"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_panics_is_unavailable_and_acknowledges_nothing_of_its_group() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let crew = Arc::new(crew(&directory));
        let first = crew.write(|session| put(session, "first"));
        let panics = crew.write(|_| -> Result<(), Trouble> { panic!("on purpose") });
        let last = crew.write(|session| put(session, "last"));
        let (first, panicked, last) = together(&crew, (first, panics, last)).await;
        for answer in [first, panicked, last] {
            assert!(answer.expect_err("undone").is_unavailable());
        }
        assert_eq!(crew.read(names).await, Ok(Vec::new()));
        crew.write(|session| put(session, "next"))
            .await
            .expect("the thread lives");
        let read = crew
            .read(|_| -> Result<(), Trouble> { panic!("on purpose") })
            .await;
        assert!(read.expect_err("lost").is_unavailable());
        assert_eq!(crew.read(names).await.expect("read"), ["next"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_long_report_holds_up_neither_look_ups_nor_writes() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let crew = Arc::new(crew(&directory));
        let (go, wait) = mpsc::channel::<()>();
        let report = crew.read_patiently(move |session| {
            let before = names(session)?;
            let _ = wait.recv();
            Ok(before)
        });
        let others = async {
            for name in ["a", "b"] {
                crew.write(move |session| put(session, name))
                    .await
                    .expect("written");
            }
            assert_eq!(crew.read(names).await.expect("read"), ["a", "b"]);
            drop(go);
        };
        let (report, ()) = tokio::join!(report, others);
        assert!(report.expect("reported").len() <= 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_nobody_waits_for_any_more_is_not_begun() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let crew = Arc::new(crew(&directory));
        let (go, busy) = occupy(&crew).await;
        let left = crew.write(|session| put(session, "left"));
        let soon = tokio::time::timeout(Duration::from_millis(1), left).await;
        assert!(soon.is_err(), "the writer is busy");
        drop(go);
        busy.await.expect("no panic").expect("done");
        crew.write(|session| put(session, "next"))
            .await
            .expect("written");
        assert_eq!(crew.read(names).await.expect("read"), ["next"]);
    }
}
