//! The bodies of requests. Fields that are not known are ignored: clients send a visitor's whole
//! request. Of its headers two are read, and nothing else is ever kept.

use std::fmt;

use model::agent::AgentReason;
use schemars::JsonSchema;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::http::field::Text;
use crate::http::schema::inline_schema;

/// The body of `POST /api/filter/agents/auth`: an agent by its names, or by its user agent and the
/// headers of its request.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PaywallsAuth")]
pub(super) struct Auth {
    /// The account of the site.
    pub(super) account_id: Option<String>,
    /// Who operates the agent.
    pub(super) operator: Option<String>,
    /// The agent.
    pub(super) agent: Option<String>,
    /// The token that the agent showed.
    pub(super) token: Option<Token>,
    /// The user agent, where no names are sent.
    pub(super) user_agent: Option<String>,
    /// The headers of the agent's request.
    #[serde(default)]
    pub(super) headers: Option<VisitorHeaders>,
    /// The host of the site; absent: that of the headers.
    pub(super) hostname: Option<String>,
    /// The path and query that are asked for; absent: `/`.
    pub(super) resource: Option<String>,
}

/// The body of `POST /api/filter/access/logs`: an access, and how it was decided on.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PaywallsLog")]
pub(super) struct Log {
    /// The name of the access, if the reporter has one: what is sent again with it within a day is
    /// the same access.
    pub(super) id: Option<Text<1, 255>>,
    /// The account of the site.
    pub(super) account_id: Option<String>,
    /// The decision.
    pub(super) status: Status,
    /// The method of the request.
    pub(super) method: Option<String>,
    /// The host of the site.
    pub(super) hostname: Option<String>,
    /// The path and query of the request.
    pub(super) resource: Option<String>,
    /// The headers of the agent's request.
    #[serde(default)]
    pub(super) headers: Option<VisitorHeaders>,
}

/// A decision as it was answered.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PaywallsStatus")]
pub(super) struct Status {
    /// The token that the agent showed.
    pub(super) token: Option<Token>,
    /// What was decided.
    pub(super) access: Access,
    /// The reason.
    pub(super) reason: AgentReason,
    /// The rest of the token's life, in seconds.
    #[serde(rename = "time_remaining")]
    pub(super) _time_remaining: Option<f64>,
}

/// What a site does with an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "PaywallsAccess")]
#[serde(rename_all = "lowercase")]
pub(super) enum Access {
    /// It lets it in.
    Allow,
    /// It sends it away.
    Deny,
}

/// A token of an agent as it was shown. Its text shows in no log. An empty one is none.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct Token(String);

/// What is read of the headers of a visitor's request: where it went, and who says to send it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct VisitorHeaders {
    /// `Host`.
    pub(super) host: Option<String>,
    /// `User-Agent`.
    pub(super) user_agent: Option<String>,
}

inline_schema!(Token: { "type": "string", "format": "password" });
inline_schema!(VisitorHeaders: {
    "type": "object",
    "description": "All headers of the visitor's request. `Host` and `User-Agent` are read, the others are dropped.",
});

impl Token {
    /// Returns the text; `None`: it is empty.
    pub(super) fn shown(token: Option<&Self>) -> Option<&str> {
        token
            .map(|token| token.0.as_str())
            .filter(|text| !text.is_empty())
    }
}

impl<'de> Deserialize<'de> for VisitorHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Headers;

        impl<'de> Visitor<'de> for Headers {
            type Value = VisitorHeaders;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<VisitorHeaders, A::Error> {
                let mut headers = VisitorHeaders::default();
                while let Some(name) = map.next_key::<String>()? {
                    let kept = match name.to_ascii_lowercase().as_str() {
                        "host" => &mut headers.host,
                        "user-agent" => &mut headers.user_agent,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    let value = map.next_value::<serde_json::Value>()?;
                    *kept = value.as_str().map(ToOwned::to_owned);
                }
                Ok(headers)
            }
        }

        deserializer.deserialize_map(Headers)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_visitors_headers_two_are_kept() {
        let headers = json!({
            "Host": "example.com", "user-agent": "GPTBot/1.2", "cookie": "a=b", "authorization": "Bearer x",
            "accept": ["a", "b"],
        });
        let read: VisitorHeaders = serde_json::from_value(headers).expect("an object");
        assert_eq!(read.host.as_deref(), Some("example.com"));
        assert_eq!(read.user_agent.as_deref(), Some("GPTBot/1.2"));
        assert!(!format!("{read:?}").contains("a=b"));
        let none: Option<VisitorHeaders> = serde_json::from_value(json!(null)).expect("none");
        assert_eq!(none, None);
    }
}
