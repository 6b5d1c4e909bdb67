//! The three headers that every answer has.

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use licensing::sessions::Allowance;

use crate::http::client::Client;
use crate::http::services::Services;

/// How many calls may be made in the present period of a window, how many are left, and when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quota {
    limit: u32,
    remaining: u32,
    /// Seconds since the UNIX epoch.
    reset: i64,
}

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

impl Quota {
    /// What is left for somebody who is not known: failed attempts of their address.
    pub(super) fn of_address(services: &Services, client: &Client) -> Self {
        let attempts = services.attempts(client);
        Self {
            limit: attempts.limit,
            remaining: attempts.remaining,
            reset: attempts.resets_at.seconds(),
        }
    }

    /// The same answer, with what is left.
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
