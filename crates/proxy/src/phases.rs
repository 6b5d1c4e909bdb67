//! Pingora's phases, each a few lines: the gate decides, the phases translate.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use gate::{CallRequest, Closing, Failure, Gate, Refused, Worker, rpc};
use model::{Address, Blame, Ending, Refusal, RequestTarget};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use crate::answer;
use crate::backend::{Backends, Underscores};
use crate::call::{Call, Stage, caller_of};
use crate::connection::{Connection, UpstreamWait};
use crate::failure::{blame, failure, internal, is_of_the_address, kind_of};
use crate::headers::{
    CALL_ID, IDEMPOTENCY_KEY, Rewrite, caller_address, has_underscored_name, presented,
    presented_by_rpc, rewrite, rpc_call,
};
use crate::response;
use crate::session;
use crate::survey::Survey;
use crate::target::{Malformed, settle};

/// Connections to the upstream that one call may try.
pub(crate) const MAX_ATTEMPTS: u8 = 2;

/// Timeouts towards callers.
#[derive(Clone, Copy, Debug)]
pub struct CallerTimeouts {
    /// Longest time between two reads of a request body.
    pub read: Duration,
    /// Longest time of one write of a response.
    pub write: Duration,
}

/// The proxy of one thread.
pub struct MeteredProxy {
    pub(crate) gate: Arc<Gate>,
    pub(crate) worker: Arc<Worker>,
    pub(crate) backends: Arc<ArcSwap<Backends>>,
    pub(crate) timeouts: CallerTimeouts,
}

impl MeteredProxy {
    /// Admits a call, or says what to answer.
    async fn admit(
        &self,
        session: &mut Session,
        seen: Survey,
        call: &mut Call,
    ) -> Result<(), Refused> {
        let by_rpc = call.is_rpc();
        let malformed = |Malformed(detail)| self.gate.refuse_malformed(&self.worker, detail);
        settle(session.req_header_mut(), seen, by_rpc).map_err(malformed)?;
        let (peer, head) = (session.client_addr().cloned(), session.req_header());
        let target = RequestTarget::parse(head.raw_path());
        let target = target.map_err(|error| malformed(error.into()))?;
        let (path, method) = (target.path(), head.method.as_str());
        let routed = if by_rpc {
            let (app, caller) = rpc_call(&head.headers);
            call.caller = caller;
            self.gate.route_rpc(&self.worker, app, method, path)?
        } else {
            self.gate.route(&self.worker, host(head), method, path)?
        };
        call.call_id = Some(routed.call_id);
        let backends = self.backends.load();
        let backend = backends.apps[routed.route.app.index].clone();
        if seen.lengths > 0
            && declared_length(head).is_some_and(|length| length > backend.body_limit)
        {
            return Err(self
                .gate
                .refuse(&self.worker, &routed, Refusal::BodyTooLarge));
        }
        if backend.underscores == Underscores::Refuse
            && has_underscored_name(&head.headers, &routed.route.app.license_headers)
        {
            self.worker.malformed();
            let refusal = Refusal::RequestMalformed;
            return Err(Refused {
                detail: Some("send no header whose name has an underscore, write a hyphen"),
                ..self.gate.refuse(&self.worker, &routed, refusal)
            });
        }
        let peer = peer.as_ref().and_then(|peer| peer.as_inet());
        let names = &routed.route.app.license_headers;
        let request = CallRequest {
            path,
            address: match by_rpc {
                true => call.caller.as_ref().map(|caller| caller.address),
                false => peer.map(|peer| {
                    caller_address(peer.ip().into(), &head.headers, &backends.trusted_proxies)
                }),
            },
            presented: match by_rpc {
                true => presented_by_rpc(&head.headers, names),
                false => presented(&head.headers, names),
            },
            idempotency: idempotency(head),
        };
        let absence = session::absence(&routed.route, by_rpc);
        drop(backends);
        let admitted = self.gate.admit(&self.worker, routed, request).await?;
        call.backend = Some(backend);
        call.stage = Stage::Admitted(admitted);
        if let Some(connection) = &call.connection {
            connection.caller().set_absence(absence);
        }
        Ok(())
    }

    /// Writes the head of the record. Not a byte of the answer leaves before it is durable.
    async fn commit(&self, call: &mut Call, status: u16, forwarded: bool) -> Result<()> {
        if let Some(connection) = &call.connection {
            connection.turn().await;
            connection.answer_begins();
        }
        let Stage::Forwarding(forwarding) = std::mem::take(&mut call.stage) else {
            return Err(internal("a call has one status"));
        };
        let (committed, durable) = forwarding.commit(status, forwarded);
        call.stage = Stage::Committed(committed);
        if durable.is_immediate() {
            return Ok(());
        }
        let held = match &call.connection {
            Some(connection) => connection.hold(durable).is_ok(),
            None => durable.await.is_ok(),
        };
        if !held {
            call.uncommitted = true;
            return Err(internal("the call could not be recorded"));
        }
        Ok(())
    }

    /// Answers for an upstream that did not, or for an error of the gate; returns the status that was written.
    async fn answer_failure(
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
            // The head names another status than this answer would: rather none.
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

    /// Notes that nothing more of the upstream's answer is to come.
    fn note_end(&self, call: &mut Call) {
        call.response_ended = true;
        call.upstream.ended = Some(self.worker.now());
        if let Some(connection) = &call.connection {
            connection.caller().is_answered();
        }
    }

    /// Counts an attempt that failed by its upstream.
    fn note_failure(&self, call: &Call, peer: &HttpPeer, error: &Error) {
        let (Some(backend), Some(address)) = (&call.backend, peer._address.as_inet()) else {
            return;
        };
        let (app, kind) = (backend.app.as_str(), kind_of(error));
        if let Some(upstream) = backend.pool.failed(app, *address, kind.as_str()) {
            self.gate.upstream_failed(app, upstream, kind);
        }
    }

    fn closing(&self, session: &Session, error: Option<&Error>, call: &Call) -> Closing {
        // A whole answer was over when its last byte went by: no second reading of the clock.
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

#[async_trait]
impl ProxyHttp for MeteredProxy {
    type CTX = Call;

    fn new_ctx(&self) -> Call {
        let mut call = Call::default();
        call.connection = Connection::current();
        call
    }

    /// None: the framework's own would make a compressor for each call that compresses nothing.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, call: &mut Call) -> Result<bool> {
        let seen = session::begin(session, call, self.timeouts);
        match self.admit(session, seen, call).await {
            Ok(()) => Ok(false),
            Err(refused) => {
                session::say_close_if_last(session, call);
                answer::refuse(session, &refused, call.is_rpc()).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, _: &mut Session, call: &mut Call) -> Result<Box<HttpPeer>> {
        let backend = call
            .backend
            .clone()
            .ok_or_else(|| internal("a call without a backend"))?;
        if let Stage::Admitted(_) = call.stage {
            let Stage::Admitted(admitted) = std::mem::take(&mut call.stage) else {
                return Err(internal("the stage was just seen"));
            };
            match admitted.mark() {
                Ok(forwarding) => {
                    if let (Some(connection), Some(check)) =
                        (&call.connection, forwarding.cut_check())
                    {
                        connection.watch(check);
                    }
                    call.stage = Stage::Forwarding(forwarding);
                }
                Err(refusal) => {
                    call.refusal = Some(refusal);
                    return Err(internal("too many calls are under way to be marked"));
                }
            }
            call.turn = backend.pool.turn();
            call.upstream.began = Some(self.worker.now());
        }
        let turn = call.turn.wrapping_add(usize::from(call.attempts));
        call.attempts = call.attempts.saturating_add(1);
        call.request_bytes = 0;
        let failed = call.failed.take();
        let mut peer = backend.pool.pick(turn, failed).ok_or_else(|| {
            Error::explain(ErrorType::ConnectNoRoute, "no upstream has an address yet").into_up()
        })?;
        if call.asks_for_websocket && peer.options.custom_l4.is_none() {
            // The framework's own wait, which knows of no tunnel.
            let limit = peer.options.read_timeout.max(Some(backend.tunnel_timeout));
            peer.options.read_timeout = limit;
        }
        Ok(peer)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        peer: &HttpPeer,
        call: &mut Call,
        mut error: Box<Error>,
    ) -> Box<Error> {
        call.failed = peer._address.as_inet().copied();
        self.note_failure(call, peer, &error);
        if let (Some(backend), Some(address)) = (&call.backend, call.failed)
            && is_of_the_address(&error)
        {
            backend.pool.note(address, false);
        }
        // Nothing was sent, so another try is safe for every method.
        error.set_retry(call.attempts < MAX_ATTEMPTS);
        error
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _: bool,
        peer: &HttpPeer,
        _: std::os::fd::RawFd,
        _: Option<&Digest>,
        call: &mut Call,
    ) -> Result<()> {
        // One that is used again counts, too: it may be that of the call by which an address is tried that was set aside.
        if let (Some(backend), Some(address)) = (&call.backend, peer._address.as_inet()) {
            backend.pool.note(*address, true);
        }
        Ok(())
    }

    /// As the framework decides it, for connections that it does not know: only an idempotent call, and only if a connection
    /// was used again that the upstream may have closed meanwhile.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        call: &mut Call,
        reused: bool,
    ) -> Box<Error> {
        let connection = call.connection.as_ref();
        let ours = connection.filter(|_| peer.options.custom_l4.is_some());
        let wait = ours.map(|connection| connection.upstream_wait());
        let reused = reused || wait.is_some_and(UpstreamWait::is_reused);
        if *error.etype() == ErrorType::ReadTimedout
            && connection.is_some_and(|connection| connection.is_tunnel())
        {
            // A quiet tunnel is nobody's failure.
            call.response_ended = true;
        }
        // What the caller has seen some of, an informational head even, is not begun anew.
        let repeatable = session.req_header().method.is_idempotent()
            && !session.retry_buffer_truncated()
            && session.response_written().is_none();
        let is_theirs = *error.esource() == ErrorSource::Upstream;
        let is_tunnel = connection.is_some_and(|connection| connection.is_tunnel());
        let ends_tunnel =
            is_theirs && is_tunnel && (call.request_bytes, call.response_bytes) != (0, 0);
        if ends_tunnel {
            // Either side may end a tunnel that carried something. What the upstream had not read makes its end a reset, so that
            // a caller could always bring one about.
            call.response_ended = true;
            error.set_retry(false);
        } else if is_theirs
            && connection.is_some_and(|connection| connection.is_stalled_by_caller())
        {
            // The upstream waited for the caller, as we did, and had enough.
            error.etype = ErrorType::ReadTimedout;
            error.as_down();
            error.set_retry(false);
        } else if is_theirs && wait.is_some_and(UpstreamWait::was_overdue) {
            error.etype = ErrorType::ReadTimedout;
            error.set_retry(false);
        } else if repeatable {
            error.retry.decide_reuse(reused);
        } else {
            error.set_retry(false);
        }
        // An upstream may close a connection that was not in use: then the next one shows whether it is well.
        let is_failure = *error.esource() == ErrorSource::Upstream && !ends_tunnel;
        if is_failure && !(reused && error.retry()) {
            self.note_failure(call, peer, &error);
        }
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        call: &mut Call,
    ) -> Result<()> {
        let call_id = call.id_text();
        let (Some(backend), Some(call_id), Stage::Forwarding(forwarding)) =
            (&call.backend, &call_id, &mut call.stage)
        else {
            return Err(internal("a call reaches the upstream only from the gate"));
        };
        let trusted = &self.backends.load().trusted_proxies;
        let peer = (!trusted.is_empty())
            .then(|| session.client_addr()?.as_inet())
            .flatten()
            .map(|peer| Address::new(peer.ip()));
        rewrite(
            head,
            &Rewrite {
                route: forwarding.route(),
                backend,
                license: forwarding.license(),
                call_id,
                peer: caller_of(call.connection.as_ref(), call.caller.as_ref()),
                from_trusted_proxy: peer.is_some_and(|peer| peer.is_in(trusted)),
            },
        )?;
        forwarding.sending();
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        call: &mut Call,
    ) -> Result<()> {
        if let (true, Some(connection)) = (end_of_stream, &call.connection) {
            connection.request_is_whole();
        }
        let Some(body) = body else {
            return Ok(());
        };
        if let Some(connection) = &call.connection {
            connection.bytes_pass();
        }
        call.request_bytes += body.len() as u64;
        let limit = call.backend.as_ref().map(|backend| backend.body_limit);
        // What a tunnel carries is no body: it has no end that a limit could wait for.
        if limit.is_some_and(|limit| call.request_bytes > limit) && !session.was_upgraded() {
            call.refusal = Some(Refusal::BodyTooLarge);
            // The caller's doing: an answer that has begun is paid for.
            let kind = ErrorType::HTTPStatus(Refusal::BodyTooLarge.status());
            return Err(Error::explain(kind, "the request body is too large").into_down());
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        call: &mut Call,
    ) -> Result<()> {
        let has_content = response::fit(session, head)?;
        let tunnel = call.backend.as_ref().map(|backend| backend.tunnel_timeout);
        session::head_came(session, call, head, tunnel);
        if head.status.is_informational() && head.status.as_u16() != 101 {
            // What the gate says of a call it says once, with the answer.
            head.remove_header(CALL_ID);
            if let Stage::Forwarding(forwarding) = &call.stage
                && forwarding.rate().is_some()
            {
                answer::strip_rate_headers(head);
            }
            return Ok(());
        }
        if call.is_rpc() {
            head.remove_header(&rpc::REFUSAL);
        }
        let call_id = call.id_text();
        if let (Stage::Forwarding(forwarding), Some(call_id)) = (&mut call.stage, call_id) {
            head.insert_header(CALL_ID, call_id)?;
            if let Some((limits, view)) = forwarding.rate() {
                answer::rate_headers(head, limits, &view)?;
            }
            let named = match &forwarding.route().units_header {
                Some(name) => {
                    let is_list = head.headers.get_all(name).iter().nth(1).is_some();
                    head.remove_header(name).map(|value| (value, is_list))
                }
                None => None,
            };
            match named {
                // Lines of one name are one list (RFC 9110, section 5.3), and a list is no number.
                Some((_, true)) => forwarding.read_units(b","),
                Some((value, false)) => forwarding.read_units(value.as_bytes()),
                None => {}
            }
        }
        self.commit(call, head.status.as_u16(), true).await?;
        if !has_content {
            // Its end does not come through the filter of bodies.
            self.note_end(call);
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        call: &mut Call,
    ) -> Result<Option<Duration>> {
        if let Some(connection) = &call.connection {
            connection.bytes_pass();
        }
        call.response_bytes += body.as_ref().map_or(0, |body| body.len() as u64);
        if end_of_stream {
            self.note_end(call);
            call.answer_ends();
        }
        Ok(None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        call: &mut Call,
    ) -> FailToProxy {
        // After informational heads the answer is still to come (RFC 9110, section 15.2).
        let is_answer =
            |head: &ResponseHeader| !head.status.is_informational() || head.status.as_u16() == 101;
        let silent = call.uncommitted || session.response_written().is_some_and(is_answer);
        let written = if silent {
            None
        } else {
            self.answer_failure(session, call, error).await
        };
        FailToProxy {
            error_code: written.unwrap_or(0),
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, call: &mut Call) {
        if let (Some(error), Some(call_id)) = (error, call.call_id) {
            // Never the error's own text, which may hold what the caller sent.
            let (source, kind) = (error.esource().as_str(), error.etype().as_str());
            tracing::debug!(%call_id, source, kind, attempts = call.attempts, "a call ended with an error");
        }
        match std::mem::take(&mut call.stage) {
            Stage::Outside | Stage::Admitted(_) => {}
            Stage::Forwarding(forwarding) => {
                let failure = match error.map(blame) {
                    Some(Blame::Caller) => Failure::CallerLeft,
                    _ => Failure::Ours,
                };
                forwarding.abandon(failure, &self.closing(session, error, call));
            }
            stage @ Stage::Committed(_) => {
                call.stage = stage;
                let blocked = call.connection.as_ref().map(|it| it.take_blocked());
                call.upstream.waited_us = blocked.unwrap_or(0);
                let closing = self.closing(session, error, call);
                if let Stage::Committed(committed) = std::mem::take(&mut call.stage) {
                    match &call.connection {
                        Some(connection) => connection.close_when_left(committed, closing),
                        None => committed.close(&closing),
                    }
                }
            }
        }
        if let Some(connection) = &call.connection {
            connection.call_ends();
        }
    }

    /// Pingora's own error lines name the whole URL, which may hold a secret.
    fn suppress_error_log(&self, _: &Session, _: &Call, _: &Error) -> bool {
        true
    }
}

fn host(head: &RequestHeader) -> &str {
    let named = head
        .headers
        .get(http::header::HOST)
        .and_then(|host| host.to_str().ok());
    named
        .or_else(|| head.uri.authority().map(|authority| authority.as_str()))
        .unwrap_or("")
}

fn declared_length(head: &RequestHeader) -> Option<u64> {
    head.headers
        .get(http::header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// A hash of the caller's `Idempotency-Key`; the key itself is never kept.
fn idempotency(head: &RequestHeader) -> u64 {
    head.headers
        .get(&IDEMPOTENCY_KEY)
        .map_or(0, |key| model::key::digest_u64(key.as_bytes()))
}
