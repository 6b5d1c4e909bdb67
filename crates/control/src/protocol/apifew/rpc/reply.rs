//! The answer to the client: that of the API as it is, or in a Result object.

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gate::rpc;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde_json::value::RawValue;

use super::channel::Answer;
use crate::protocol::apifew::answer::{ResultObject, error_code};

/// The length of the longest body that is put into a Result object, in bytes. Longer ones can be
/// asked for as they are.
const MAX_WRAPPED_BYTES: usize = 16 << 20;

/// A Result object around the answer of the API.
#[derive(Debug, Serialize)]
struct Wrapped {
    /// The body: JSON if it is that, else text, else base64.
    data: Option<Content>,
    success_msg: &'static str,
    error_msg: &'static str,
    /// The status of the API's answer.
    status_code: u16,
    content_type: Option<String>,
    /// The word `base64` if `data` is that; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_encoding: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Content {
    Json(Box<RawValue>),
    Text(String),
}

/// Returns the answer with its status, its headers and its bytes, streamed.
pub(super) fn raw(answer: Answer) -> Response {
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    for name in CONNECTION {
        headers.remove(name);
    }
    let mut response = Response::new(Body::new(answer.into_body()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Returns the whole answer in a Result object. An answer that is too long or was cut short is a
/// failure, although the call was made.
pub(super) async fn wrapped(answer: Answer) -> Response {
    let (status, call_id) = (answer.status(), answer.call_id().to_owned());
    let headers = kept(answer.headers(), |name| {
        !CONNECTION.contains(name) && !name.as_str().starts_with("content-")
    });
    let content_type = answer.header("content-type").map(ToOwned::to_owned);
    let body = Limited::new(answer.into_body(), MAX_WRAPPED_BYTES);
    let mut response = match body.collect().await {
        Ok(body) => envelop(status, content_type, &body.to_bytes()),
        Err(error) => {
            let code = if error.is::<LengthLimitError>() {
                "ERROR_RESPONSE_TOO_LARGE"
            } else {
                "ERROR_RESPONSE_INCOMPLETE"
            };
            let data = serde_json::json!({"call_id": call_id, "status_code": status.as_u16()});
            let body = ResultObject::failed(code.to_owned(), Some(data));
            (StatusCode::BAD_GATEWAY, Json(body)).into_response()
        }
    };
    response.headers_mut().extend(headers);
    response
}

/// Returns the Result object of an answer, with the answer's status where HTTP allows a body with
/// it, else 200.
fn envelop(status: StatusCode, content_type: Option<String>, body: &[u8]) -> Response {
    let (data, data_encoding) = content(body, content_type.as_deref());
    let good = status.is_success();
    let wrapped = Wrapped {
        data,
        success_msg: if good { "INFO_API_RESPONSE" } else { "" },
        error_msg: if good { "" } else { "ERROR_API_STATUS" },
        status_code: status.as_u16(),
        content_type,
        data_encoding,
    };
    let outer = if may_have_body(status) {
        status
    } else {
        StatusCode::OK
    };
    (outer, Json(wrapped)).into_response()
}

/// Returns the gate's own refusal as a Result object, whichever form was asked for.
pub(super) fn refused(answer: &Answer) -> Response {
    let code = error_code(answer.refusal().unwrap_or_default());
    let data = serde_json::json!({"call_id": answer.call_id()});
    let body = ResultObject::failed(code, Some(data));
    let mut response = (answer.status(), Json(body)).into_response();
    let headers = kept(answer.headers(), |name| {
        let name = name.as_str();
        name.starts_with("ratelimit")
            || name.starts_with("x-ratelimit")
            || [
                "allow",
                "cache-control",
                "retry-after",
                "tallygate-call-id",
                "www-authenticate",
            ]
            .contains(&name)
    });
    response.headers_mut().extend(headers);
    response
}

/// The headers that are about the connection to the data plane, or between it and this listener.
const CONNECTION: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    rpc::REFUSAL,
];

fn kept(headers: &HeaderMap, keep: impl Fn(&HeaderName) -> bool) -> HeaderMap<HeaderValue> {
    let kept = headers.iter().filter(|(name, _)| keep(name));
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn content(bytes: &[u8], kind: Option<&str>) -> (Option<Content>, Option<&'static str>) {
    if bytes.is_empty() {
        return (None, None);
    }
    let is_json = kind.is_some_and(|kind| kind.to_ascii_lowercase().contains("json"));
    if is_json && let Ok(value) = serde_json::from_slice(bytes) {
        return (Some(Content::Json(value)), None);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(Content::Text(text.to_owned())), None),
        Err(_) => {
            let text = STANDARD.encode(bytes);
            (Some(Content::Text(text)), Some("base64"))
        }
    }
}

/// Returns whether HTTP allows a body in an answer of this status.
fn may_have_body(status: StatusCode) -> bool {
    !status.is_informational()
        && ![
            StatusCode::NO_CONTENT,
            StatusCode::RESET_CONTENT,
            StatusCode::NOT_MODIFIED,
        ]
        .contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_wrapped_as_what_it_is() {
        let shown = |bytes: &[u8], kind: Option<&str>| {
            let (content, encoding) = content(bytes, kind);
            let text = serde_json::to_string(&content).expect("plain data");
            (text, encoding)
        };
        let json = Some("application/json; charset=utf-8");
        assert_eq!(shown(b"", json), ("null".to_owned(), None));
        let exact = r#"{"b":1.10,"a":12345678901234567890123}"#;
        assert_eq!(shown(exact.as_bytes(), json), (exact.to_owned(), None));
        assert_eq!(shown(b"{", json), ("\"{\"".to_owned(), None));
        assert_eq!(shown(b"1", None), ("\"1\"".to_owned(), None));
        assert_eq!(
            shown(b"\xff", None),
            ("\"/w==\"".to_owned(), Some("base64"))
        );
    }
}
