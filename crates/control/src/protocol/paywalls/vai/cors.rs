//! What pages of other origins may read of `/pw/*`. The site's edge passes these headers on
//! untouched; the origin of the page stands in `X-Forwarded-Origin`.

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue};

use super::site::{Site, host_name};

/// The pages that may read an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Readers<'a> {
    /// Those of every origin: the answer is public.
    All,
    /// Those of the site: its own host, hosts below or above it, and those of `hosts`. An assertion
    /// is about the site's own visitors: a page elsewhere could pass its own off as them.
    Of(&'a Site),
}

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
/// The time for which a browser keeps the answer to a preflight, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
/// The length of the longest list of header names that is repeated, in bytes.
const MAX_NAMES: usize = 512;

impl Readers<'_> {
    /// Adds who may read an answer.
    pub(super) fn told_in(self, answer: &mut HeaderMap, request: &HeaderMap) {
        match self {
            Self::All => {
                answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Self::Of(site) => {
                answer.append(VARY, HeaderValue::from_static("Origin"));
                if let Some(origin) =
                    origin(request).filter(|origin| site.is_read_from(origin.host))
                {
                    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.text.clone());
                }
            }
        }
    }

    /// Adds what a preflight asks for.
    pub(super) fn preflight_in(self, answer: &mut HeaderMap, request: &HeaderMap) {
        self.told_in(answer, request);
        answer.append(
            VARY,
            HeaderValue::from_static(
                "Access-Control-Request-Method, Access-Control-Request-Headers",
            ),
        );
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        let names = request.get(ACCESS_CONTROL_REQUEST_HEADERS);
        if let Some(names) = names.filter(|names| are_names(names)) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
    }
}

/// The origin of a page.
struct Origin<'r> {
    text: &'r HeaderValue,
    host: &'r str,
}

/// Returns the origin of the page, as the edge forwards it, or as a browser without an edge sends
/// it; `None`: there is none, or it has no host.
fn origin(request: &HeaderMap) -> Option<Origin<'_>> {
    let text = request
        .get("x-forwarded-origin")
        .or_else(|| request.get(ORIGIN))?;
    let (scheme, host) = text.to_str().ok()?.split_once("://")?;
    let host = host_name(host)?;
    matches!(scheme, "https" | "http").then_some(Origin { text, host })
}

/// Returns whether a header is a short list of names of headers.
fn are_names(value: &HeaderValue) -> bool {
    let of_list = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_, ".contains(byte);
    value.len() <= MAX_NAMES && value.as_bytes().iter().all(of_list)
}
