//! The task of a connection, which knows its connection and can be cut.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::{CURRENT, Connection};

/// A connection's task. It sets [`Connection::current`] while it is polled, and ends when the
/// connection is cut.
///
/// Its end drops the call's context, which writes the record of a call that was cut short.
pub(crate) struct Cuttable<F> {
    inner: Pin<Box<F>>,
    /// The connection, between polls. During a poll it is in [`CURRENT`]: moved and not cloned.
    connection: Option<Arc<Connection>>,
    /// Whether the connection has the waker. A spawned task keeps its waker.
    registered: bool,
}

impl<F> Cuttable<F> {
    pub(crate) fn new(connection: Arc<Connection>, inner: F) -> Self {
        Self {
            inner: Box::pin(inner),
            connection: Some(connection),
            registered: false,
        }
    }
}

impl<F: Future<Output = ()>> Future for Cuttable<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = self.connection.take() else {
            // A panic of the last poll kept it; the task is over.
            return Poll::Ready(());
        };
        if !self.registered {
            *connection.waker.lock() = Some(context.waker().clone());
            self.registered = true;
        }
        if connection.cut.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        CURRENT.with_borrow_mut(|current| *current = Some(connection));
        let poll = self.inner.as_mut().poll(context);
        self.connection = CURRENT.take();
        poll
    }
}
