//! The head of an upstream's answer, in a form that the caller's connection can carry.

use http::{HeaderValue, Method, StatusCode, Version, header};
use model::BodyLength;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use crate::hop;
use crate::survey::Survey;

/// Makes the head fit for the caller. Returns whether a body may follow it, by what it says.
///
/// # Errors
/// A head that no caller could read: the upstream's fault.
pub(crate) fn fit(session: &mut Session, head: &mut ResponseHeader) -> Result<bool> {
    let status = head.status;
    if status == StatusCode::SWITCHING_PROTOCOLS
        && !(session.is_upgrade_req()
            && head.version >= Version::HTTP_11
            && hop::switches_to_websocket(head))
    {
        // A caller that did not ask would read the new protocol as HTTP (RFC 9110, sections 7.8 and
        // 15.2.2).
        return Err(invalid("the upstream switches protocols unasked"));
    }
    let seen = Survey::of(&head.headers);
    if seen.codings > 0 || seen.lengths > 1 || seen.has_odd_length {
        normalize_length(head, seen)?;
    }
    hop::strip_answer(head, seen);
    // The version is ours, whatever the upstream speaks (RFC 9112, section 2.3).
    head.set_version(Version::HTTP_11);
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        // Such answers end with their head (RFC 9110, section 8.6; RFC 9112, section 6.1). 304 may
        // state the length of the content that it is about.
        head.remove_header(&header::CONTENT_LENGTH);
        head.remove_header(&header::TRANSFER_ENCODING);
    }
    if seen.has_trailers {
        // The framework drops the trailers that this would announce.
        head.remove_header(&header::TRAILER);
    }
    if session.req_header().version == Version::HTTP_10 {
        unchunk(session, head)?;
    }
    let is_empty = status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        // The length beside chunks was removed above, and so was that of an informational head.
        || seen.has_length_zero && seen.codings == 0 && !status.is_informational()
        || session.req_header().method == Method::HEAD;
    Ok(!is_empty)
}

/// Leaves one length, or chunks and no length.
///
/// # Errors
/// Fields by which callers would not agree where the body ends: the upstream's fault (RFC 9110,
/// section 8.6; RFC 9112, section 6.1).
fn normalize_length(head: &mut ResponseHeader, seen: Survey) -> Result<()> {
    let lines = |name| head.headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let lengths = || lines(header::CONTENT_LENGTH);
    // The framework read one of several lengths, and it is not known which.
    let is_said_twice = seen.lengths > 1 || lengths().any(|line| line.contains(&b','));
    match BodyLength::read(lengths(), lines(header::TRANSFER_ENCODING)) {
        Err(_) => Err(invalid(
            "the length of the answer can be read in several ways",
        )),
        Ok(BodyLength::Known(_)) if is_said_twice => {
            Err(invalid("the length of the answer is said several times"))
        }
        Ok(BodyLength::Chunked) if head.version < Version::HTTP_11 => {
            Err(invalid("an answer in HTTP/1.0 comes in chunks"))
        }
        Ok(BodyLength::Chunked) => {
            head.remove_header(&header::CONTENT_LENGTH);
            Ok(())
        }
        Ok(BodyLength::Known(_) | BodyLength::Absent) => Ok(()),
    }
}

/// Removes `Transfer-Encoding: chunked` for a caller of HTTP/1.0, who reads until the connection
/// ends (RFC 9112, section 6.1).
///
/// # Errors
/// Any other coding, which HTTP/1.0 cannot carry.
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
