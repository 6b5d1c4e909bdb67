//! The head of an upstream's answer, made one that this caller's connection can carry.

use std::sync::Arc;

use http::{StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use crate::connection::Connection;

/// Takes back what a caller of HTTP/1.0 asks for and cannot be given: such an `Expect` is ignored (RFC 9110, section 10.1.1),
/// and no informational answer reaches him (section 15.2).
pub(crate) fn expect_of_old(session: &mut Session) {
    if session.req_header().version == Version::HTTP_10 {
        session.req_header_mut().remove_header(&header::EXPECT);
        session.set_ignore_info_resp(true);
    }
}

/// Makes the head fit for the caller.
///
/// # Errors
/// If no caller could read it: the upstream's fault.
pub(crate) fn fit(session: &mut Session, head: &mut ResponseHeader) -> Result<()> {
    let status = head.status;
    if status == StatusCode::SWITCHING_PROTOCOLS && !session.is_upgrade_req() {
        // Whoever did not ask would read the new protocol as HTTP (RFC 9110, section 15.2.2).
        return Err(invalid("the upstream switches protocols unasked"));
    }
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        // They end with their head (RFC 9110, section 8.6; RFC 9112, section 6.1); 304 may say the length of what it is about.
        head.remove_header(&header::CONTENT_LENGTH);
        head.remove_header(&header::TRANSFER_ENCODING);
    }
    // The framework drops the fields that this would announce.
    head.remove_header(&header::TRAILER);
    if session.req_header().version == Version::HTTP_10 {
        unchunk(session, head)?;
    }
    Ok(())
}

/// Says `Connection: close` where the connection takes no other call (RFC 9112, section 9.6).
pub(crate) fn say_close_if_last(session: &mut Session, connection: Option<&Arc<Connection>>) {
    if connection.is_some_and(|connection| connection.ends_with_this_call()) {
        session.set_keepalive(None);
    }
}

/// A caller of HTTP/1.0 knows no chunks: he reads until the connection ends (RFC 9112, section 6.1).
fn unchunk(session: &mut Session, head: &mut ResponseHeader) -> Result<()> {
    let Some(coding) = head.remove_header(&header::TRANSFER_ENCODING) else {
        return Ok(());
    };
    if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(invalid("a coding that HTTP/1.0 cannot carry"));
    }
    session.set_keepalive(None);
    Ok(())
}

fn invalid(what: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, what).into_up()
}
