//! What errors mean to a call: the answer to its caller, another attempt, and the end of its
//! record.

use gate::Closing;
use model::{Ending, Refusal};
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};

use crate::answer;
use crate::call::{Call, Stage};
use crate::connection::UpstreamWait;
use crate::failure::{blame, failure, kind_of};
use crate::metered_proxy::MeteredProxy;

impl MeteredProxy {
    /// Decides whether an attempt that failed is tried again, whose failure it is, and counts it if
    /// it is the upstream's.
    ///
    /// Another try follows the framework's rule, for connections that it does not know: only an
    /// idempotent call, and only on a connection that was used before and that the upstream may
    /// have closed meanwhile.
    pub(crate) fn judge_failed_attempt(
        &self,
        peer: &HttpPeer,
        session: &Session,
        error: &mut Error,
        call: &mut Call,
        reused: bool,
    ) {
        let connection = call.connection.as_ref();
        let own = connection.filter(|_| peer.options.custom_l4.is_some());
        let wait = own.map(|connection| connection.upstream_wait());
        let reused = reused || wait.is_some_and(UpstreamWait::is_reused);
        if *error.etype() == ErrorType::ReadTimedout
            && connection.is_some_and(|connection| connection.is_tunnel())
        {
            // A tunnel that was silent for too long is nobody's failure.
            call.response_ended = true;
        }
        // An answer of which the caller has seen something, even an informational head, is not
        // begun again.
        let repeatable = session.req_header().method.is_idempotent()
            && !session.retry_buffer_truncated()
            && session.response_written().is_none();
        let is_of_upstream = *error.esource() == ErrorSource::Upstream;
        let is_tunnel = connection.is_some_and(|connection| connection.is_tunnel());
        let ends_tunnel =
            is_of_upstream && is_tunnel && (call.request_bytes, call.response_bytes) != (0, 0);
        if ends_tunnel {
            // Either side may end a tunnel that carried something. Bytes that the upstream has not
            // read turn its end into a reset, so that a caller could always bring one about.
            call.response_ended = true;
            error.set_retry(false);
        } else if is_of_upstream
            && connection.is_some_and(|connection| connection.is_stalled_by_caller())
        {
            // The upstream waited for the caller, as we did, and gave up.
            error.etype = ErrorType::ReadTimedout;
            error.as_down();
            error.set_retry(false);
        } else if is_of_upstream && wait.is_some_and(UpstreamWait::was_overdue) {
            error.etype = ErrorType::ReadTimedout;
            error.set_retry(false);
        } else if repeatable {
            error.retry.decide_reuse(reused);
        } else {
            error.set_retry(false);
        }
        // An upstream may close a connection that was not in use. The next attempt shows whether it
        // is well.
        let is_failure = *error.esource() == ErrorSource::Upstream && !ends_tunnel;
        if is_failure && !(reused && error.retry()) {
            self.note_failure(call, peer, error);
        }
    }

    /// Counts an attempt that failed because of its upstream.
    pub(crate) fn note_failure(&self, call: &Call, peer: &HttpPeer, error: &Error) {
        let (Some(backend), Some(address)) = (&call.backend, peer._address.as_inet()) else {
            return;
        };
        let (app, kind) = (backend.app.as_str(), kind_of(error));
        if let Some(upstream) = backend.pool.note_failure(app, *address, kind.as_str()) {
            self.gate.upstream_failed(app, upstream, kind);
        }
    }

    /// Answers the caller in place of an upstream that did not answer, or for an error of the gate.
    /// Returns the status that was written; `None`: no answer could or may be written.
    pub(crate) async fn answer_failure(
        &self,
        session: &mut Session,
        call: &mut Call,
        error: &Error,
    ) -> Option<u16> {
        let refusal = call.refusal.or_else(|| failure(error))?;
        if refusal == Refusal::RequestMalformed {
            self.worker.malformed();
        }
        let call_id = call.call_id?;
        match &call.stage {
            Stage::Forwarding(_) => {
                call.upstream.ended = Some(self.worker.now());
                self.commit(call, refusal.status(), false).await.ok()?;
            }
            Stage::Admitted(_) => call.stage = Stage::Outside,
            Stage::Outside => {}
            // The head of the record names another status than this answer would, so there is none.
            Stage::Committed(_) => return None,
        }
        // Pingora keeps no connection after a failure, and the answer says so.
        session.set_keepalive(None);
        call.answer_ends();
        answer::fail(session, refusal, call_id, call.is_rpc())
            .await
            .ok()?;
        call.response_ended = true;
        Some(refusal.status())
    }

    /// Returns what the record says about the end of a call.
    pub(crate) fn closing(&self, session: &Session, error: Option<&Error>, call: &Call) -> Closing {
        // A whole answer was over when its last byte passed, so the clock is not read again.
        let ended = call.upstream.ended.filter(|_| error.is_none());
        let now = ended.unwrap_or_else(|| self.worker.now());
        let forwarded =
            matches!(&call.stage, Stage::Committed(committed) if committed.is_forwarded());
        // A body that was filtered to its end and then not written whole is not complete.
        let write_failed = error.is_some_and(|error| {
            matches!(error.esource(), ErrorSource::Downstream)
                && matches!(
                    error.etype(),
                    ErrorType::WriteError | ErrorType::WriteTimedout
                )
        });
        Closing {
            ending: Ending {
                error: error.map(blame),
                response_complete: error.is_none() || (call.response_ended && !write_failed),
                forwarded_status: forwarded,
            },
            attempts: call.attempts,
            request_bytes: session.body_bytes_read() as u64,
            response_bytes: session.body_bytes_sent() as u64,
            upstream_us: call.upstream.micros(now),
            at: now,
        }
    }
}
