//! Extractors of the native API: the body, the query and the path of a request as types, or the
//! problem that says what is wrong.

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::http::body::{BODY_LIMIT, Input, InputKind, read_json};
use crate::http::problem::{Code, Problem};
use crate::http::words;

/// The length of the longest body of a bulk request, in bytes.
pub(crate) const BULK_BODY_LIMIT: usize = 16 << 20;

/// A JSON body of at most `LIMIT` bytes. An empty body is read as `{}`; the content type does not
/// matter.
pub(crate) struct Json<T, const LIMIT: usize = BODY_LIMIT>(pub(crate) T);

/// The query of a request, in which every parameter is known and given once.
pub(crate) struct Query<T>(pub(crate) T);

/// The one parameter of the path, as text. A parameter that is not UTF-8 is answered with 404.
pub(crate) struct Name(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        name.map(|Path(name)| Self(name))
            .map_err(|_| Problem::new(Code::NotFound, "the path is not UTF-8 text"))
    }
}

impl<S: Sync, T: DeserializeOwned, const LIMIT: usize> FromRequest<S> for Json<T, LIMIT> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let read = read_json(request.into_body(), LIMIT).await;
        read.map(Self).map_err(Problem::from)
    }
}

impl From<Input> for Problem {
    fn from(input: Input) -> Self {
        let code = match input.kind {
            InputKind::TooLarge => Code::BodyTooLarge,
            InputKind::TooSlow => Code::RequestTimeout,
            InputKind::Malformed | InputKind::Broken | InputKind::NotText | InputKind::TooDeep => {
                Code::RequestMalformed
            }
            InputKind::Missing | InputKind::Unknown | InputKind::Invalid => Code::FieldInvalid,
        };
        Self {
            field: input.field,
            ..Self::new(code, input.detail)
        }
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|rejection| {
                let text = rejection.body_text();
                let text = text
                    .strip_prefix("Failed to deserialize query string: ")
                    .unwrap_or(&text);
                let name = parameter(text);
                let mut detail = words::in_words(text);
                if name.is_some_and(|name| has_plus(parts.uri.query().unwrap_or_default(), name)) {
                    detail.push_str("; a `+` in a query is a blank: write `%2B` for the sign");
                }
                let problem = Problem::new(Code::FieldInvalid, detail);
                name.map_or(problem.clone(), |name| problem.about(name))
            })
    }
}

/// Returns whether a parameter was sent with a `+`, as in the offset of a time.
fn has_plus(query: &str, name: &str) -> bool {
    let mut values = query.split('&').filter_map(|part| part.split_once('='));
    values.any(|(key, value)| key == name && value.contains('+'))
}

/// Returns the parameter that a message about a query is about: it stands before a colon, or in
/// backquotes where it is missing.
fn parameter(text: &str) -> Option<&str> {
    let missing = text.strip_prefix("missing field `");
    let name = match missing {
        Some(rest) => rest.split_once('`')?.0,
        None => text.split_once(": ")?.0,
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (name.len() <= 64 && name.bytes().all(is_name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api_types::CreateLicense;
    use axum::body::Body;

    #[tokio::test]
    async fn what_is_wrong_with_a_body_is_named() {
        let problem = async |text: &[u8]| {
            let request = Request::new(Body::from(text.to_owned()));
            let read = Json::<CreateLicense>::from_request(request, &()).await;
            read.err().expect("malformed")
        };
        let unknown = problem(br#"{"app":"api","colour":1}"#).await;
        assert_eq!(unknown.code, Code::FieldInvalid);
        assert_eq!(unknown.field.as_deref(), Some("colour"));
        let below = problem(br#"{"app":"api","remaining":-1}"#).await;
        assert_eq!(below.field.as_deref(), Some("remaining"));
        let missing = problem(b"{}").await;
        assert_eq!(missing.field.as_deref(), Some("app"));
        for text in [b"\xff\xfe".as_slice(), br#"{"app":"api"} {}"#] {
            assert_eq!(problem(text).await.code, Code::RequestMalformed);
        }
        let deep = format!(r#"{{"app":"api","user":{}"#, "[".repeat(100_000));
        assert!(
            problem(deep.as_bytes())
                .await
                .code
                .status()
                .is_client_error()
        );
    }
}
