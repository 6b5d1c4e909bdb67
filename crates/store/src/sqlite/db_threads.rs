//! The threads of one database: its writer and its readers.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::backend_error::BackendError;
use super::conn::SqliteConn;
use super::db_session::{DbSession, Opener};
use super::executor::{Executor, Job, JobClass, Outlasts, Timeouts};
use super::file::Access;
use super::queue::{Bounds, Priority, Queue};
use super::reader::{self, Interrupt};
use super::writer;
use crate::error::Error;
use crate::sql::{self, Kind};

/// The options of a database's threads.
pub(super) struct ThreadOptions {
    /// The name of the writer thread; at most 15 bytes, as Linux wants it.
    pub(super) writer: &'static str,
    /// The name of the reader threads.
    pub(super) reader: &'static str,
    /// The number of readers.
    pub(super) readers: usize,
    /// The time that callers wait.
    pub(super) timeouts: Timeouts,
    /// The path of the database, for messages.
    pub(super) path: PathBuf,
}

/// The threads of one database, one writer and some readers, and the executors in front of them.
/// Dropping it ends them all.
pub(super) struct DbThreads<S: 'static> {
    writing: Executor<S>,
    reading: Executor<S>,
    write_queue: Arc<Queue<Job<S>>>,
    read_queue: Arc<Queue<Job<S>>>,
    writer: Option<JoinHandle<()>>,
    readers: Vec<(JoinHandle<()>, Interrupt)>,
}

impl<S: DbSession> DbThreads<S> {
    /// Starts the threads. They open their files when the first job comes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the system gives no thread.
    pub(super) fn spawn(
        options: ThreadOptions,
        opener: impl Fn(Access) -> Opener<S>,
    ) -> Result<Self, Error> {
        let readers = options.readers.max(2);
        let write_queue = Arc::new(Queue::new(Bounds {
            interactive: 4_096,
            background: 64,
            background_at_once: 1,
        }));
        let read_queue = Arc::new(Queue::new(Bounds {
            interactive: 4_096,
            background: 64,
            background_at_once: readers - 1,
        }));
        let mut db_threads = Self {
            writing: Executor::new(Arc::clone(&write_queue), options.timeouts),
            reading: Executor::new(Arc::clone(&read_queue), options.timeouts),
            write_queue,
            read_queue,
            writer: None,
            readers: Vec::new(),
        };
        let (queue, open, path) = (
            Arc::clone(&db_threads.write_queue),
            opener(Access::Write),
            options.path,
        );
        db_threads.writer = Some(spawn_thread(options.writer, move || {
            writer::run(&queue, path, open)
        })?);
        for _ in 0..readers {
            let (queue, open) = (Arc::clone(&db_threads.read_queue), opener(Access::Read));
            let interrupt = Interrupt::default();
            let own = Arc::clone(&interrupt);
            let thread = spawn_thread(options.reader, move || reader::run(&queue, open, &own))?;
            db_threads.readers.push((thread, interrupt));
        }
        Ok(db_threads)
    }

    /// Does a short write that somebody waits for.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut S) -> Result<T, BackendError> + Send + 'static,
    {
        self.writing
            .execute(
                Priority::Interactive,
                JobClass::Short,
                Outlasts::Machine,
                work,
            )
            .await
    }

    /// Does a write that comes after those that somebody waits for, and may be long.
    pub(super) async fn write_background<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut S) -> Result<T, BackendError> + Send + 'static,
    {
        self.writing
            .execute(
                Priority::Background,
                JobClass::Long,
                Outlasts::Machine,
                work,
            )
            .await
    }

    /// Does a look-up.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut S) -> Result<T, BackendError> + Send + 'static,
    {
        self.reading
            .execute(
                Priority::Interactive,
                JobClass::Short,
                Outlasts::Machine,
                work,
            )
            .await
    }

    /// Does a job that is written for both engines.
    pub(super) async fn carry_out<T: Send + 'static>(
        &self,
        kind: Kind,
        job: Box<dyn sql::Job<T, SqliteConn>>,
    ) -> Result<T, Error> {
        let (executor, priority, class) = match kind {
            Kind::Read => (&self.reading, Priority::Interactive, JobClass::Short),
            Kind::List | Kind::Report => (&self.reading, Priority::Background, JobClass::Long),
            Kind::Write
            | Kind::UnsyncedWrite
            | Kind::Repeatable
            | Kind::Transaction
            | Kind::RepeatableTransaction => {
                (&self.writing, Priority::Interactive, JobClass::Short)
            }
            Kind::Batch | Kind::UnsyncedBatch | Kind::Load => {
                (&self.writing, Priority::Background, JobClass::Long)
            }
        };
        let outlasts = match kind {
            Kind::UnsyncedWrite | Kind::UnsyncedBatch => Outlasts::Process,
            _ => Outlasts::Machine,
        };
        let work = move |session: &mut S| {
            let connection = &session.file().connection;
            connection.carry_out(kind, &*job)
        };
        executor.execute(priority, class, outlasts, work).await
    }

    /// Reads a report or a page of many rows.
    pub(super) async fn read_background<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut S) -> Result<T, BackendError> + Send + 'static,
    {
        self.reading
            .execute(
                Priority::Background,
                JobClass::Long,
                Outlasts::Machine,
                work,
            )
            .await
    }
}

fn spawn_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| Error::Unavailable(format!("no thread for {name}: {error}")))
}

impl<S: 'static> Drop for DbThreads<S> {
    fn drop(&mut self) {
        self.read_queue.close();
        self.write_queue.close();
        for (thread, interrupt) in self.readers.drain(..) {
            if let Some(handle) = interrupt.lock().take() {
                handle.interrupt();
            }
            // A thread that panicked has logged that already.
            let _ = thread.join();
        }
        // The writer ends last, so that the log can be moved into the file as a whole.
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
    use super::{
        Access, Arc, BackendError, DbSession, DbThreads, Error, JobClass, Opener, Outlasts,
        Priority, ThreadOptions, Timeouts,
    };

    struct Plain(OpenFile);

    impl DbSession for Plain {
        fn file(&mut self) -> &mut OpenFile {
            &mut self.0
        }
    }

    fn db_threads(directory: &tempfile::TempDir) -> DbThreads<Plain> {
        let file = DatabaseFile {
            path: directory.path().join("test.db"),
            schema: &LICENSES,
            busy_timeout: Duration::from_secs(10),
            clock: Arc::new(model::SystemClock),
        };
        file.create().expect("made");
        let options = ThreadOptions {
            writer: "test-writer",
            reader: "test-reader",
            readers: 2,
            timeouts: Timeouts {
                short: Duration::from_secs(30),
                long: Duration::from_secs(30),
            },
            path: file.path.clone(),
        };
        let opener = |access: Access| -> Opener<Plain> {
            let file = file.clone();
            Box::new(move || file.open(access).map(Plain))
        };
        DbThreads::spawn(options, opener).expect("threads")
    }

    fn put(session: &mut Plain, name: &str) -> Result<(), BackendError> {
        session.0.connection.raw().execute(
            "INSERT INTO settings (name, value) VALUES (?1, x'00')",
            [name],
        )?;
        Ok(())
    }

    fn names(session: &mut Plain) -> Result<Vec<String>, BackendError> {
        let connection = session.0.connection.raw();
        let mut statement = connection.prepare("SELECT name FROM settings ORDER BY name")?;
        let names = statement.query_map([], |row| row.get(0))?;
        Ok(names.collect::<rusqlite::Result<_>>()?)
    }

    /// Keeps the writer busy until the sender is dropped; returns once it is.
    async fn occupy(
        db_threads: &Arc<DbThreads<Plain>>,
    ) -> (mpsc::Sender<()>, JoinHandle<Result<(), Error>>) {
        let (go, wait) = mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let db_threads = Arc::clone(db_threads);
        let busy = tokio::spawn(async move {
            db_threads
                .write(move |_| {
                    let _ = begun.send(());
                    let _ = wait.recv();
                    Ok(())
                })
                .await
        });
        begins.await.expect("it begins");
        (go, busy)
    }

    /// Three writes that share a transaction, since they were handed over while the writer was
    /// busy.
    async fn together<A: Future, B: Future, C: Future>(
        db_threads: &Arc<DbThreads<Plain>>,
        (a, b, c): (A, B, C),
    ) -> (A::Output, B::Output, C::Output) {
        let (go, busy) = occupy(db_threads).await;
        let release = async {
            while db_threads.write_queue.waiting() < 3 {
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
        let db_threads = Arc::new(db_threads(&directory));
        let refused = db_threads.write(|session| -> Result<(), BackendError> {
            put(session, "half")?;
            Err(Error::Exists("it").into())
        });
        let first = db_threads.write(|session| put(session, "first"));
        let last = db_threads.write(|session| put(session, "last"));
        let (first, refused, last) = together(&db_threads, (first, refused, last)).await;
        assert_eq!((first, last), (Ok(()), Ok(())));
        assert_eq!(refused, Err(Error::Exists("it")));
        assert_eq!(
            db_threads.read(names).await.expect("read"),
            ["first", "last"]
        );
    }

    /// Returns whether a commit of this session waits for the disk, with a write that outlasts this.
    async fn is_synced(db_threads: &DbThreads<Plain>, outlasts: Outlasts) -> bool {
        let level = |session: &mut Plain| {
            let connection = session.0.connection.raw();
            let level = connection.pragma_query_value(None, "synchronous", |row| row.get(0));
            Ok::<i64, BackendError>(level?)
        };
        let (priority, class) = (Priority::Interactive, JobClass::Short);
        let asked = db_threads.writing.execute(priority, class, outlasts, level);
        // 2 is FULL, 1 is NORMAL, by the documentation of `PRAGMA synchronous`.
        match asked.await.expect("answers") {
            2 => true,
            1 => false,
            other => panic!("a level of {other}"),
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn only_a_group_of_writes_that_need_not_outlast_the_machine_is_not_synced() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let db_threads = Arc::new(db_threads(&directory));
        for (outlasts, synced) in [
            (Outlasts::Machine, true),
            (Outlasts::Process, false),
            (Outlasts::Process, false),
            (Outlasts::Machine, true),
        ] {
            assert_eq!(is_synced(&db_threads, outlasts).await, synced);
        }
        let unsynced = || is_synced(&db_threads, Outlasts::Process);
        let mixed = (
            unsynced(),
            is_synced(&db_threads, Outlasts::Machine),
            unsynced(),
        );
        assert_eq!(together(&db_threads, mixed).await, (true, true, true));
        // What undoes a group leaves no connection behind that is not synced.
        let panics = db_threads.writing.execute(
            Priority::Interactive,
            JobClass::Short,
            Outlasts::Process,
            |_| -> Result<(), BackendError> { panic!("on purpose") },
        );
        assert!(panics.await.expect_err("undone").is_unavailable());
        assert!(is_synced(&db_threads, Outlasts::Machine).await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_panics_is_unavailable_and_acknowledges_nothing_of_its_group() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let db_threads = Arc::new(db_threads(&directory));
        let first = db_threads.write(|session| put(session, "first"));
        let panics = db_threads.write(|_| -> Result<(), BackendError> { panic!("on purpose") });
        let last = db_threads.write(|session| put(session, "last"));
        let (first, panicked, last) = together(&db_threads, (first, panics, last)).await;
        for answer in [first, panicked, last] {
            assert!(answer.expect_err("undone").is_unavailable());
        }
        assert_eq!(db_threads.read(names).await, Ok(Vec::new()));
        db_threads
            .write(|session| put(session, "next"))
            .await
            .expect("the thread lives");
        let read = db_threads
            .read(|_| -> Result<(), BackendError> { panic!("on purpose") })
            .await;
        assert!(read.expect_err("lost").is_unavailable());
        assert_eq!(db_threads.read(names).await.expect("read"), ["next"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_long_report_holds_up_neither_look_ups_nor_writes() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let db_threads = Arc::new(db_threads(&directory));
        let (go, wait) = mpsc::channel::<()>();
        let report = db_threads.read_background(move |session| {
            let before = names(session)?;
            let _ = wait.recv();
            Ok(before)
        });
        let others = async {
            for name in ["a", "b"] {
                db_threads
                    .write(move |session| put(session, name))
                    .await
                    .expect("written");
            }
            assert_eq!(db_threads.read(names).await.expect("read"), ["a", "b"]);
            drop(go);
        };
        let (report, ()) = tokio::join!(report, others);
        assert!(report.expect("reported").len() <= 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_nobody_waits_for_any_more_is_not_begun() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let db_threads = Arc::new(db_threads(&directory));
        let (go, busy) = occupy(&db_threads).await;
        let left = db_threads.write(|session| put(session, "left"));
        let soon = tokio::time::timeout(Duration::from_millis(1), left).await;
        assert!(soon.is_err(), "the writer is busy");
        drop(go);
        busy.await.expect("no panic").expect("done");
        db_threads
            .write(|session| put(session, "next"))
            .await
            .expect("written");
        assert_eq!(db_threads.read(names).await.expect("read"), ["next"]);
    }
}
