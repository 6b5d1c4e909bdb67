//! The bounded queue in front of a thread, with two priorities, so that work that a call waits for
//! comes before work that can wait.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The priority of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    /// Somebody waits for it: look-ups, leases, changes.
    Interactive,
    /// It can wait: rollups and reports.
    Background,
}

/// The bounds of a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The largest number of interactive jobs that wait.
    pub(super) interactive: usize,
    /// The largest number of background jobs that wait.
    pub(super) background: usize,
    /// The largest number of background jobs under way at once; fewer than there are threads, if
    /// there are several.
    pub(super) background_at_once: usize,
}

/// The reason why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Too many jobs wait.
    Full,
    /// No thread serves the queue any more.
    Closed,
}

/// The jobs that a thread takes.
pub(super) enum Taken<J> {
    /// Interactive jobs, in order.
    Interactive(Vec<J>),
    /// One background job; [`Queue::background_done`] must follow.
    Background(J),
    /// No job came within the time.
    Nothing,
    /// The queue is closed and empty.
    Closed,
}

/// A bounded queue of two priorities for one or several threads.
pub(super) struct Queue<J> {
    bounds: Bounds,
    waiting: Mutex<Waiting<J>>,
    filled: Condvar,
}

struct Waiting<J> {
    interactive: VecDeque<J>,
    background: VecDeque<J>,
    background_running: usize,
    /// Whether a background job goes next even if interactive ones wait, so that a stream of those
    /// cannot starve it.
    background_is_due: bool,
    closed: bool,
}

impl<J> Queue<J> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            waiting: Mutex::new(Waiting {
                interactive: VecDeque::new(),
                background: VecDeque::new(),
                background_running: 0,
                background_is_due: false,
                closed: false,
            }),
            filled: Condvar::new(),
        }
    }

    /// Adds a job; it never waits.
    pub(super) fn push(&self, priority: Priority, job: J) -> Result<(), Refusal> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(Refusal::Closed);
        }
        let (line, most) = match priority {
            Priority::Interactive => (&mut waiting.interactive, self.bounds.interactive),
            Priority::Background => (&mut waiting.background, self.bounds.background),
        };
        if line.len() >= most {
            return Err(Refusal::Full);
        }
        line.push_back(job);
        drop(waiting);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes up to `most` interactive jobs or one background job, waiting up to `timeout`.
    pub(super) fn take(&self, most: usize, timeout: Duration) -> Taken<J> {
        let mut waiting = self.waiting.lock();
        let mut waited = false;
        loop {
            let background_may_run = !waiting.background.is_empty()
                && waiting.background_running < self.bounds.background_at_once;
            if background_may_run && (waiting.background_is_due || waiting.interactive.is_empty()) {
                waiting.background_is_due = false;
                waiting.background_running += 1;
                if let Some(job) = waiting.background.pop_front() {
                    return Taken::Background(job);
                }
            }
            if !waiting.interactive.is_empty() {
                waiting.background_is_due = true;
                let count = waiting.interactive.len().min(most);
                return Taken::Interactive(waiting.interactive.drain(..count).collect());
            }
            if waiting.closed && waiting.background.is_empty() {
                return Taken::Closed;
            }
            if waited {
                return Taken::Nothing;
            }
            waited = self.filled.wait_for(&mut waiting, timeout).timed_out();
        }
    }

    /// Reports that a background job is over.
    pub(super) fn background_done(&self) {
        self.waiting.lock().background_running -= 1;
        self.filled.notify_one();
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let waiting = self.waiting.lock();
        waiting.interactive.len() + waiting.background.len()
    }

    /// Closes the queue: it takes no more jobs, and those that wait are still served.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.filled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn queue(background_at_once: usize) -> Queue<u32> {
        Queue::new(Bounds {
            interactive: 3,
            background: 2,
            background_at_once,
        })
    }

    fn taken(queue: &Queue<u32>) -> Vec<u32> {
        match queue.take(10, NOW) {
            Taken::Interactive(jobs) => jobs,
            Taken::Background(job) => vec![job],
            Taken::Nothing | Taken::Closed => Vec::new(),
        }
    }

    #[test]
    fn prompt_jobs_come_first_and_cannot_starve_patient_ones() {
        let queue = queue(1);
        for job in [10, 11] {
            queue.push(Priority::Background, job).expect("room");
        }
        for job in [1, 2] {
            queue.push(Priority::Interactive, job).expect("room");
        }
        assert_eq!(taken(&queue), [1, 2]);
        queue.push(Priority::Interactive, 3).expect("room");
        assert_eq!(taken(&queue), [10]);
        queue.background_done();
        assert_eq!(taken(&queue), [3]);
        assert_eq!(taken(&queue), [11]);
    }

    #[test]
    fn patient_jobs_leave_a_thread_for_prompt_ones() {
        let queue = queue(1);
        for job in [10, 11] {
            queue.push(Priority::Background, job).expect("room");
        }
        assert_eq!(taken(&queue), [10]);
        assert!(taken(&queue).is_empty(), "one is under way already");
        queue.push(Priority::Interactive, 1).expect("room");
        assert_eq!(taken(&queue), [1]);
        queue.background_done();
        assert_eq!(taken(&queue), [11]);
    }

    #[test]
    fn a_full_queue_refuses_and_a_closed_one_is_emptied_first() {
        let queue = queue(1);
        for job in [1, 2, 3] {
            queue.push(Priority::Interactive, job).expect("room");
        }
        assert_eq!(queue.push(Priority::Interactive, 4), Err(Refusal::Full));
        queue
            .push(Priority::Background, 10)
            .expect("room of its own");
        queue.close();
        assert_eq!(queue.push(Priority::Background, 11), Err(Refusal::Closed));
        assert_eq!(taken(&queue), [1, 2, 3]);
        assert_eq!(taken(&queue), [10]);
        assert!(matches!(queue.take(1, NOW), Taken::Closed));
    }
}
