//! The envelope of a call, and the request that it is unpacked to.

use std::collections::BTreeMap;

use api_types::App;
use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, HeaderValue, Method, Request, header};
use gate::rpc;
use model::NormalPath;
use model::header::{Meaning, is_spelling_of, meaning};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::LICENSE_KEY;
use crate::http::body::Input;
use crate::http::client::Client;
use crate::http::field::Text;
use crate::protocol::apifew::answer::{Failure, ambiguous_path};
use crate::protocol::apifew::apps;

/// The largest number of headers that are sent to the API.
const MAX_HEADERS: usize = 64;
/// The length of the longest value of such a header, in bytes.
const MAX_HEADER_VALUE_BYTES: usize = 8_192;
/// The length of the longest target in bytes, with the query that `PARAMS` is turned into.
const MAX_TARGET_BYTES: usize = 16_384;

/// A call, packed into the body of a request.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ApifewRequest")]
#[serde(deny_unknown_fields, rename_all = "SCREAMING_SNAKE_CASE")]
pub(in super::super) struct Envelope {
    /// The name or a host of the app.
    pub(super) app_name: Text<1, 253>,
    /// The path, with or without a query.
    route: Text<1, 8_192>,
    /// The method of the call, whatever that of the request is.
    method: Text<1, 32>,
    /// The query or the JSON body, by the method.
    #[schemars(with = "Option<serde_json::Value>")]
    params: Option<Box<RawValue>>,
    /// The headers for the API.
    headers: Option<BTreeMap<String, String>>,
    /// Whether the answer is put into a Result object.
    pub(super) response_as_result: Option<bool>,
}

/// The part of a call that holds its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Query,
    Body,
}

impl Envelope {
    /// Returns the request to send to the data plane.
    ///
    /// # Errors
    /// Returns a failure, with the field, for what could leave the app, pretend to be the gate, or
    /// cannot be expressed in HTTP.
    pub(super) fn unpack(
        self,
        app: &App,
        key: &HeaderValue,
        client: &Client,
    ) -> Result<Request<Body>, Failure> {
        let method = method(&self.method)?;
        let params = self.params.as_deref().map(object).transpose()?;
        let place = place(&method);
        let query = params.as_ref().filter(|_| place == Place::Query);
        let target = target(&self.route, query)?;
        let mut request = Request::new(Body::empty());
        for (name, value) in self.headers.unwrap_or_default() {
            let (name, value) = header(&name, &value)?;
            request.headers_mut().append(name, value);
        }
        if request.headers().len() > MAX_HEADERS {
            let detail = format!("send at most {MAX_HEADERS} of them");
            return Err(Failure::invalid("HEADERS", detail));
        }
        if let (Some(raw), Place::Body) = (self.params, place) {
            expect_json(request.headers().get(header::CONTENT_TYPE))?;
            let kind = HeaderValue::from_static("application/json");
            let headers = request.headers_mut();
            headers.entry(header::CONTENT_TYPE).or_insert(kind);
            *request.body_mut() = Body::from(String::from(Box::<str>::from(raw)));
        }
        *request.method_mut() = method;
        *request.uri_mut() = target.into();
        address(&mut request, app, &self.app_name, key, client)?;
        Ok(request)
    }
}

/// Adds the headers that tell the data plane which app the call is for, whose license key it has
/// and who sent it.
fn address(
    request: &mut Request<Body>,
    app: &App,
    named: &str,
    key: &HeaderValue,
    client: &Client,
) -> Result<(), Failure> {
    let exact = |host: &&String| !host.starts_with('*');
    let host = if app.name.as_str() == named {
        app.hosts.iter().find(exact).map_or(named, String::as_str)
    } else {
        named
    };
    let value = |text: &str| {
        let value = HeaderValue::from_str(text);
        value.map_err(|_| Failure::invalid(apps::FIELD, "it is no host"))
    };
    let headers = request.headers_mut();
    headers.insert(header::HOST, value(host)?);
    headers.insert(LICENSE_KEY, key.clone());
    headers.insert(rpc::APP, value(app.name.as_str())?);
    if let Some(address) = client.address {
        headers.insert(rpc::CALLER, value(&address.to_string())?);
    }
    Ok(())
}

/// Returns the method, in whatever case it is written.
fn method(text: &str) -> Result<Method, Failure> {
    let method = Method::from_bytes(text.to_ascii_uppercase().as_bytes()).ok();
    let method = method.filter(|method| *method != Method::CONNECT);
    method.ok_or_else(|| Failure::invalid("METHOD", "name a method of HTTP other than CONNECT"))
}

/// Returns the place of the parameters: the body for methods that have one, else the query.
fn place(method: &Method) -> Place {
    if [Method::POST, Method::PUT, Method::PATCH].contains(method) {
        Place::Body
    } else {
        Place::Query
    }
}

/// Parses the parameters as an object, so that an error in them is found here.
fn object(raw: &RawValue) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(raw.get()).map_err(|error| {
        let mut detail = error.to_string();
        if !error.is_syntax() {
            detail = "send an object".to_owned();
        }
        Failure::invalid("PARAMS", detail)
    })
}

/// Returns path and query as they were written, with the parameters appended to the query.
fn target(route: &str, params: Option<&Map<String, Value>>) -> Result<PathAndQuery, Failure> {
    let (path, query) = match route.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (route, None),
    };
    // This holds whatever the app declares: a path that can be read in two ways does not say where
    // a call goes.
    NormalPath::parse(path).map_err(|reason| ambiguous_path("ROUTE", reason))?;
    if query.is_some_and(|query| query.contains('#')) {
        return Err(Failure::invalid("ROUTE", "a route holds no fragment (`#`)"));
    }
    let mut text = route.to_owned();
    let added = params.map(pairs).transpose()?.unwrap_or_default();
    if !added.is_empty() {
        text.push(if query.is_some() { '&' } else { '?' });
        text.push_str(&added);
    }
    if text.len() > MAX_TARGET_BYTES {
        let detail = format!("path and query have at most {MAX_TARGET_BYTES} bytes together");
        return Err(Failure::invalid("PARAMS", detail));
    }
    let target = PathAndQuery::try_from(text);
    target.map_err(|error| Failure::invalid("ROUTE", error))
}

/// Returns the parameters as a query. A list repeats its name, `null` is left out, an object is
/// refused.
fn pairs(params: &Map<String, Value>) -> Result<String, Failure> {
    let mut pairs = Vec::new();
    for (name, value) in params {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            let text = match value {
                Value::Null => continue,
                Value::Bool(value) => value.to_string(),
                Value::Number(value) => value.to_string(),
                Value::String(value) => value.clone(),
                Value::Array(_) | Value::Object(_) => {
                    let field = format!("PARAMS.{name}");
                    let detail = "a query holds text, numbers, booleans and lists of them";
                    return Err(Failure::invalid(&field, detail));
                }
            };
            pairs.push((name, text));
        }
    }
    serde_urlencoded::to_string(pairs).map_err(|error| Failure::invalid("PARAMS", error))
}

/// Parses a header for the API. Headers of the connection, of the call's address and of the gate
/// are refused.
fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let field = || format!("HEADERS.{}", model::quoted(name, 80));
    let parsed = HeaderName::from_bytes(name.as_bytes());
    let parsed = parsed.map_err(|_| Failure::invalid(&field(), "it is no name of a header"))?;
    if is_reserved(&parsed) {
        let detail = "headers of the connection, of the host and of the gate are set by the gate";
        return Err(Failure::invalid(&field(), detail));
    }
    let text = Some(value).filter(|value| value.len() <= MAX_HEADER_VALUE_BYTES);
    let value = text.and_then(|value| HeaderValue::from_str(value).ok());
    let detail = || {
        let most = MAX_HEADER_VALUE_BYTES;
        Failure::invalid(&field(), format!("send at most {most} bytes of plain text"))
    };
    Ok((parsed, value.ok_or_else(detail)?))
}

fn is_reserved(name: &HeaderName) -> bool {
    const EXACT: [&str; 13] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    /// The beginning of the headers of apifew's own protocol, all of which are reserved.
    const APIFEW: &str = "apifew-";
    let name = name.as_str();
    let start = name.get(..APIFEW.len());
    start.is_some_and(|start| is_spelling_of(start, APIFEW))
        || EXACT.iter().any(|other| is_spelling_of(name, other))
        || meaning(name) != Meaning::Ordinary
}

/// Refuses a content type that is not JSON, for parameters in a body are sent as JSON.
fn expect_json(kind: Option<&HeaderValue>) -> Result<(), Failure> {
    let Some(kind) = kind else { return Ok(()) };
    let text = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    let essence = text.split(';').next().unwrap_or_default().trim();
    if essence == "application/json" || essence.ends_with("+json") {
        return Ok(());
    }
    let detail = "PARAMS are sent as JSON: leave it out or name a kind of JSON";
    Err(Input::invalid("HEADERS.content-type", detail).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).expect("an object")
    }

    #[test]
    fn a_target_is_the_route_with_the_parameters_behind_it() {
        let target = |route: &str, text: &str| {
            let params = params(text);
            target(route, Some(&params)).map(|target| target.to_string())
        };
        let plain = target("/a", r#"{"b":"x y&z","a":1,"c":[true,null,"é"],"d":null}"#);
        assert_eq!(
            plain.expect("can be said"),
            "/a?a=1&b=x+y%26z&c=true&c=%C3%A9"
        );
        assert_eq!(target("/a?q=1", r#"{"r":2}"#).expect("can"), "/a?q=1&r=2");
        assert_eq!(target("/a", "{}").expect("can"), "/a");
        assert!(target("/a", r#"{"r":{"s":1}}"#).is_err());
        assert!(target("/a", r#"{"r":[[1]]}"#).is_err());
    }

    #[test]
    fn a_route_that_could_lead_elsewhere_is_refused() {
        for route in [
            "//evil.host/x",
            "http://evil.host/",
            "evil.host",
            "/../admin",
            "/a/../../admin",
            "/a/%2e%2e/admin",
            "/a/%2E%2e/admin",
            "/a/..%2fadmin",
            "/a%2fb",
            "/a\\b",
            "/a%5cb",
            "/a;b/c",
            "/a/%252e%252e/b",
            "/%00",
            "/a b",
            "/a#b",
            "/a?b#c",
            "/a?b c",
            "",
            "*",
        ] {
            assert!(target(route, None).is_err(), "{route}");
        }
    }

    #[test]
    fn headers_of_the_connection_and_of_the_gate_are_refused() {
        for name in [
            "Connection",
            "HOST",
            "Apifew-User-License-Key",
            "apifew-request-token",
            "Tallygate-Call-Id",
            "X-Forwarded-For",
            "Transfer-Encoding",
            "Content-Length",
            "Content_Length",
            "Tallygate_User_Id",
            "apifew_user_license_key",
            "Forwarded",
            "X_Forwarded_For",
            "Proxy",
            "Client-IP",
            "X-Envoy-External-Address",
            "X-Real-IP",
            "X_HTTP_Method_Override",
            "",
            "a b",
            "é",
        ] {
            assert!(header(name, "1").is_err(), "{name}");
        }
        for value in [
            "a\r\nHost: evil",
            "\0",
            &"x".repeat(MAX_HEADER_VALUE_BYTES + 1),
        ] {
            assert!(header("x-api-key", value).is_err());
        }
        let (name, value) = header("X-Api-Key", "secret").expect("plain");
        assert_eq!(
            (name.as_str(), value.as_bytes()),
            ("x-api-key", &b"secret"[..])
        );
    }

    #[test]
    fn parameters_stand_where_the_method_has_them() {
        for (text, expected) in [
            ("get", Place::Query),
            ("HEAD", Place::Query),
            ("DELETE", Place::Query),
            ("POST", Place::Body),
            ("put", Place::Body),
            ("PATCH", Place::Body),
        ] {
            assert_eq!(place(&method(text).expect("a method")), expected, "{text}");
        }
        assert!(method("CONNECT").is_err() && method("G T").is_err());
    }
}
