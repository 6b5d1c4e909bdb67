//! The proxy of one thread: admission of a call, and the head of its record.

use std::sync::Arc;

use arc_swap::ArcSwap;
use gate::{CallRequest, Gate, Refused, RequestHead, Worker};
use model::{Refusal, RequestTarget};
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::backend::{Backends, Underscores};
use crate::call::{Call, Stage};
use crate::failure::internal;
use crate::headers::{
    IDEMPOTENCY_KEY, caller_address, caller_scheme, has_underscored_name, presented,
    presented_by_rpc, rpc_call,
};
use crate::malformed::Malformed;
use crate::session::{self, CallerTimeouts};
use crate::survey::Survey;
use crate::target::normalize;

/// The number of connections to the upstream that one call may try.
pub(crate) const MAX_ATTEMPTS: u8 = 2;

/// The proxy of one thread: Pingora's phases over the gate.
pub struct MeteredProxy {
    pub(crate) gate: Arc<Gate>,
    pub(crate) worker: Arc<Worker>,
    pub(crate) backends: Arc<ArcSwap<Backends>>,
    pub(crate) timeouts: CallerTimeouts,
}

impl MeteredProxy {
    /// Admits a call, or returns the refusal to answer with.
    pub(crate) async fn admit(
        &self,
        session: &mut Session,
        seen: Survey,
        call: &mut Call,
    ) -> Result<(), Refused> {
        let by_rpc = call.is_rpc();
        let malformed = |Malformed(detail)| self.gate.refuse_malformed(&self.worker, detail);
        normalize(session.req_header_mut(), seen, by_rpc).map_err(malformed)?;
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
        let trusted = &backends.trusted_proxies;
        let request = CallRequest {
            path,
            address: match by_rpc {
                true => call.caller.as_ref().map(|caller| caller.address),
                false => peer.map(|peer| caller_address(peer.ip().into(), &head.headers, trusted)),
            },
            presented: match by_rpc {
                true => presented_by_rpc(&head.headers, names),
                false => presented(&head.headers, names, routed.route.app.decides_on_agents()),
            },
            idempotency: idempotency(head),
            head: (!by_rpc && routed.route.app.decides_on_agents()).then(|| RequestHead {
                method,
                scheme: caller_scheme(peer.map(|peer| peer.ip().into()), &head.headers, trusted),
                authority: host(head),
                query: target.query(),
                headers: &head.headers,
            }),
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
    ///
    /// # Errors
    /// The call has a status already, or its head cannot be made durable.
    pub(crate) async fn commit(&self, call: &mut Call, status: u16, forwarded: bool) -> Result<()> {
        if let Some(connection) = &call.connection {
            connection.wait_for_turn().await;
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

    /// Notes that the upstream's answer has ended.
    pub(crate) fn note_end(&self, call: &mut Call) {
        call.response_ended = true;
        call.upstream.ended = Some(self.worker.now());
        if let Some(connection) = &call.connection {
            connection.caller().is_answered();
        }
    }
}

/// Returns the host of a request, perhaps with a port; empty if there is none.
fn host(head: &RequestHeader) -> &str {
    let named = head
        .headers
        .get(http::header::HOST)
        .and_then(|host| host.to_str().ok());
    named
        .or_else(|| head.uri.authority().map(|authority| authority.as_str()))
        .unwrap_or("")
}

/// Returns the value of `Content-Length`; `None` if there is none or it is no number.
fn declared_length(head: &RequestHeader) -> Option<u64> {
    head.headers
        .get(http::header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Returns the hash of the caller's `Idempotency-Key`, or 0 without one. The key itself is never
/// kept.
fn idempotency(head: &RequestHeader) -> u64 {
    head.headers
        .get(&IDEMPOTENCY_KEY)
        .map_or(0, |key| model::key::digest_u64(key.as_bytes()))
}
