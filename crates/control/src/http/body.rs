//! The reader of JSON bodies, which says which field is wrong.

use std::fmt;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::LengthLimitError;
use model::masked;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::http::words;

/// The length of the longest body of an ordinary request, in bytes.
pub const BODY_LIMIT: usize = 1 << 20;
/// The time within which a whole body must have arrived.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The length of the longest `detail`, in characters: it may repeat what the client sent.
const MAX_DETAIL_CHARS: usize = 200;

/// An error in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The kind of the error.
    pub kind: InputKind,
    /// The field, as a path such as `PARAMS` or `permissions.files[0]`; `None` if the error is
    /// about the whole body.
    pub field: Option<String>,
    /// A sentence for people about this case.
    pub detail: String,
}

/// The ways in which a body can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// The body is longer than the limit.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// The body broke off, or its chunks cannot be read.
    Broken,
    /// The body is not JSON.
    Malformed,
    /// The body is not UTF-8.
    NotText,
    /// The body is nested deeper than the parser reads.
    TooDeep,
    /// A required field is not there.
    Missing,
    /// A field is unknown, or is there twice.
    Unknown,
    /// A field has another type, or a value that cannot be used.
    Invalid,
}

/// Reads a JSON body of at most `limit` bytes. An empty body is read as `{}`; the content type does
/// not matter.
///
/// A type that refuses unknown fields says so with `#[serde(deny_unknown_fields)]`.
///
/// # Errors
/// Returns what is wrong with the body, with the field.
pub async fn read_json<T: DeserializeOwned>(body: Body, limit: usize) -> Result<T, Input> {
    parse(&read_bytes(body, limit).await?)
}

/// Reads a body of at most `limit` bytes as it was sent.
///
/// # Errors
/// The body is longer, or did not arrive in time.
pub(crate) async fn read_bytes(body: Body, limit: usize) -> Result<Bytes, Input> {
    let reading = axum::body::to_bytes(body, limit);
    let body = tokio::time::timeout(BODY_TIMEOUT, reading).await;
    body.map_err(|_| {
        let seconds = BODY_TIMEOUT.as_secs();
        Input::whole(
            InputKind::TooSlow,
            format!("send the body within {seconds} s"),
        )
    })?
    .map_err(|error| unread(&error, limit))
}

/// Returns the error of a body that was not read to its end.
fn unread(error: &axum::Error, limit: usize) -> Input {
    let first: &(dyn std::error::Error + 'static) = error;
    let mut causes = std::iter::successors(Some(first), |cause| cause.source());
    if causes.any(|cause| cause.is::<LengthLimitError>()) {
        return Input::whole(InputKind::TooLarge, format!("send at most {limit} bytes"));
    }
    let detail = "the body broke off, or its chunks cannot be read: send it whole";
    Input::whole(InputKind::Broken, detail.to_owned())
}

/// Parses JSON, an empty text as `{}`. An error names the field that is wrong.
pub(crate) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Input> {
    let text = if text.is_empty() { b"{}" } else { text };
    // A list would be read as the fields in their order, an empty one as none of them.
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        let detail = "send a JSON object, not a list".to_owned();
        return Err(Input::whole(InputKind::Invalid, detail));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        Input::of(&path, &error.into_inner())
    })?;
    deserializer.end().map_err(|error| Input::of(".", &error))?;
    Ok(value)
}

/// Reads a part of a body that was read as plain JSON. An error names the field within it.
pub(crate) fn read_part<T: DeserializeOwned>(part: serde_json::Value) -> Result<T, Input> {
    serde_path_to_error::deserialize(part)
        .map_err(|error| Input::of(&error.path().to_string(), error.inner()))
}

// === impl Input ===

impl Input {
    /// Returns the error of a field whose value cannot be used.
    #[must_use]
    pub fn invalid(field: &str, detail: impl ToString) -> Self {
        Self {
            kind: InputKind::Invalid,
            field: Some(field.to_owned()),
            detail: masked(&detail.to_string()).into_owned(),
        }
    }

    /// Returns the error of a required field that is not there.
    #[must_use]
    pub fn missing(field: &str) -> Self {
        Self {
            kind: InputKind::Missing,
            field: Some(field.to_owned()),
            detail: format!("`{field}` is missing: send it"),
        }
    }

    fn whole(kind: InputKind, detail: String) -> Self {
        Self {
            kind,
            field: None,
            detail,
        }
    }

    /// Turns an error of serde into one of ours. Its messages name the fields that its path does
    /// not.
    fn of(path: &str, error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let missing = quoted_after(&text, "missing field `");
        let repeated = quoted_after(&text, "duplicate field `");
        let kind = if text.starts_with("recursion limit exceeded") {
            InputKind::TooDeep
        } else if text.starts_with("invalid unicode code point") {
            InputKind::NotText
        } else if missing.is_some() {
            InputKind::Missing
        } else if repeated.is_some() || text.starts_with("unknown field `") {
            InputKind::Unknown
        } else if error.classify() == Category::Data {
            InputKind::Invalid
        } else {
            InputKind::Malformed
        };
        // A place that has no name: within the whole, or within a field whose name was not read.
        let path = match path {
            "." | "?" => "",
            path => path.strip_suffix(".?").unwrap_or(path),
        };
        let field = match missing.or(repeated) {
            // The path of a repeated field names it already.
            Some(name) if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
            Some(name) if path.is_empty() => name.to_owned(),
            Some(name) => format!("{path}.{name}"),
            None => path.to_owned(),
        };
        Self {
            kind,
            field: (!field.is_empty()).then(|| shortened(&field)),
            detail: shortened(&match kind {
                InputKind::Malformed => words::no_json(&text),
                InputKind::NotText => "it is not UTF-8: send text in UTF-8".to_owned(),
                InputKind::TooDeep => "it is nested too deeply: send a flatter value".to_owned(),
                _ => words::in_words(&text),
            }),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "`{field}`: {}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

impl std::error::Error for Input {}

impl InputKind {
    /// Returns the HTTP status of this kind, where a protocol has none of its own.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Returns the name that a message has in backquotes behind this beginning.
fn quoted_after<'a>(text: &'a str, beginning: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(beginning)?;
    rest.split_once('`').map(|(name, _)| name)
}

fn shortened(text: &str) -> String {
    model::quoted(text, MAX_DETAIL_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the reading of it is looked at")]
    struct Sample {
        name: String,
        count: Option<u8>,
        inner: Option<Inner>,
        any: Option<serde_json::Value>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only the reading of it is looked at")]
    struct Inner {
        list: Vec<u8>,
        end: bool,
    }

    fn wrong(text: &[u8]) -> (InputKind, Option<String>) {
        let input = parse::<Sample>(text).expect_err("wrong");
        assert!(input.detail.chars().count() <= MAX_DETAIL_CHARS);
        (input.kind, input.field)
    }

    #[test]
    fn what_is_wrong_with_a_body_is_sorted_and_its_field_is_named() {
        use InputKind::{Invalid, Malformed, Missing, NotText, TooDeep, Unknown};
        let deep = format!(r#"{{"name":"a","any":{}"#, "[".repeat(100_000));
        let long = format!(r#"{{"name":"a","count":"{}"}}"#, "x".repeat(100_000));
        let cases: [(&[u8], InputKind, Option<&str>); 18] = [
            (b"{}", Missing, Some("name")),
            (br#"{"name":1}"#, Invalid, Some("name")),
            (br#"{"name":null}"#, Invalid, Some("name")),
            (br#"{"name":"a","count":256}"#, Invalid, Some("count")),
            (br#"{"name":"a","colour":1}"#, Unknown, Some("colour")),
            (br#"{"name":"a","name":"b"}"#, Unknown, Some("name")),
            (
                br#"{"name":"a","inner":{"list":[1,"x"],"end":true}}"#,
                Invalid,
                Some("inner.list[1]"),
            ),
            (
                br#"{"name":"a","inner":{"list":[]}}"#,
                Missing,
                Some("inner.end"),
            ),
            (b"{\"name\":\"\xff\"}", NotText, Some("name")),
            (deep.as_bytes(), TooDeep, Some("any")),
            (long.as_bytes(), Invalid, Some("count")),
            (br#"{"name":"a"} {}"#, Malformed, None),
            (br#"["a"]"#, Invalid, None),
            (b" \n[\"a\",null,null,null]", Invalid, None),
            (b"\xff\xfe", Malformed, None),
            (b"{name", Malformed, None),
            (b"no JSON at all", Malformed, None),
            (br#"{"name":"a","inner":{list"#, Malformed, Some("inner")),
        ];
        for (text, kind, field) in cases {
            let (found, named) = wrong(text);
            let text = String::from_utf8_lossy(&text[..text.len().min(60)]);
            assert_eq!(found, kind, "{text}");
            let named = named.as_deref().map(|named| named.split('[').next());
            let field = field.map(|field| field.split('[').next());
            assert_eq!(named, field, "{text}");
        }
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_none_is_an_empty_object() {
        let read = |text: &'static str| read_json::<serde_json::Value>(Body::from(text), 8);
        assert_eq!(read("").await, Ok(serde_json::json!({})));
        assert_eq!(read("\"123456\"").await, Ok(serde_json::json!("123456")));
        let error = read("\"1234567\"").await.expect_err("9 bytes");
        assert_eq!(error.kind, InputKind::TooLarge);
        assert_eq!(error.kind.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let broken = futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
        let read = read_json::<serde_json::Value>(Body::from_stream(broken), 8);
        let error = read.await.expect_err("it broke off");
        assert_eq!(error.kind, InputKind::Broken);
        assert_eq!(error.kind.status(), StatusCode::BAD_REQUEST);
    }
}
