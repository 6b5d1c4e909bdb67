//! The normal form of a request's target, host and length, which is judged and forwarded.

use http::Version;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use model::target::is_host_with_port;
use model::{BodyLength, RequestTarget};
use pingora::http::RequestHeader;

use crate::hop;
use crate::malformed::Malformed;
use crate::survey::Survey;

/// The error of a target that the framework does not take back. No target that it read leads to it.
const BAD_TARGET: Malformed = Malformed("send a target that a URL can hold");
const NO_HOST: Malformed = Malformed("`Host` is missing, send one");
const BAD_HOST: Malformed = Malformed("`Host` has to be a name or an address, perhaps with a port");

/// Puts a target in absolute form into origin form, and its authority into `Host`, in place. From
/// here on the bytes that the gate reads are those that the framework writes to the upstream.
///
/// A target in origin form is not checked here but where its path is read. `seen`: the fields of
/// the head; `by_rpc`: the host is not checked, since the control plane names it.
///
/// # Errors
/// A target in any other form, a `Host` that is no host, and none at all where HTTP/1.1 demands one
/// (RFC 9112, section 3.2).
pub(crate) fn normalize(
    head: &mut RequestHeader,
    seen: Survey,
    by_rpc: bool,
) -> Result<(), Malformed> {
    if head.raw_path().first() != Some(&b'/') {
        normalize_target(head)?;
    }
    if seen.lengths > 0 || seen.codings > 0 {
        normalize_length(head)?;
    }
    if seen.has_options {
        hop::check_options(head)?;
    }
    match head.headers.get(HOST) {
        _ if by_rpc => Ok(()),
        Some(host) if host.to_str().is_ok_and(is_host_with_port) => Ok(()),
        Some(_) => Err(BAD_HOST),
        None if head.version < Version::HTTP_11 || has_authority(head) => Ok(()),
        None => Err(NO_HOST),
    }
}

/// Rewrites a target in absolute form into origin form.
fn normalize_target(head: &mut RequestHeader) -> Result<(), Malformed> {
    let target = RequestTarget::parse(head.raw_path())?;
    if let Some(authority) = target.authority() {
        let host = HeaderValue::from_str(authority).map_err(|_| BAD_TARGET)?;
        let text = target.as_bytes().to_vec();
        head.set_raw_path(&text).map_err(|_| BAD_TARGET)?;
        head.insert_header(HOST, host).map_err(|_| BAD_TARGET)?;
    }
    Ok(())
}

/// Leaves one `Content-Length`, or one `Transfer-Encoding: chunked` and no length.
fn normalize_length(head: &mut RequestHeader) -> Result<(), Malformed> {
    let lines = |name| head.headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let length = BodyLength::read(lines(CONTENT_LENGTH), lines(TRANSFER_ENCODING));
    let is_one = |name| {
        let mut lines = head.headers.get_all(name).iter();
        lines
            .next()
            .is_none_or(|line| !line.as_bytes().contains(&b','))
            && lines.next().is_none()
    };
    let malformed =
        Malformed("send one `Content-Length`, or `Transfer-Encoding: chunked` and no other coding");
    match length.map_err(|_| malformed)? {
        BodyLength::Known(length) if !is_one(CONTENT_LENGTH) => {
            let set = head.insert_header(CONTENT_LENGTH, length);
            set.map_err(|_| BAD_TARGET)
        }
        BodyLength::Chunked => {
            head.remove_header(&CONTENT_LENGTH);
            Ok(())
        }
        BodyLength::Known(_) | BodyLength::Absent => Ok(()),
    }
}

/// Returns whether the target has an authority, as in HTTP/2, where the host stands beside the
/// path.
fn has_authority(head: &RequestHeader) -> bool {
    let authority = head.uri.authority();
    authority.is_some_and(|authority| is_host_with_port(authority.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalize(head: &mut RequestHeader, by_rpc: bool) -> Result<(), Malformed> {
        let seen = Survey::of(&head.headers);
        super::normalize(head, seen, by_rpc)
    }

    fn head(target: &[u8], host: Option<&'static str>) -> RequestHeader {
        let mut head = RequestHeader::build("GET", target, None).expect("the framework takes it");
        if let Some(host) = host {
            head.insert_header(HOST, host).expect("a value");
        }
        head
    }

    #[test]
    fn what_is_settled_is_what_is_written() {
        for (raw, path, host) in [
            ("/a?b", "/a?b", "api.test"),
            ("http://other.test:80/a?b", "/a?b", "other.test:80"),
            ("http://other.test", "/", "other.test"),
        ] {
            let mut head = RequestHeader::build("GET", raw.as_bytes(), None).expect(raw);
            head.insert_header(HOST, "api.test").expect("a value");
            normalize(&mut head, false).expect(raw);
            assert_eq!(head.raw_path(), path.as_bytes(), "{raw}");
            assert_eq!(head.headers[HOST], host, "{raw}");
        }
    }

    #[test]
    fn a_body_has_one_length_or_comes_in_chunks() {
        let normalized = |pairs: &[(&'static str, &'static str)]| {
            let mut head = head(b"/", Some("api.test"));
            for (name, value) in pairs {
                head.append_header(*name, *value).expect("a value");
            }
            normalize(&mut head, false).map(|()| {
                let lines = head.headers.get_all(CONTENT_LENGTH).iter();
                lines
                    .map(|line| line.to_str().expect("plain").to_owned())
                    .collect::<Vec<_>>()
            })
        };
        let length = "Content-Length";
        for same in [
            &[(length, "3, 3")][..],
            &[(length, "3"), (length, "3")],
            &[(length, "3")],
        ] {
            assert_eq!(normalized(same).expect("one length"), ["3"]);
        }
        let chunked = [(length, "3"), ("Transfer-Encoding", "chunked")];
        assert!(normalized(&chunked).expect("chunks").is_empty());
        assert!(normalized(&[(length, "3"), (length, "4")]).is_err());
        assert!(normalized(&[("Transfer-Encoding", "gzip, chunked")]).is_err());
    }

    #[test]
    fn a_host_that_is_none_is_malformed() {
        for host in ["<script>", "api.test:x/y", "a b", "u@h"] {
            assert!(
                normalize(&mut head(b"/", Some(host)), false).is_err(),
                "{host}"
            );
            assert!(
                normalize(&mut head(b"/", Some(host)), true).is_ok(),
                "{host}"
            );
        }
        assert!(normalize(&mut head(b"/", None), false).is_err());
        let mut old = head(b"/", None);
        old.set_version(Version::HTTP_10);
        assert!(normalize(&mut old, false).is_ok());
    }
}
