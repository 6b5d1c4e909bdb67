//! A gate with API keys, spoken to as better-auth's clients do.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use serde_json::{Value, json};
use testkit::client::{self, Request, Response};
use testkit::{App, Config, Site, binary};

/// A gate, and a management key that owns API keys.
pub(crate) struct Keys {
    pub(crate) site: Site,
    pub(crate) owner: String,
}

/// Two apps of one account, the first of which takes `x-api-key`, and one of another account.
pub(crate) fn config(upstream: &str) -> Config {
    let header = "license_headers = [\"x-api-key\"]";
    Config::default()
        .app(
            App::new("api", upstream)
                .line(header)
                .line("hosts = [\"api.test\"]"),
        )
        .app(
            App::new("docs", upstream)
                .line(header)
                .line("hosts = [\"docs.test\"]"),
        )
        .app(
            App::new("shop", upstream)
                .line(header)
                .line("hosts = [\"shop.test\"]")
                .line("account = \"acme\""),
        )
}

impl Keys {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With these lines in `[better_auth]`.
    pub(crate) fn with(lines: &[&str]) -> Self {
        let section = format!("[better_auth]\n{}", lines.join("\n"));
        Self::configured(|config| config.table(&section))
    }

    /// With more in its configuration.
    pub(crate) fn configured(more: impl FnOnce(Config) -> Config) -> Self {
        let site = Site::with(binary!(), |upstream| more(config(upstream)));
        let _account = site.gateway.cli().json(&["account", "create", "acme"]);
        let owner = management_key(&site, &[]);
        Self { site, owner }
    }

    /// Another owner's view of the same gate.
    pub(crate) fn owner(&self, arguments: &[&str]) -> String {
        management_key(&self.site, arguments)
    }

    pub(crate) fn ask(
        &self,
        owner: Option<&str>,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Response {
        let path = format!("/api/auth/api-key/{path}");
        let mut request = match method {
            "POST" => Request::post(&path, body),
            method => Request::new(method, &path),
        };
        request = request.header("Content-Type", "application/json");
        if let Some(owner) = owner {
            request = request.header("Authorization", &format!("Bearer {owner}"));
        }
        client::call(self.site.gateway.control_addr(), &request)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Response {
        self.ask(Some(&self.owner), "POST", path, body.to_string().as_bytes())
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.ask(Some(&self.owner), "GET", path, b"")
    }

    /// A key made over HTTP.
    pub(crate) fn create(&self, body: &Value) -> Value {
        let response = self.post("create", body);
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    }

    /// A key with fields that clients may not set.
    pub(crate) fn issue(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["apikey", "create"];
        all.extend_from_slice(arguments);
        self.site.gateway.cli().json(&all)
    }

    pub(crate) fn verify(&self, key: &str) -> Value {
        self.verify_for(key, None)
    }

    pub(crate) fn verify_for(&self, key: &str, permissions: Option<Value>) -> Value {
        let mut body = json!({ "key": key });
        if let Some(permissions) = permissions {
            body["permissions"] = permissions;
        }
        let response = self.post("verify", &body);
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    }

    /// The record of a key.
    pub(crate) fn show(&self, key: &Value) -> Value {
        let response = self.get(&format!("get?id={}", text(&key["id"])));
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    }

    /// A call at the gate with a key.
    pub(crate) fn call(&self, host: &str, key: &str) -> Response {
        let request = Request::get("/").host(host).header("x-api-key", key);
        client::call(self.site.gateway.addr(), &request)
    }
}

fn management_key(site: &Site, arguments: &[&str]) -> String {
    let mut all = vec!["key", "create"];
    all.extend_from_slice(arguments);
    text(&site.gateway.cli().json(&all)["key"]).to_owned()
}

pub(crate) fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

/// The code of a verification that failed; `None`: it did not.
pub(crate) fn code(verified: &Value) -> Option<&str> {
    if verified["valid"] == true {
        assert!(
            verified["error"].is_null() && verified["key"].is_object(),
            "{verified}"
        );
        return None;
    }
    assert!(
        verified["valid"] == false && verified["key"].is_null(),
        "{verified}"
    );
    assert!(verified["error"]["message"].is_string(), "{verified}");
    verified["error"]["code"].as_str()
}

/// Status and code of a refusal, in the shape of the protocol.
pub(crate) fn refusal(response: &Response) -> (u16, String) {
    let body = response.json();
    assert!(body["message"].is_string(), "{body}");
    (response.status, text(&body["code"]).to_owned())
}

/// A refusal with this status and code.
pub(crate) fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}
