//! The session of a thread: its open connection between two jobs, opened anew when the file is
//! usable again.

use std::time::{Duration, Instant};

use super::file::OpenFile;
use crate::error::Error;

/// An open connection with the state that belongs to it.
pub(super) trait DbSession: Send + Sized + 'static {
    /// Returns the file that the session works on.
    fn file(&mut self) -> &mut OpenFile;
    /// Forgets the state of a transaction that was undone.
    fn undone(&mut self) {}
}

/// A function that opens sessions.
pub(super) type Opener<S> = Box<dyn Fn() -> Result<S, Error> + Send + Sync>;

/// A holder of a session that may be lost and opened again.
pub(super) struct SessionSlot<S> {
    open: Opener<S>,
    session: Option<S>,
    failed: Option<(Instant, Error)>,
}

impl<S: DbSession> SessionSlot<S> {
    /// The time after which a file that cannot be opened is tried again.
    const RETRY_PAUSE: Duration = Duration::from_millis(100);

    pub(super) fn new(open: Opener<S>) -> Self {
        Self {
            open,
            session: None,
            failed: None,
        }
    }

    /// Returns the session, opened if need be. `strict`: the file is looked up now, not only once a
    /// second.
    pub(super) fn get(&mut self, strict: bool) -> Result<&mut S, Error> {
        let current = self.session.as_mut().is_some_and(|session| {
            let file = session.file();
            if strict {
                file.is_current()
            } else {
                file.was_current_lately()
            }
        });
        if !current {
            self.session = None;
            self.session = Some(self.reopen()?);
        }
        Ok(self.session.as_mut().expect("it was opened just now"))
    }

    fn reopen(&mut self) -> Result<S, Error> {
        if let Some((at, error)) = &self.failed
            && at.elapsed() < Self::RETRY_PAUSE
        {
            return Err(error.clone());
        }
        match (self.open)() {
            Ok(session) => {
                if self.failed.take().is_some() {
                    tracing::info!("the store can be reached again");
                }
                Ok(session)
            }
            Err(error) => {
                if self.failed.is_none() {
                    tracing::error!(%error, "the store cannot be opened");
                }
                self.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Drops the connection; the next job opens a new one.
    pub(super) fn discard(&mut self) {
        self.session = None;
    }

    /// Drops the connection to a file that is not where it was.
    pub(super) fn look(&mut self) {
        if self
            .session
            .as_mut()
            .is_some_and(|session| !session.file().is_current())
        {
            tracing::error!("a database file of the store was removed or replaced");
            self.session = None;
        }
    }

    /// Takes the session, if it is open.
    pub(super) fn take(&mut self) -> Option<S> {
        self.session.take()
    }
}
