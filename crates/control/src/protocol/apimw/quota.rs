//! The three quota headers that every answer has.

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use licensing::sessions::Allowance;

use crate::http::client::Client;
use crate::http::services::Services;

/// The number of calls that may be made in the present period of a window, how many of them are
/// left, and when the period ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quota {
    limit: u32,
    remaining: u32,
    /// The end of the period, in seconds since the UNIX epoch.
    reset: i64,
}

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

impl Quota {
    /// Returns the quota of a client that is not authenticated: the wrong credentials that its
    /// address may still present.
    pub(super) fn of_address(services: &Services, client: &Client) -> Self {
        let attempts = services.attempts(client);
        Self {
            limit: attempts.limit,
            remaining: attempts.remaining,
            reset: attempts.resets_at.seconds(),
        }
    }

    /// Returns the answer with the quota headers.
    pub(super) fn on(self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(self.reset));
        response
    }
}

impl From<Allowance> for Quota {
    fn from(allowance: Allowance) -> Self {
        Self {
            limit: allowance.limit,
            remaining: allowance.remaining,
            reset: allowance.resets_at.seconds(),
        }
    }
}
