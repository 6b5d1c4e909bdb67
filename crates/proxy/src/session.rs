//! The settings of the framework's session and of the caller's connection during a call.

use std::time::Duration;

use gate::Route;
use http::{Version, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use crate::call::Call;
use crate::connection::Absence;
use crate::hop;
use crate::survey::Survey;

/// The timeouts towards callers.
#[derive(Clone, Copy, Debug)]
pub struct CallerTimeouts {
    /// The longest time between two reads of a request body.
    pub read: Duration,
    /// The longest time of one write of a response.
    pub write: Duration,
}

/// Prepares both for a call whose head was received. Returns which of its fields have to be looked
/// at.
pub(crate) fn begin(session: &mut Session, call: &mut Call, timeouts: CallerTimeouts) -> Survey {
    let connection = call.connection.as_deref();
    if let Some(connection) = connection {
        connection.call_begins();
    }
    let seen = Survey::of(&session.req_header().headers);
    if seen.has_upgrade {
        hop::normalize_upgrade(session.req_header_mut());
    }
    if seen.has_options && hop::says_close(&session.req_header().headers) {
        // The framework reads only the first of several lines or options (RFC 9112, section 9.6).
        session.set_keepalive(None);
    }
    let is_old = session.req_header().version == Version::HTTP_10;
    if is_old {
        // Callers of HTTP/1.0 get no informational answer (RFC 9110, section 15.2), and their
        // expectations are ignored (section 10.1.1).
        session.req_header_mut().remove_header(&header::EXPECT);
        session.set_ignore_info_resp(true);
    }
    if let (true, Some(connection)) = (seen.expects && !is_old, connection) {
        connection.caller().waits_to_go_on();
    }
    // Pipelined requests are answered in their order (RFC 9112, section 9.3.2). Bytes after a
    // request for another protocol may be that protocol's.
    call.asks_for_websocket = seen.has_upgrade && session.is_upgrade_req();
    session.set_pipelining_enabled(!call.asks_for_websocket);
    session.set_read_timeout(Some(timeouts.read));
    session.set_write_timeout(Some(timeouts.write));
    seen
}

/// Returns what the caller's absence means to a call of this route. A call by rpc ends with it: the
/// control plane does not wait for an answer once it has closed its side.
pub(crate) fn absence(route: &Route, by_rpc: bool) -> Absence {
    match route {
        route if route.finishes_without_caller => Absence::Ignored,
        route if by_rpc || route.half_close_leaves => Absence::Ends,
        _ => Absence::Answered,
    }
}

/// Prepares both for the head of an answer, which is about to leave.
pub(crate) fn head_received(
    session: &mut Session,
    call: &Call,
    head: &ResponseHeader,
    tunnel_timeout: Option<Duration>,
) {
    let connection = call.connection.as_deref();
    if let Some(connection) = connection {
        let is_final = !head.status.is_informational() || head.status.as_u16() == 101;
        connection.upstream_wait().head_received(is_final);
    }
    match (head.status.as_u16(), connection) {
        (101, Some(connection)) => {
            connection.tunnel_begins(tunnel_timeout.unwrap_or(Duration::MAX));
            // Silence in a tunnel is neither side's failure.
            session.set_read_timeout(None);
        }
        (100, Some(connection)) => connection.caller().goes_on(),
        _ => {}
    }
    if !head.status.is_informational() {
        say_close_if_last(session, call);
    }
}

/// Has the answer say `Connection: close` where the connection takes no other call (RFC 9112,
/// section 9.6).
pub(crate) fn say_close_if_last(session: &mut Session, call: &Call) {
    let connection = call.connection.as_ref();
    if call.asks_for_websocket
        || connection.is_some_and(|connection| connection.ends_with_this_call())
    {
        session.set_keepalive(None);
    }
}
