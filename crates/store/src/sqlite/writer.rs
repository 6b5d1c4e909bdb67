//! The one writer thread of a database.
//!
//! Interactive jobs that wait together share a transaction and its one sync (group commit); each
//! has a savepoint of its own, so that the failure of one undoes only that one. Nothing is answered
//! before the commit. A group in which nothing need outlast the machine is not synced.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::ReentrantMutexGuard;
use rusqlite::Connection;

use super::backend_error::{BackendError, Classified, classify};
use super::db_session::{DbSession, Opener, SessionSlot};
use super::executor::{Job, Outlasts};
use super::queue::{Queue, Taken};
use crate::error::Error;

/// The largest number of jobs that share a transaction.
const GROUP: usize = 256;
/// The time after which an idle writer looks for its file.
const IDLE: Duration = Duration::from_secs(1);

/// Runs the writer until the queue is closed and empty.
pub(super) fn run<S: DbSession>(queue: &Arc<Queue<Job<S>>>, path: PathBuf, open: Opener<S>) {
    let mut writer = Writer {
        slot: SessionSlot::new(open),
        path,
    };
    loop {
        match queue.take(GROUP, IDLE) {
            Taken::Interactive(jobs) => writer.serve_safely(jobs),
            Taken::Background(job) => {
                writer.serve_safely(vec![job]);
                queue.background_done();
            }
            Taken::Nothing => writer.slot.look(),
            Taken::Closed => break,
        }
    }
    writer.finish();
}

struct Writer<S> {
    slot: SessionSlot<S>,
    path: PathBuf,
}

impl<S: DbSession> Writer<S> {
    /// Serves jobs. A panic in a job costs that job and the connection, never the thread.
    fn serve_safely(&mut self, jobs: Vec<Job<S>>) {
        if catch_unwind(AssertUnwindSafe(|| self.serve(jobs))).is_err() {
            tracing::error!("a write to the store panicked");
            self.slot.discard();
        }
    }

    fn serve(&mut self, mut jobs: Vec<Job<S>>) {
        jobs.retain(|job| job.is_wanted());
        if jobs.is_empty() {
            return;
        }
        let synced = jobs.iter().any(|job| job.outlasts() == Outlasts::Machine);
        if synced {
            return self.commit(jobs);
        }
        if let Err(found) = self.set_synced(false) {
            return self.give_up(jobs, found);
        }
        self.commit(jobs);
        if let Err(found) = self.set_synced(true) {
            tracing::warn!(error = %found.error, "a database is opened anew, so that its writes are synced again");
            self.slot.discard();
        }
    }

    /// Says whether the commits that follow wait for the disk. A connection that is opened does.
    fn set_synced(&mut self, synced: bool) -> Result<(), Classified> {
        let reached = self.slot.get(true).map_err(|error| Classified {
            error,
            reopen: false,
        })?;
        let level = if synced { "FULL" } else { "NORMAL" };
        connection(reached)
            .pragma_update(None, "synchronous", level)
            .map_err(|error| classify(&self.path, &error))
    }

    /// Does jobs in one transaction and answers them after its commit.
    fn commit(&mut self, jobs: Vec<Job<S>>) {
        let session = match self.slot.get(true) {
            Ok(session) => session,
            Err(error) => return fail_all(jobs, &error),
        };
        let begun = begin(&connection(session));
        if let Err(error) = begun {
            return self.give_up(jobs, classify(&self.path, &error));
        }
        let (done, end) = work_through(session, jobs);
        let end = end.and_then(|()| {
            execute(&connection(session), "COMMIT").map_err(|error| classify(&self.path, &error))
        });
        match end {
            Ok(()) => done.into_iter().for_each(|job| job.deliver()),
            Err(found) => {
                undo(session);
                self.give_up(done, found);
            }
        }
    }

    fn give_up(&mut self, jobs: Vec<Job<S>>, found: Classified) {
        if found.reopen {
            self.slot.discard();
        }
        fail_all(jobs, &found.error);
    }

    /// Moves the write-ahead log into the file, so that a copy of the file has all of it.
    fn finish(mut self) {
        if let Some(mut session) = self.slot.take()
            && let Err(error) =
                connection(&mut session).execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        {
            tracing::warn!(%error, path = %self.path.display(), "the write-ahead log stays beside its database");
        }
    }
}

fn begin(connection: &Connection) -> rusqlite::Result<()> {
    // The error of SQLite while another program holds the file.
    fail::fail_point!("store::sqlite::busy", |_| {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        Err(rusqlite::Error::SqliteFailure(busy, None))
    });
    execute(connection, "BEGIN IMMEDIATE")
}

/// Runs each job in its savepoint. Returns those that want the commit, and whether it may be tried.
fn work_through<S: DbSession>(
    session: &mut S,
    jobs: Vec<Job<S>>,
) -> (Vec<Job<S>>, Result<(), Classified>) {
    let mut done = Vec::with_capacity(jobs.len());
    let mut jobs = jobs.into_iter();
    while let Some(mut job) = jobs.next() {
        if !job.is_wanted() {
            continue;
        }
        job.begin();
        match in_savepoint(session, &mut job) {
            Ok(()) => done.push(job),
            Err(backend_error) => {
                session.undone();
                let found = backend_error.classify(session.file().path());
                // SQLite undoes the whole transaction after some failures: then nothing of it may
                // be acknowledged.
                let lost = found.reopen || connection(session).is_autocommit();
                if lost {
                    done.push(job);
                    done.extend(jobs);
                    return (done, Err(found));
                }
                job.fail(found.error);
            }
        }
    }
    (done, Ok(()))
}

fn in_savepoint<S: DbSession>(session: &mut S, job: &mut Job<S>) -> Result<(), BackendError> {
    execute(&connection(session), "SAVEPOINT job")?;
    let result = job.run(session);
    if result.is_err() && !connection(session).is_autocommit() {
        execute(&connection(session), "ROLLBACK TO job")?;
    }
    if !connection(session).is_autocommit() {
        execute(&connection(session), "RELEASE job")?;
    }
    result
}

fn undo<S: DbSession>(session: &mut S) {
    session.undone();
    if !connection(session).is_autocommit()
        && let Err(error) = execute(&connection(session), "ROLLBACK")
    {
        tracing::warn!(%error, "a transaction could not be undone by hand");
    }
}

fn connection<S: DbSession>(session: &mut S) -> ReentrantMutexGuard<'_, Connection> {
    session.file().connection.raw()
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

fn fail_all<S>(jobs: Vec<Job<S>>, error: &Error) {
    for job in jobs {
        job.fail(error.clone());
    }
}
