//! The answer that a site gives to agents that it sends away.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// An answer of the site's own to an agent that is sent away, in place of the usual one: used
/// exactly as it stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct AgentAnswer {
    /// The status, 300 to 599; absent: the usual one, 402 or 403.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 300, max = 599))]
    pub code: Option<u16>,
    /// Further headers by name, at most [`AgentAnswer::MAX_HEADERS`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = AgentAnswer::MAX_HEADERS))]
    pub headers: BTreeMap<String, String>,
    /// The body for who reads HTML, at most [`AgentAnswer::MAX_BODY_BYTES`] bytes; absent: the usual
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// The body for who reads JSON, at most [`AgentAnswer::MAX_BODY_BYTES`] bytes; absent: the usual
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
}

impl Serialize for AgentAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// Reads an object alone: what is derived would read a list of the fields, too.
impl<'de> Deserialize<'de> for AgentAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = AgentAnswer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `code`, `headers`, `html` and `json`")
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<AgentAnswer, M::Error> {
                AgentAnswer::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// The reason why an answer cannot be given. Blame: who wrote the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The status would not send anybody away.
    #[error("`answer.code` is {0}: write a status of 300 to 599")]
    Code(u16),
    /// There are too many headers.
    #[error("`answer.headers` has {0} headers, at most {max} are allowed", max = AgentAnswer::MAX_HEADERS)]
    Headers(usize),
    /// A header has no usable name, or the gate sets it.
    #[error(
        "`answer.headers` may not have `{0}`: write the name of a header that says nothing about the connection or the length of the body"
    )]
    HeaderName(String),
    /// A header has no usable value.
    #[error("`answer.headers.{0}` must be 0 to {max} bytes of printable ASCII", max = AgentAnswer::MAX_HEADER_BYTES)]
    HeaderValue(String),
    /// A body is too large.
    #[error("`answer.{field}` has {bytes} bytes, at most {max} are allowed", max = AgentAnswer::MAX_BODY_BYTES)]
    Body {
        /// The field.
        field: &'static str,
        /// The size.
        bytes: usize,
    },
}

/// Headers that frame a message or belong to a connection (RFC 9110, section 7.6.1), and the gate's
/// own.
const RESERVED: [&str; 11] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "tallygate-call-id",
];

impl AgentAnswer {
    /// The largest number of headers.
    pub const MAX_HEADERS: usize = 20;
    /// The length of the longest header name and of the longest value, in bytes.
    pub const MAX_HEADER_BYTES: usize = 1_024;
    /// The size of the largest body, in bytes.
    pub const MAX_BODY_BYTES: usize = 65_536;

    /// Returns the size of its headers and bodies, in bytes. Costs the writing of the JSON.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let headers = self.headers.iter();
        let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
        let json = self.json.as_ref().map_or(0, |json| json.to_string().len());
        headers + json + self.html.as_ref().map_or(0, String::len)
    }

    /// Checks that the answer can be given.
    ///
    /// # Errors
    /// The first bound that is broken, by field.
    pub fn check(&self) -> Result<(), AnswerError> {
        if let Some(code) = self.code.filter(|code| !(300..=599).contains(code)) {
            return Err(AnswerError::Code(code));
        }
        if self.headers.len() > Self::MAX_HEADERS {
            return Err(AnswerError::Headers(self.headers.len()));
        }
        for (name, value) in &self.headers {
            check_header(name, value)?;
        }
        let json = self.json.as_ref().map(|json| json.to_string().len());
        let bodies = [
            ("html", self.html.as_ref().map(String::len)),
            ("json", json),
        ];
        for (field, bytes) in bodies {
            if let Some(bytes) = bytes.filter(|bytes| *bytes > Self::MAX_BODY_BYTES) {
                return Err(AnswerError::Body { field, bytes });
            }
        }
        Ok(())
    }
}

fn check_header(name: &str, value: &str) -> Result<(), AnswerError> {
    let shown = || crate::quoted(name, 80);
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let named = (1..=AgentAnswer::MAX_HEADER_BYTES).contains(&name.len())
        && name.bytes().all(of_name)
        && !RESERVED
            .iter()
            .any(|taken| name.eq_ignore_ascii_case(taken));
    if !named {
        return Err(AnswerError::HeaderName(shown()));
    }
    let of_value = |byte: u8| (b' '..=b'~').contains(&byte);
    let fits = value.len() <= AgentAnswer::MAX_HEADER_BYTES && value.bytes().all(of_value);
    fits.then_some(())
        .ok_or_else(|| AnswerError::HeaderValue(shown()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> AgentAnswer {
        serde_json::from_value(value).expect("the form of an answer")
    }

    #[test]
    fn an_answer_within_its_bounds_is_taken_as_it_stands() {
        let value = json!({
            "code": 402, "headers": { "X-Terms": "https://example.com/terms" },
            "html": "<p>Pay</p>", "json": { "error": "pay" },
        });
        let answer = read(value.clone());
        assert_eq!(answer.check(), Ok(()));
        assert_eq!(answer.bytes(), 7 + 25 + 10 + 15);
        assert_eq!(serde_json::to_value(&answer).expect("plain data"), value);
        assert_eq!(AgentAnswer::default().check(), Ok(()));
        assert!(serde_json::from_value::<AgentAnswer>(json!({ "status": 402 })).is_err());
    }

    #[test]
    fn what_would_break_a_response_is_refused_by_field() {
        let error = |value| read(value).check().expect_err("refused").to_string();
        let long = "x".repeat(AgentAnswer::MAX_BODY_BYTES + 1);
        for (value, field) in [
            (json!({ "code": 200 }), "`answer.code` is 200"),
            (
                json!({ "headers": { "Content-Length": "5" } }),
                "`Content-Length`",
            ),
            (json!({ "headers": { "a b": "5" } }), "`a b`"),
            (
                json!({ "headers": { "X-A": "a\r\nb" } }),
                "`answer.headers.X-A`",
            ),
            (json!({ "html": long }), "`answer.html` has 65537"),
            (json!({ "json": long }), "`answer.json` has 65539"),
        ] {
            let text = error(value);
            assert!(text.contains(field), "{text}");
        }
        let many: BTreeMap<String, String> =
            (0..21).map(|n| (format!("x-{n}"), String::new())).collect();
        let many = AgentAnswer {
            headers: many,
            ..AgentAnswer::default()
        };
        assert_eq!(many.check(), Err(AnswerError::Headers(21)));
    }
}
