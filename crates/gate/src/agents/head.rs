//! What the head of a request says of an agent.

use http::header::{HeaderMap, HeaderName, USER_AGENT};

use super::rules::AgentRules;

/// The head of a request, as far as an agent is known by it. Nothing is read of it before it is
/// asked for.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a str,
    /// The scheme by which the caller came, `https` or `http`.
    pub scheme: &'a str,
    /// The authority, perhaps with a port.
    pub authority: &'a str,
    /// The query as it was sent, without its question mark; `None`: there is none.
    pub query: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// The sight of what may be an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Whether it comes with a signature.
    pub(super) is_signed: bool,
    /// Whether the query says that it is an agent, in test mode.
    pub(super) poses: bool,
}

const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

impl<'a> RequestHead<'a> {
    /// Returns whether an agent may be calling: its user agent names one that is known, it comes
    /// with a signature, or, in test mode alone, the query has `user-agent=…bot…`. `None`: it is
    /// somebody like others. Costs a look-up and a hash of the user agent for these.
    pub(super) fn sight(&self, rules: &AgentRules, test: bool) -> Option<Sight> {
        let sight = Sight {
            is_signed: rules.web_bot_auth && self.headers.contains_key(SIGNATURE_INPUT),
            poses: test && self.posed().is_some(),
        };
        if sight.is_signed || sight.poses {
            return Some(sight);
        }
        let recognizer = rules.shared.recognizer();
        recognizer.recognize(self.user_agent()).map(|_| sight)
    }

    /// Returns the text that names the agent: the header, or in its place what the query says.
    pub(super) fn name(&self, sight: Sight) -> &'a [u8] {
        match sight.poses {
            true => self.posed().unwrap_or_default(),
            false => self.user_agent(),
        }
    }

    /// Returns the header `User-Agent`, the first of several; empty: there is none.
    fn user_agent(&self) -> &'a [u8] {
        let value = self.headers.get(USER_AGENT);
        value.map_or(&[], |value| value.as_bytes())
    }

    /// Returns the value of `user-agent` in the query, if it has the word `bot`. It is taken as it
    /// was sent: names of agents need no encoding.
    fn posed(&self) -> Option<&'a [u8]> {
        let pairs = self.query?.split(|byte| *byte == b'&');
        let mut values = pairs.filter_map(|pair| pair.strip_prefix(b"user-agent="));
        values.find(|value| {
            let mut parts = value.windows(3);
            parts.any(|part| part.eq_ignore_ascii_case(b"bot"))
        })
    }

    /// Returns all fields by name.
    pub(super) fn fields(&self) -> Vec<(&'a str, &'a [u8])> {
        let fields = self.headers.iter();
        fields
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect()
    }

    /// Returns all values of a header.
    pub(super) fn values(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .get_all(name)
            .iter()
            .map(|value| value.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bot_is_posed_as() {
        let headers = HeaderMap::new();
        let posed = |query: &'static str| {
            let head = RequestHead {
                method: "GET",
                scheme: "http",
                authority: "api.test",
                query: Some(query.as_bytes()),
                headers: &headers,
            };
            head.posed().map(|name| String::from_utf8_lossy(name))
        };
        assert_eq!(posed("a=b&user-agent=bot").as_deref(), Some("bot"));
        assert_eq!(
            posed("user-agent=GPTBot/1.0").as_deref(),
            Some("GPTBot/1.0")
        );
        assert_eq!(posed("user-agent=Firefox"), None);
        assert_eq!(posed("x-user-agent=bot&user-agents=bot"), None);
        assert_eq!(posed(""), None);
    }
}
