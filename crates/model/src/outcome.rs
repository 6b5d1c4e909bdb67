//! Methods, modes and outcomes of calls: how they came in and how they ended.

use crate::word_enum;

word_enum!(
    /// The way in which a call ended.
    Outcome: "How a call ended." {
        /// The whole answer was handed to the caller's connection.
        Delivered = 0 => "delivered",
        /// The caller left before the answer was complete.
        ClientGone = 1 => "client_gone",
        /// The upstream could not be reached, broke off or ran out of time.
        UpstreamFailed = 2 => "upstream_failed",
        /// The gate failed: a drain cut the call, or there was an error of its own.
        GatewayFailed = 3 => "gateway_failed",
        /// The gate died after the status was promised; how much was delivered is not known.
        Interrupted = 4 => "interrupted",
        /// The gate died after the call may have been forwarded and before its status was known.
        Unknown = 5 => "unknown",
        /// The gate refused the call; nothing was forwarded.
        Refused = 6 => "refused",
    }
);

word_enum!(
    /// The way in which a call came and spent its units.
    Mode: "A way of spending." {
        /// A call through the reverse proxy.
        Proxy = 0 => "proxy",
        /// A call wrapped in a request to the gateway (apifew `/v1/request`).
        Rpc = 1 => "rpc",
        /// A call with a one-use request token.
        Token = 2 => "token",
        /// A call reported afterwards by the provider.
        Stamp = 3 => "stamp",
        /// A verify or validate request to the control plane.
        Verify = 4 => "verify",
        /// A call of an agent under an agent policy.
        Agent = 5 => "agent",
    }
);

word_enum!(
    /// A request method (RFC 9110, section 9; PATCH is RFC 5789).
    Method: "A request method; `OTHER` for any that no route is declared for." {
        /// Any method that is not named here.
        Other = 0 => "OTHER",
        /// GET
        Get = 1 => "GET",
        /// HEAD
        Head = 2 => "HEAD",
        /// POST
        Post = 3 => "POST",
        /// PUT
        Put = 4 => "PUT",
        /// DELETE
        Delete = 5 => "DELETE",
        /// PATCH
        Patch = 6 => "PATCH",
        /// OPTIONS
        Options = 7 => "OPTIONS",
        /// TRACE
        Trace = 8 => "TRACE",
    }
);

impl Method {
    /// Returns the method of a request line; [`Method::Other`] for unknown ones.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self::parse(name).unwrap_or(Self::Other)
    }

    /// Returns whether an unknown name is a known method but for the case of its letters. Methods
    /// are case-sensitive (RFC 9110, section 9.1), and servers that forget it take `get` for GET.
    #[must_use]
    pub fn is_misspelled(name: &str) -> bool {
        Self::parse(name).is_none()
            && Self::ALL
                .iter()
                .any(|method| method.as_str().eq_ignore_ascii_case(name))
    }

    /// Returns whether a rule for this method holds for the other one as well: the same method, or
    /// HEAD for GET, since HEAD asks for the head of GET's answer (RFC 9110, section 9.3.2).
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        self as u8 == other as u8 || matches!((self, other), (Self::Get, Self::Head))
    }

    /// Returns whether sending the method twice has the effect of sending it once (RFC 9110,
    /// section 9.2.2).
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        matches!(
            self,
            Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options | Self::Trace
        )
    }
}

/// The party that caused an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The caller.
    Caller,
    /// The upstream.
    Upstream,
    /// The gate.
    Us,
}

/// The facts about a call that is over; [`Ending::outcome`] derives its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The party whose error ended the call; `None`: no error.
    pub error: Option<Blame>,
    /// Whether a whole response (ours or the upstream's) was handed to the caller's connection.
    pub response_complete: bool,
    /// Whether the response came from the upstream.
    pub forwarded_status: bool,
}

impl Ending {
    /// Returns the outcome by the party of the error and the bytes sent, never by the status alone.
    ///
    /// A complete answer counts as delivered even if an error was seen after it, as when an
    /// upstream answers before the request body ended.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match (self.error, self.response_complete) {
            (None, true) => Outcome::Delivered,
            (Some(_), true) if self.forwarded_status => Outcome::Delivered,
            (Some(Blame::Caller), _) => Outcome::ClientGone,
            (Some(Blame::Upstream), _) => Outcome::UpstreamFailed,
            (Some(Blame::Us) | None, _) => Outcome::GatewayFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_agree() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
            assert_eq!(Outcome::from_number(outcome as u8), Some(outcome));
        }
        assert_eq!(Outcome::from_number(7), None);
        assert_eq!(Method::of("BREW"), Method::Other);
        assert!(Method::is_misspelled("get") && Method::is_misspelled("Post"));
        assert!(!Method::is_misspelled("GET") && !Method::is_misspelled("brew"));
    }

    #[test]
    fn a_complete_answer_is_delivered_whoever_erred_afterwards() {
        let early = Ending {
            error: Some(Blame::Caller),
            response_complete: true,
            forwarded_status: true,
        };
        assert_eq!(early.outcome(), Outcome::Delivered);
        let our_502 = Ending {
            error: Some(Blame::Upstream),
            response_complete: true,
            forwarded_status: false,
        };
        assert_eq!(our_502.outcome(), Outcome::UpstreamFailed);
    }
}
