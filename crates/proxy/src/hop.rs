//! Hop-by-hop fields: those of one connection alone, which are not forwarded (RFC 9110, section
//! 7.6.1).

use http::header::{self, CONNECTION, HeaderName, UPGRADE};
use http::{HeaderMap, Method, Version};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::malformed::Malformed;
use crate::survey::Survey;

/// The only protocol that callers may switch to.
const WEBSOCKET: &str = "websocket";
const BAD_OPTIONS: Malformed = Malformed(
    "send at most nine options in `Connection`, each a name, and none of `Host` and `X-Forwarded-*`",
);
/// The number of connection options that the framework takes in a request. With more it breaks off
/// in the middle of the call.
const MAX_OPTIONS: usize = 9;
/// Fields that name the caller and the target. A caller may not have them removed as connection
/// options.
const PROTECTED: [&str; 4] = [
    "host",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Leaves `Upgrade: websocket` where the head opens a WebSocket (RFC 6455, section 4.1), and
/// removes `Upgrade` otherwise. A caller that offers another protocol, or does not name `Upgrade`
/// in `Connection`, is answered in HTTP (RFC 9110, section 7.8).
pub(crate) fn normalize_upgrade(head: &mut RequestHeader) {
    let opens = head.version == Version::HTTP_11
        && head.method == Method::GET
        && options(&head.headers).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        && offers_websocket(&head.headers);
    head.remove_header(&UPGRADE);
    head.remove_header(&HTTP2_SETTINGS);
    if opens {
        head.insert_header(UPGRADE, WEBSOCKET)
            .expect("a header value");
    }
}

fn offers_websocket(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(UPGRADE).iter();
    let mut protocols = lines.flat_map(|line| items(line.as_bytes()));
    protocols.any(|protocol| protocol.eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
}

/// Checks the connection options of a request.
///
/// # Errors
/// Options for which the framework would break off once the call has been let in: more than
/// [`MAX_OPTIONS`], one that is no name, and one of [`PROTECTED`].
pub(crate) fn check_options(head: &RequestHeader) -> Result<(), Malformed> {
    let mut count = 0;
    for option in options(&head.headers) {
        count += 1;
        let name = HeaderName::from_bytes(option).ok();
        let is_taken = name.is_some_and(|name| !PROTECTED.contains(&name.as_str()));
        if !is_taken || !option.iter().all(|byte| is_of_a_name(*byte)) || count > MAX_OPTIONS {
            return Err(BAD_OPTIONS);
        }
    }
    Ok(())
}

const fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// Removes the upstream's fields about its own connection. The framework writes those of the
/// caller's.
pub(crate) fn strip_answer(head: &mut ResponseHeader, seen: Survey) {
    let names_fields = |option: &[u8]| {
        !option.eq_ignore_ascii_case(b"keep-alive") && !option.eq_ignore_ascii_case(b"close")
    };
    if seen.has_options && options(&head.headers).any(names_fields) {
        let named: Vec<HeaderName> = options(&head.headers)
            .filter_map(|option| HeaderName::from_bytes(option).ok())
            .filter(|name| !frames(name))
            .collect();
        for name in named {
            head.remove_header(&name);
        }
        head.remove_header(&CONNECTION);
    }
    if seen.keeps_alive {
        head.remove_header(&KEEP_ALIVE);
        head.remove_header(&PROXY_CONNECTION);
    }
    if head.status.as_u16() == 101 {
        // A WebSocket client looks for this option (RFC 6455, section 4.1), whatever else the
        // upstream named.
        head.insert_header(CONNECTION, "Upgrade")
            .expect("a header value");
    } else if seen.has_upgrade {
        head.remove_header(&UPGRADE);
    }
}

/// Returns whether a field says where the message ends or which protocol follows it. Such a field
/// is never an option of a connection.
fn frames(name: &HeaderName) -> bool {
    [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        UPGRADE,
        CONNECTION,
    ]
    .contains(name)
}

/// Returns whether an answer of 101 switches to the protocol that was asked for.
pub(crate) fn switches_to_websocket(head: &ResponseHeader) -> bool {
    offers_websocket(&head.headers)
}

/// Returns whether the sender takes no other message on this connection.
pub(crate) fn says_close(headers: &HeaderMap) -> bool {
    options(headers).any(|option| option.eq_ignore_ascii_case(b"close"))
}

/// Returns the options of all lines of `Connection`.
fn options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(CONNECTION).iter();
    lines.flat_map(|line| items(line.as_bytes()))
}

/// Returns the items of a comma-separated list that are not empty.
fn items(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let items = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    items.filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, lines: &[(&'static str, &str)]) -> RequestHeader {
        let mut head = RequestHeader::build(method, b"/", None).expect("a head");
        for (name, value) in lines {
            head.append_header(*name, *value).expect("a value");
        }
        head
    }

    #[test]
    fn only_the_opening_of_a_websocket_asks_for_another_protocol() {
        let connection = ("Connection", "keep-alive, Upgrade");
        for (method, lines, kept) in [
            ("GET", vec![connection, ("Upgrade", "WebSocket")], true),
            ("GET", vec![connection, ("Upgrade", "h2c, websocket")], true),
            ("GET", vec![("Upgrade", "websocket")], false),
            ("POST", vec![connection, ("Upgrade", "websocket")], false),
            ("GET", vec![connection, ("Upgrade", "h2c")], false),
            ("GET", vec![connection, ("Upgrade", "websocket2")], false),
            ("GET", vec![connection], false),
        ] {
            let mut head = request(method, &lines);
            normalize_upgrade(&mut head);
            let left = head.headers.get(UPGRADE).map(|value| value.as_bytes());
            assert_eq!(left, kept.then_some(&b"websocket"[..]), "{lines:?}");
        }
    }

    #[test]
    fn options_that_would_end_the_call_later_are_refused_before_it() {
        let check = |value: &str| check_options(&request("GET", &[("Connection", value)])).is_ok();
        for taken in ["close", "keep-alive, X-Own", "te, , close", ""] {
            assert!(check(taken), "{taken}");
        }
        for refused in [
            "close, X-Forwarded-For",
            "HOST",
            "a, b, c, d, e, f, g, h, i, j",
            "a b",
            ":path",
        ] {
            assert!(!check(refused), "{refused}");
        }
    }

    #[test]
    fn a_switch_to_a_websocket_says_that_the_connection_is_upgraded() {
        for said in [Some("Upgrade"), Some("upgrade, X-Own"), None] {
            let mut head = ResponseHeader::build(101, None).expect("a head");
            if let Some(said) = said {
                head.append_header("Connection", said).expect("a value");
            }
            head.append_header("Upgrade", "websocket").expect("a value");
            let seen = Survey::of(&head.headers);
            strip_answer(&mut head, seen);
            assert_eq!(head.headers[CONNECTION], "Upgrade", "{said:?}");
            assert_eq!(head.headers[UPGRADE], "websocket");
        }
    }

    #[test]
    fn what_an_upstream_says_of_its_connection_stays_there() {
        let mut head = ResponseHeader::build(200, None).expect("a head");
        for (name, value) in [
            ("Connection", "keep-alive, X-Own, Content-Length"),
            ("Keep-Alive", "timeout=600"),
            ("Proxy-Connection", "keep-alive"),
            ("Upgrade", "h2c"),
            ("X-Own", "1"),
            ("X-Other", "2"),
            ("Content-Length", "3"),
        ] {
            head.append_header(name, value).expect("a value");
        }
        let seen = Survey::of(&head.headers);
        strip_answer(&mut head, seen);
        let left: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-other", "content-length"]);
    }
}
