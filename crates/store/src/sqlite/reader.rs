//! The reader threads of a database. Each has a connection of its own, so that no report waits for
//! a write or holds up a look-up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::InterruptHandle;

use super::db_session::{DbSession, Opener, SessionSlot};
use super::executor::Job;
use super::queue::{Queue, Taken};

/// The handle that interrupts the query that a reader is running.
pub(super) type Interrupt = Arc<Mutex<Option<InterruptHandle>>>;

/// The number of jobs that a reader takes at a time, so that jobs spread over the threads.
const ONE: usize = 1;
const IDLE: Duration = Duration::from_secs(1);

/// Runs a reader until the queue is closed and empty.
pub(super) fn run<S: DbSession>(
    queue: &Arc<Queue<Job<S>>>,
    open: Opener<S>,
    interrupt: &Interrupt,
) {
    let mut slot = SessionSlot::new(open);
    loop {
        match queue.take(ONE, IDLE) {
            Taken::Interactive(jobs) => {
                for job in jobs {
                    serve_safely(&mut slot, job, interrupt);
                }
            }
            Taken::Background(job) => {
                serve_safely(&mut slot, job, interrupt);
                queue.background_done();
            }
            Taken::Nothing => slot.look(),
            Taken::Closed => break,
        }
    }
    *interrupt.lock() = None;
}

fn serve_safely<S: DbSession>(slot: &mut SessionSlot<S>, job: Job<S>, interrupt: &Interrupt) {
    if catch_unwind(AssertUnwindSafe(|| serve(slot, job, interrupt))).is_err() {
        tracing::error!("a query of the store panicked");
        slot.discard();
    }
}

fn serve<S: DbSession>(slot: &mut SessionSlot<S>, mut job: Job<S>, interrupt: &Interrupt) {
    if !job.is_wanted() {
        return;
    }
    let session = match slot.get(false) {
        Ok(session) => session,
        Err(error) => return job.fail(error),
    };
    *interrupt.lock() = Some(session.file().connection.raw().get_interrupt_handle());
    job.begin();
    match job.run(session) {
        Ok(()) => job.deliver(),
        Err(backend_error) => {
            let found = backend_error.classify(session.file().path());
            if found.reopen {
                slot.discard();
            }
            job.fail(found.error);
        }
    }
}
