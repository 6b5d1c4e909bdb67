//! The reasons for which a call is refused, with the status, code and title for the caller.

use crate::outcome::Blame;

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $status:literal, $blame:ident, $code:literal, $title:literal;)*) => {
        /// A reason to refuse a call. The caller sees its code and title; everything else belongs
        /// in the log.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Refusal { $($(#[$doc])* $variant = $number,)* }

        impl Refusal {
            /// Every refusal.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the word for programs.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// Returns the sentence for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }

            /// Returns the HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status),* }
            }

            /// Returns the party that caused the refusal.
            #[must_use]
            pub const fn blame(self) -> Blame {
                match self { $(Self::$variant => Blame::$blame),* }
            }

            /// Returns the refusal that a stored number stands for; `None` for 0 and unknown
            /// numbers.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

refusals! {
    /// The call has no credential.
    LicenseMissing = 1, 401, Caller, "license_missing", "a license key is required";
    /// The call has a credential that no license has; malformed ones look the same.
    LicenseUnknown = 2, 401, Caller, "license_unknown", "the license key is not valid";
    /// The token is unknown, used or expired.
    TokenInvalid = 3, 401, Caller, "token_invalid", "the token is unknown, used or expired";
    /// The license is switched off for now.
    LicenseDisabled = 4, 403, Caller, "license_disabled", "the license is disabled";
    /// The license was revoked.
    LicenseRevoked = 5, 403, Caller, "license_revoked", "the license was revoked";
    /// The license has ended.
    LicenseExpired = 6, 403, Caller, "license_expired", "the license has expired";
    /// The license does not cover this method and path.
    RouteNotPermitted = 7, 403, Caller, "route_not_permitted", "the license does not permit this method and path";
    /// The license may not be used from this address.
    IpNotAllowed = 8, 403, Caller, "ip_not_allowed", "the license may not be used from this address";
    /// The token was issued for another method or path.
    TokenMismatch = 9, 403, Caller, "token_mismatch", "the token was issued for another method or path";
    /// The agent policy denies the call.
    AgentDenied = 10, 403, Caller, "agent_denied", "this agent may not call";
    /// The quota is used up, and nothing comes back by itself.
    QuotaExhausted = 11, 402, Caller, "quota_exhausted", "the quota of the license is used up";
    /// The quota is used up until the next refill.
    QuotaExhaustedForNow = 12, 429, Caller, "quota_exhausted", "the quota of the license is used up until it is refilled";
    /// The call must be paid for.
    PaymentRequired = 13, 402, Caller, "payment_required", "payment is required";
    /// There were too many calls in a window.
    RateLimited = 14, 429, Caller, "rate_limited", "too many calls, retry later";
    /// There are too many calls at once.
    TooManyConcurrent = 15, 429, Caller, "too_many_concurrent", "too many calls at once";
    /// No app serves this host and path.
    AppUnknown = 16, 404, Caller, "app_unknown", "nothing is served here";
    /// The app has no such route.
    RouteUnknown = 17, 404, Caller, "route_unknown", "the app has no such route";
    /// The request body is larger than the app takes.
    BodyTooLarge = 18, 413, Caller, "body_too_large", "the request body is too large";
    /// The call has two different credentials.
    CredentialAmbiguous = 19, 400, Caller, "credential_ambiguous", "the call carries two different credentials, send one";
    /// The path could be read in two ways.
    PathAmbiguous = 20, 400, Caller, "path_ambiguous", "the path is ambiguous, send it without encoded separators or dot segments";
    /// The upstream could not be reached, or broke off before it answered.
    UpstreamUnreachable = 21, 502, Upstream, "upstream_unreachable", "the upstream could not be reached, or broke off before it answered";
    /// The upstream took too long.
    UpstreamTimeout = 22, 504, Upstream, "upstream_timeout", "the upstream took too long";
    /// The license store is out of reach and the license is not known here.
    LicenseStoreUnavailable = 23, 503, Us, "license_store_unavailable", "licenses cannot be checked right now, retry later";
    /// The quota cannot be reserved right now.
    QuotaUnavailable = 24, 503, Us, "quota_unavailable", "the quota cannot be checked right now, retry later";
    /// The call cannot be recorded right now.
    JournalUnavailable = 25, 503, Us, "journal_unavailable", "calls cannot be recorded right now, retry later";
    /// The request is malformed.
    RequestMalformed = 26, 400, Caller, "request_malformed", "the request is malformed";
    /// The gate itself had an error.
    GatewayError = 27, 500, Us, "gateway_error", "the gateway failed, retry later";
    /// The app serves this path, but not by this method.
    MethodNotAllowed = 28, 405, Caller, "method_not_allowed", "the path is not served by this method";
    /// The upstream's answer is not valid HTTP, or not one that it may give here.
    UpstreamInvalid = 29, 502, Upstream, "upstream_invalid", "the upstream did not answer in valid HTTP";
    /// The request target is longer than can be read.
    TargetTooLong = 30, 414, Caller, "target_too_long", "the target of the request is too long";
    /// The request head is larger than can be read.
    HeadTooLarge = 31, 431, Caller, "head_too_large", "the head of the request is too large";
    /// The signature of an agent cannot be read.
    SignatureMalformed = 32, 400, Caller, "signature_malformed", "the signature of the agent cannot be read";
    /// The signature of an agent was used before.
    SignatureReused = 33, 429, Caller, "signature_reused", "the signature of the agent was used before, sign each request anew";
}

impl Refusal {
    /// Returns whether the gate itself is the reason, so that the caller should come back
    /// (`Retry-After`).
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self.blame(), Blame::Us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_never_look_like_success_and_keep_their_numbers() {
        for refusal in Refusal::ALL {
            assert!((400..600).contains(&refusal.status()), "{refusal:?}");
            assert_eq!(Refusal::from_number(*refusal as u8), Some(*refusal));
        }
        assert_eq!(Refusal::from_number(0), None);
    }

    #[test]
    fn every_refusal_stands_in_the_documentation() {
        let page = include_str!("../../../docs/calls.md");
        for refusal in Refusal::ALL {
            let (status, code, title) = (refusal.status(), refusal.code(), refusal.title());
            let row = format!("| {status} | `{code}` | {title} | ");
            assert!(page.contains(&row), "docs/calls.md has no row {row}");
        }
    }
}
