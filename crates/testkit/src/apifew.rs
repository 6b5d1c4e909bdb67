//! A client of apifew's protocol, in the manner of one of its users.

use serde_json::Value;

use crate::client::{self, KEY_HEADER, Request, Response};
use crate::gateway::Gateway;

/// A provider with the secret of an app, talking to the control listener.
#[derive(Debug)]
pub struct Apifew<'a> {
    gateway: &'a Gateway,
    /// The secret, which is a management key.
    pub key: String,
}

impl<'a> Apifew<'a> {
    /// Makes a provider of one app.
    ///
    /// # Panics
    /// When the secret cannot be made.
    #[must_use]
    pub fn of_app(gateway: &'a Gateway, app: &str) -> Self {
        Self::with_key(gateway, &["--app", app])
    }

    /// Makes a provider with a secret from `key create` with these arguments.
    ///
    /// # Panics
    /// When the secret cannot be made.
    #[must_use]
    pub fn with_key(gateway: &'a Gateway, arguments: &[&str]) -> Self {
        let mut all = vec!["key", "create"];
        all.extend_from_slice(arguments);
        let made = gateway.cli().json(&all);
        let key = made["key"].as_str().expect("a key that is shown");
        Self::with_secret(gateway, key)
    }

    /// Makes a provider with an existing secret.
    #[must_use]
    pub fn with_secret(gateway: &'a Gateway, secret: &str) -> Self {
        Self {
            gateway,
            key: secret.to_owned(),
        }
    }

    /// Sends a request as the provider, with the secret in `Apifew-Key`.
    #[must_use]
    pub fn ask(&self, path: &str, body: &Value) -> Response {
        let request = Request::post(path, body.to_string().as_bytes());
        send(self.gateway, request.header("Apifew-Key", &self.key))
    }

    /// Sends a request as [`ask`](Self::ask) does, and returns the Result object of its answer.
    ///
    /// # Panics
    /// When the answer has another status than 200, or is no Result object.
    #[must_use]
    pub fn result(&self, path: &str, body: &Value) -> Value {
        let response = self.ask(path, body);
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        result(&response)
    }
}

/// Sends a request to the control listener.
#[must_use]
pub fn send(gateway: &Gateway, request: Request) -> Response {
    client::call(gateway.control_addr(), &request)
}

/// Sends a call by RPC with a license key.
#[must_use]
pub fn rpc(gateway: &Gateway, license_key: &str, body: &Value) -> Response {
    let request = Request::post("/v1/request", body.to_string().as_bytes());
    send(gateway, request.header(KEY_HEADER, license_key))
}

/// Returns the Result object of an answer, with its three fields and one message of the two.
///
/// # Panics
/// When the body is not a Result object.
#[must_use]
pub fn result(response: &Response) -> Value {
    let body = response.json();
    let text = |field: &str| {
        let value = body[field].as_str();
        value.unwrap_or_else(|| panic!("no text in `{field}` of {body}"))
    };
    let (success, error) = (text("success_msg"), text("error_msg"));
    assert!(body.get("data").is_some(), "no `data` in {body}");
    assert_ne!(success.is_empty(), error.is_empty(), "{body}");
    assert!(success.is_empty() || success.starts_with("INFO_"), "{body}");
    assert!(error.is_empty() || error.starts_with("ERROR_"), "{body}");
    body
}

/// Returns the `error_msg` of a refused request with a status.
///
/// # Panics
/// When the answer has another status, or is no Result object of a failure.
#[must_use]
pub fn error(response: &Response, status: u16) -> String {
    assert_eq!(response.status, status, "{}", response.text());
    let body = result(response);
    let code = body["error_msg"].as_str().unwrap_or_default().to_owned();
    assert!(!code.is_empty(), "{body}");
    code
}
