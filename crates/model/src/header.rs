//! The meaning of request header names, in every spelling in which an upstream may read them.
//!
//! CGI and its like (WSGI, Rack, PHP) hand `X-Real-IP` and `X_Real_IP` to an application as one
//! variable, and some servers do the same with other signs. So a name is classified by [`meaning`],
//! and never compared with a list of exact names.

/// The meaning of a request header, as far as the caller may not decide it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// A header between caller and upstream, which passes as it is.
    Ordinary,
    /// A header that the gate alone reads or sets: credentials of its protocols, and statements
    /// that the upstream believes because of that.
    Gate,
    /// A header in which a proxy describes a call: who made it, how it came, where it went at
    /// first.
    Proxy,
    /// A header that replaces the method.
    MethodOverride,
    /// A header for the length or the target of the message, in a spelling that the gate does not
    /// read.
    Frame,
}

/// Credentials, and headers that the gate sets for the upstream and for itself.
const GATE: [&str; 7] = [
    "apifew-user-license-key",
    "apifew-request-token",
    "tallygate-call-id",
    "tallygate-license-id",
    "tallygate-user-id",
    "tallygate-rpc-app",
    "tallygate-rpc-caller",
];
/// Headers that proxies and delivery networks set. Those about targets are here since some
/// frameworks prefer them to the request line, and `Proxy` since CGI hands it on as `HTTP_PROXY`,
/// by which programs choose where their own calls go (httpoxy).
const PROXY: [&str; 32] = [
    // The caller.
    "forwarded",
    "forwarded-for",
    "x-forwarded",
    "x-original-forwarded-for",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-originating-ip",
    "x-remote-ip",
    "x-remote-addr",
    "x-proxyuser-ip",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "fastly-client-ip",
    "proxy-client-ip",
    "wl-proxy-client-ip",
    // The scheme and port that the call came by.
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
    // The first target.
    "x-host",
    "x-original-host",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    // The client's certificate.
    "x-client-cert",
    // The proxy for the upstream's own calls.
    "proxy",
];
const PROXY_BEGINNINGS: [&str; 4] = ["x-forwarded-", "x-envoy-", "x-ssl-client-", "tallygate-"];
const METHOD_OVERRIDES: [&str; 3] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];
/// The length of the shortest of all these.
const MIN_LENGTH: usize = "proxy".len();
const FRAME: [&str; 4] = ["content-length", "transfer-encoding", "host", "connection"];

/// Returns the meaning of a header name.
#[must_use]
pub fn meaning(name: &str) -> Meaning {
    // Nearly all names end here: none of the lists has a name with another first letter.
    let first = name.as_bytes().first().map(u8::to_ascii_lowercase);
    if !matches!(
        first,
        Some(b'a' | b'c' | b'f' | b'h' | b'p' | b't' | b'w' | b'x')
    ) {
        return Meaning::Ordinary;
    }
    // `host`, `te` and the like: no listed name is as short, but for names of the frame in an odd
    // spelling.
    if name.len() < MIN_LENGTH && !is_odd(name) {
        return Meaning::Ordinary;
    }
    let is_one_of = |names: &[&str]| names.iter().any(|other| is_spelling_of(name, other));
    let begins = |beginning: &&str| {
        let start = name.as_bytes().get(..beginning.len());
        start.is_some_and(|start| same(start, beginning.as_bytes()))
    };
    if is_one_of(&GATE) {
        Meaning::Gate
    } else if is_one_of(&PROXY) || PROXY_BEGINNINGS.iter().any(begins) {
        Meaning::Proxy
    } else if is_one_of(&METHOD_OVERRIDES) {
        Meaning::MethodOverride
    } else if is_odd(name) && is_one_of(&FRAME) {
        Meaning::Frame
    } else {
        Meaning::Ordinary
    }
}

/// Returns whether an upstream may take two names for one: they differ in the case of letters and
/// the signs between them only.
#[must_use]
pub fn is_spelling_of(name: &str, other: &str) -> bool {
    // Most names are spelled alike.
    name.len() == other.len() && (name == other || same(name.as_bytes(), other.as_bytes()))
}

/// Returns whether a name has other signs than `-`, so that it may be a spelling of another one.
#[must_use]
pub fn is_odd(name: &str) -> bool {
    name.bytes().any(|byte| ODD[byte as usize])
}

/// Returns whether a name has an underscore, which common servers do not let pass.
#[must_use]
pub fn has_underscore(name: &str) -> bool {
    name.as_bytes().contains(&b'_')
}

/// A table by byte of whether it is another sign than a letter, a digit or `-`. A table, since
/// every name of every head is looked at.
static ODD: [bool; 256] = {
    let mut odd = [true; 256];
    let mut byte = 0;
    while byte < 256 {
        let sign = byte as u8;
        odd[byte] = !sign.is_ascii_alphanumeric() && sign != b'-';
        byte += 1;
    }
    odd
};

fn same(one: &[u8], other: &[u8]) -> bool {
    let letter = |byte: &u8| match byte.to_ascii_lowercase() {
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => b'-',
    };
    one.iter().map(letter).eq(other.iter().map(letter))
}

/// Takes any text as a name, for fuzzers, and panics if a property does not hold.
///
/// # Panics
/// If a spelling means something else than the name that it may be read as.
pub fn exercise(name: &str) {
    let plain: String = name
        .chars()
        .map(|sign| match sign {
            letter if letter.is_ascii_alphanumeric() => letter.to_ascii_uppercase(),
            _ => '-',
        })
        .collect();
    let (written, read) = (meaning(name), meaning(&plain));
    if name.is_ascii() {
        assert!(
            is_spelling_of(name, &plain),
            "{name} may be read as {plain}"
        );
        let is_frame = written == Meaning::Frame && read == Meaning::Ordinary;
        assert!(
            written == read || is_frame,
            "{name} means {written:?}, {plain} {read:?}"
        );
    }
    assert_ne!(
        read,
        Meaning::Frame,
        "the plain spelling is the one that is read"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_spelling_means_what_it_may_be_read_as(
            name in prop::sample::select([&GATE[..], &PROXY, &METHOD_OVERRIDES, &FRAME, &["accept", "x-forwarded-port", ""]].concat()),
            sign in "[-_.~!a]", end in "[-_a-z]{0,3}", any in "\\PC{0,20}",
        ) {
            exercise(&name.replace('-', &sign));
            exercise(&format!("{name}{end}"));
            exercise(&any);
        }
    }

    #[test]
    fn every_name_on_the_lists_has_its_meaning() {
        for (names, expected) in [
            (&GATE[..], Meaning::Gate),
            (&PROXY, Meaning::Proxy),
            (&METHOD_OVERRIDES, Meaning::MethodOverride),
        ] {
            for name in names {
                assert_eq!(meaning(name), expected, "{name}");
            }
        }
        for beginning in PROXY_BEGINNINGS {
            assert_eq!(meaning(beginning), Meaning::Proxy, "{beginning}");
        }
    }

    #[test]
    fn what_is_not_the_callers_to_say_is_known_in_every_spelling() {
        for (name, expected) in [
            ("Tallygate-User-Id", Meaning::Gate),
            ("tallygate_user_id", Meaning::Gate),
            ("Tallygate.User_ID", Meaning::Gate),
            ("Apifew_User_License_Key", Meaning::Gate),
            ("tallygate-anything", Meaning::Proxy),
            ("Tallygate_", Meaning::Proxy),
            ("Forwarded", Meaning::Proxy),
            ("x_real_ip", Meaning::Proxy),
            ("X_Forwarded-For", Meaning::Proxy),
            ("x-forwarded-prefix", Meaning::Proxy),
            ("X_HTTP_Method_Override", Meaning::MethodOverride),
            ("Content_Length", Meaning::Frame),
            ("Transfer~Encoding", Meaning::Frame),
            ("Content-Length", Meaning::Ordinary),
            ("Host", Meaning::Ordinary),
            ("Proxy", Meaning::Proxy),
            ("Client_IP", Meaning::Proxy),
            ("X-Envoy-External-Address", Meaning::Proxy),
            ("X_SSL_Client_Cert", Meaning::Proxy),
            ("WL-Proxy-Client-IP", Meaning::Proxy),
            ("Front-End-Https", Meaning::Proxy),
            ("X-Forwarded", Meaning::Proxy),
            ("x-forwardedfor", Meaning::Ordinary),
            ("proxy-status", Meaning::Ordinary),
            ("tallygate", Meaning::Ordinary),
            ("x-api-key", Meaning::Ordinary),
            ("authorization", Meaning::Ordinary),
            ("accept", Meaning::Ordinary),
            ("", Meaning::Ordinary),
        ] {
            assert_eq!(meaning(name), expected, "{name}");
        }
    }
}
