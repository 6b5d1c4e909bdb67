//! What the framework's session and the caller's connection are told of a call.

use std::time::Duration;

use gate::Route;
use http::{Version, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use crate::call::Call;
use crate::connection::Absence;
use crate::hop;
use crate::phases::CallerTimeouts;
use crate::survey::Survey;

/// Sets both up for a call whose head has come; what is to be looked at in it.
pub(crate) fn begin(session: &mut Session, call: &mut Call, timeouts: CallerTimeouts) -> Survey {
    let connection = call.connection.as_deref();
    if let Some(connection) = connection {
        connection.call_begins();
    }
    let seen = Survey::of(&session.req_header().headers);
    if seen.has_upgrade {
        hop::settle_upgrade(session.req_header_mut());
    }
    if seen.has_options && hop::says_close(&session.req_header().headers) {
        // Of several lines or options the framework reads the first one alone (RFC 9112, section 9.6).
        session.set_keepalive(None);
    }
    let is_old = session.req_header().version == Version::HTTP_10;
    if is_old {
        // Its callers get no informational answer (RFC 9110, section 15.2), and whatever they expect, nothing is promised them
        // (section 10.1.1).
        session.req_header_mut().remove_header(&header::EXPECT);
        session.set_ignore_info_resp(true);
    }
    if let (true, Some(connection)) = (seen.expects && !is_old, connection) {
        connection.caller().waits_to_go_on();
    }
    // Requests that are sent without waiting for answers are answered in their order (RFC 9112, section 9.3.2). What follows a
    // request for another protocol may be that protocol's.
    call.asks_for_websocket = seen.has_upgrade && session.is_upgrade_req();
    session.set_pipelining_enabled(!call.asks_for_websocket);
    session.set_read_timeout(Some(timeouts.read));
    session.set_write_timeout(Some(timeouts.write));
    seen
}

/// What his absence means to a call of this route. The control plane does not wait for what it has turned its back on.
pub(crate) fn absence(route: &Route, by_rpc: bool) -> Absence {
    match route {
        route if route.finishes_without_caller => Absence::Ignored,
        route if by_rpc || route.half_close_leaves => Absence::Ends,
        _ => Absence::Answered,
    }
}

/// Tells both of the head of an answer, which is about to leave.
pub(crate) fn head_came(
    session: &mut Session,
    call: &Call,
    head: &ResponseHeader,
    tunnel_timeout: Option<Duration>,
) {
    let connection = call.connection.as_deref();
    if let Some(connection) = connection {
        let is_final = !head.status.is_informational() || head.status.as_u16() == 101;
        connection.upstream_wait().head_came(is_final);
    }
    match (head.status.as_u16(), connection) {
        (101, Some(connection)) => {
            connection.tunnel_begins(tunnel_timeout.unwrap_or(Duration::MAX));
            // Silence in a tunnel is neither side's.
            session.set_read_timeout(None);
        }
        (100, Some(connection)) => connection.caller().goes_on(),
        _ => {}
    }
    if !head.status.is_informational() {
        say_close_if_last(session, call);
    }
}

/// Says `Connection: close` where the connection takes no other call (RFC 9112, section 9.6).
pub(crate) fn say_close_if_last(session: &mut Session, call: &Call) {
    let connection = call.connection.as_ref();
    if call.asks_for_websocket
        || connection.is_some_and(|connection| connection.ends_with_this_call())
    {
        session.set_keepalive(None);
    }
}
