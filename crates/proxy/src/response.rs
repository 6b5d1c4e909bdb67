//! The head of an upstream's answer, made one that this caller's connection can carry.

use http::{HeaderValue, Method, StatusCode, Version, header};
use model::BodyLength;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use crate::hop;

/// Makes the head fit for the caller.
///
/// # Errors
/// If no caller could read it: the upstream's fault.
pub(crate) fn fit(session: &mut Session, head: &mut ResponseHeader) -> Result<()> {
    let status = head.status;
    let asked = session.is_upgrade_req() && hop::switches_to_websocket(head);
    if status == StatusCode::SWITCHING_PROTOCOLS && !asked {
        // Whoever did not ask would read the new protocol as HTTP (RFC 9110, sections 7.8 and 15.2.2).
        return Err(invalid("the upstream switches protocols unasked"));
    }
    settle_length(head)?;
    hop::strip_answer(head);
    // Whatever the upstream speaks, this is our answer (RFC 9112, section 2.3).
    head.set_version(Version::HTTP_11);
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

/// Leaves one length, or chunks and no length.
///
/// # Errors
/// Where callers would not agree on where the body ends: the upstream's fault (RFC 9110, section 8.6; RFC 9112, section 6.1).
fn settle_length(head: &mut ResponseHeader) -> Result<()> {
    let lines = |name| head.headers.get_all(name).iter();
    let bytes = |name| lines(name).map(HeaderValue::as_bytes);
    let is_one = |name| lines(name).nth(1).is_none();
    let is_plain = is_one(header::CONTENT_LENGTH)
        && bytes(header::CONTENT_LENGTH).all(|line| !line.contains(&b','));
    let lengths = bytes(header::CONTENT_LENGTH);
    let length = BodyLength::read(lengths, bytes(header::TRANSFER_ENCODING));
    match length {
        // The framework read one of them, and it is not known which.
        Err(_) => Err(invalid(
            "the length of the answer can be read in several ways",
        )),
        Ok(BodyLength::Known(_)) if !is_plain => {
            Err(invalid("the length of the answer is said several times"))
        }
        Ok(BodyLength::Chunked) if head.version < Version::HTTP_11 => {
            Err(invalid("an answer in HTTP/1.0 comes in chunks"))
        }
        Ok(BodyLength::Chunked) => {
            head.remove_header(&header::CONTENT_LENGTH);
            Ok(())
        }
        Ok(BodyLength::Known(_) | BodyLength::Unsaid) => Ok(()),
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
