//! The head of an upstream's answer, made one that this caller's connection can carry.

use http::{Method, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

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

/// Whether something may follow the head of this answer, by what it says.
pub(crate) fn has_content(session: &Session, head: &ResponseHeader) -> bool {
    let length = head.headers.get(header::CONTENT_LENGTH);
    !(head.status == StatusCode::NO_CONTENT
        || head.status == StatusCode::NOT_MODIFIED
        || session.req_header().method == Method::HEAD
        || length.is_some_and(|length| length == "0"))
}

fn invalid(what: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, what).into_up()
}
