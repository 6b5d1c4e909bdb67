//! Reading requests: bodies and queries that are what they should be, or a problem that says what is wrong.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::{Code, Problem};

/// Longest body of an ordinary request, in bytes.
pub(crate) const BODY_LIMIT: usize = 1 << 20;
/// Longest body of a bulk request, in bytes.
pub(crate) const BULK_BODY_LIMIT: usize = 16 << 20;
/// A body must be there after this.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A JSON body of at most `LIMIT` bytes. No body at all is read as `{}`; the content type does not matter.
pub(crate) struct Json<T, const LIMIT: usize = BODY_LIMIT>(pub(crate) T);

/// The query, every parameter known and given once.
pub(crate) struct Query<T>(pub(crate) T);

/// The one parameter of the path, as text. What cannot be text names nothing.
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
        let too_large = || {
            Problem::new(
                Code::BodyTooLarge,
                format!("send at most {LIMIT} bytes at once"),
            )
        };
        let reading = axum::body::to_bytes(request.into_body(), LIMIT);
        let body = tokio::time::timeout(BODY_TIMEOUT, reading)
            .await
            .map_err(|_| {
                let seconds = BODY_TIMEOUT.as_secs();
                Problem::new(
                    Code::RequestTimeout,
                    format!("send the body within {seconds} s"),
                )
            })?
            .map_err(|_| too_large())?;
        let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
        parse(text).map(Self)
    }
}

/// Reads JSON, naming the field that is wrong.
fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        let code = match cause.classify() {
            serde_json::error::Category::Data => Code::FieldInvalid,
            _ => Code::RequestMalformed,
        };
        let problem = Problem::new(code, cause.to_string());
        if path == "." {
            problem
        } else {
            problem.about(&path)
        }
    })?;
    deserializer
        .end()
        .map_err(|error| Problem::new(Code::RequestMalformed, error.to_string()))?;
    Ok(value)
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
                Problem::new(Code::FieldInvalid, text)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::CreateLicense;

    #[test]
    fn what_is_wrong_with_a_body_is_named() {
        let problem = |text: &[u8]| parse::<CreateLicense>(text).expect_err("malformed");
        let unknown = problem(br#"{"app":"api","colour":1}"#);
        assert_eq!(unknown.code, Code::FieldInvalid);
        assert_eq!(unknown.field.as_deref(), Some("colour"));
        assert_eq!(
            problem(br#"{"app":"api","remaining":-1}"#).field.as_deref(),
            Some("remaining")
        );
        assert!(problem(b"{}").detail.contains("missing field `app`"));
        assert_eq!(problem(b"\xff\xfe").code, Code::RequestMalformed);
        assert_eq!(problem(br#"{"app":"api"} {}"#).code, Code::RequestMalformed);
        let deep = "[".repeat(100_000);
        assert_eq!(problem(deep.as_bytes()).code, Code::FieldInvalid);
        let deep = format!(r#"{{"app":"api","user":{}"#, "[".repeat(100_000));
        assert!(problem(deep.as_bytes()).code.status().is_client_error());
    }
}
