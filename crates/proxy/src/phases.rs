//! Pingora's phases of a call: the gate decides, the phases translate.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gate::{Failure, rpc};
use model::{Address, Blame, Refusal};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use crate::answer;
use crate::call::{Call, Stage, caller_of};
use crate::connection::Connection;
use crate::failure::{blame, internal, is_of_the_address};
use crate::headers::{CALL_ID, Rewrite, rewrite};
use crate::metered_proxy::{MAX_ATTEMPTS, MeteredProxy};
use crate::response;
use crate::session;

#[async_trait]
impl ProxyHttp for MeteredProxy {
    type CTX = Call;

    fn new_ctx(&self) -> Call {
        let mut call = Call::default();
        call.connection = Connection::current();
        call
    }

    /// Adds no module: the framework's own would make a compressor for each call, which compresses
    /// nothing.
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
            call.turn = backend.pool.next_turn();
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
            // The framework's own timeout of reads, which knows no tunnels.
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
            backend.pool.note_connect(address, false);
            if call.attempts == 1 {
                backend.pool.note_failed_call(address);
            }
        }
        // Nothing was sent, so another attempt is safe for every method.
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
        // A connection that is used again counts, too: its call may be the one that tries an
        // address which was set aside.
        if let (Some(backend), Some(address)) = (&call.backend, peer._address.as_inet()) {
            backend.pool.note_connect(*address, true);
        }
        Ok(())
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        call: &mut Call,
        reused: bool,
    ) -> Box<Error> {
        self.judge_failed_attempt(peer, session, &mut error, call, reused);
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
        // The bytes of a tunnel are no body, so its limit does not apply to them.
        if limit.is_some_and(|limit| call.request_bytes > limit) && !session.was_upgraded() {
            call.refusal = Some(Refusal::BodyTooLarge);
            // The error is the caller's doing: an answer that has begun is paid for.
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
        session::head_received(session, call, head, tunnel);
        if head.status.is_informational() && head.status.as_u16() != 101 {
            // The gate's own headers stand in the final answer only.
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
            if let Some(price) = forwarding.charged(head.status.as_u16()) {
                head.insert_header(gate::CHARGED, price.to_string())?;
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
            // The end of an answer without a body does not pass the filter of bodies.
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

    /// Suppresses Pingora's own error lines: they name the whole URL, which may hold a secret.
    fn suppress_error_log(&self, _: &Session, _: &Call, _: &Error) -> bool {
        true
    }
}
