//! The executor through which async callers hand jobs to the threads of a database and wait for the
//! result, never longer than its timeouts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use super::backend_error::BackendError;
use super::queue::{Priority, Queue, Refusal};
use crate::error::Error;
use crate::suspend_aware;

/// A job that waits for a thread with a session of type `S`.
pub(super) type Job<S> = Box<dyn Work<S>>;

/// The steps of a job on a thread.
pub(super) trait Work<S>: Send {
    /// Returns whether anybody still waits for it. A job that nobody waits for is not begun.
    fn is_wanted(&self) -> bool;
    /// Returns what its writes outlast.
    fn outlasts(&self) -> Outlasts;
    /// Reports that the thread has the database and begins.
    fn begin(&self);
    /// Does the work, once, and keeps the result.
    fn run(&mut self, session: &mut S) -> Result<(), BackendError>;
    /// Sends the result to the caller; for writes after the commit.
    fn deliver(self: Box<Self>);
    /// Sends an error to the caller.
    fn fail(self: Box<Self>, error: Error);
}

/// The times that a caller waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// The time until a job begins and, if it is short, is done.
    pub(super) short: Duration,
    /// The time until a long job is done once it has begun.
    pub(super) long: Duration,
}

/// The class of a job by its duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobClass {
    /// A job on a few rows.
    Short,
    /// A job of many rows: a report, an import, a rebuild.
    Long,
}

/// What a write outlasts once it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlasts {
    /// The machine: the disk has it.
    Machine,
    /// The process: the kernel has it. The next write that outlasts the machine takes it along.
    Process,
}

/// The executor in front of one or several threads.
pub(super) struct Executor<S> {
    queue: Arc<Queue<Job<S>>>,
    timeouts: Timeouts,
}

struct Request<T, F> {
    work: Option<F>,
    result: Option<T>,
    outlasts: Outlasts,
    begun: Arc<AtomicBool>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<S: 'static> Executor<S> {
    pub(super) fn new(queue: Arc<Queue<Job<S>>>, timeouts: Timeouts) -> Self {
        Self { queue, timeouts }
    }

    /// Has a job done and waits for its result.
    ///
    /// # Errors
    /// The job's own error, or [`Error::Unavailable`] when a timeout has passed.
    pub(super) async fn execute<T, F>(
        &self,
        priority: Priority,
        class: JobClass,
        outlasts: Outlasts,
        work: F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut S) -> Result<T, BackendError> + Send + 'static,
    {
        let (reply, mut answer) = oneshot::channel();
        let begun = Arc::new(AtomicBool::new(false));
        let request = Request {
            work: Some(work),
            result: None,
            outlasts,
            begun: Arc::clone(&begun),
            reply,
        };
        self.queue
            .push(priority, Box::new(request))
            .map_err(refused)?;
        let mut waited = suspend_aware::timeout(self.timeouts.short, &mut answer).await;
        if waited.is_err() && class == JobClass::Long && begun.load(Ordering::Acquire) {
            waited = suspend_aware::timeout(self.timeouts.long, &mut answer).await;
        }
        match waited {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::Unavailable("its thread failed".to_owned())),
            Err(_) => Err(Error::Unavailable("no answer in time".to_owned())),
        }
    }
}

fn refused(refusal: Refusal) -> Error {
    Error::Unavailable(match refusal {
        Refusal::Full => "too much waits for it already".to_owned(),
        Refusal::Closed => "it is closed".to_owned(),
    })
}

impl<S, T, F> Work<S> for Request<T, F>
where
    T: Send,
    F: FnOnce(&mut S) -> Result<T, BackendError> + Send,
{
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn outlasts(&self) -> Outlasts {
        self.outlasts
    }

    fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    fn run(&mut self, session: &mut S) -> Result<(), BackendError> {
        let work = self.work.take().expect("work is run once");
        self.result = Some(work(session)?);
        Ok(())
    }

    fn deliver(self: Box<Self>) {
        if let Some(result) = self.result {
            // The caller may have left meanwhile.
            let _ = self.reply.send(Ok(result));
        }
    }

    fn fail(self: Box<Self>, error: Error) {
        let _ = self.reply.send(Err(error));
    }
}
