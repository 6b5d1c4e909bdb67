//! A client of the APIMW protocol that checks of every answer what holds for all of them.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::IpAddr;

use serde_json::{Value, json};
use testkit::client::Connection;
use testkit::{Gateway, Request, Response};

/// A key and its secret.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) secret: String,
}

/// An access token and the refresh token that came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// An answer, with what every answer says.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    pub(crate) reset: u64,
    pub(crate) retry_after: Option<u64>,
}

impl Pair {
    /// Makes a pair, with further arguments of `key create`.
    pub(crate) fn create(gateway: &Gateway, arguments: &[&str]) -> Self {
        let mut all = vec!["key", "create", "--pair"];
        all.extend_from_slice(arguments);
        Self::of(&gateway.cli().json(&all))
    }

    pub(crate) fn of(json: &Value) -> Self {
        let field = |name: &str| {
            let text = json[name].as_str();
            text.unwrap_or_else(|| panic!("no {name} in {json}"))
                .to_owned()
        };
        Self {
            id: field("id"),
            key: field("key"),
            secret: field("secret"),
        }
    }

    pub(crate) fn request(&self) -> Request {
        let body = json!({"api_key": self.key, "api_secret": self.secret});
        post("/v1/auth/token", &body)
    }

    /// Exchanges it for tokens.
    pub(crate) fn log_in(&self, gateway: &Gateway) -> Tokens {
        ask(gateway, &self.request()).tokens()
    }
}

impl Tokens {
    pub(crate) fn refresh_request(&self) -> Request {
        refresh_request(&self.refresh)
    }

    pub(crate) fn refresh(&self, gateway: &Gateway) -> Answer {
        ask(gateway, &self.refresh_request())
    }

    pub(crate) fn me(&self, gateway: &Gateway) -> Answer {
        me(gateway, &self.access)
    }

    pub(crate) fn revoke(&self, gateway: &Gateway) -> Answer {
        let request = Request::post("/v1/auth/revoke", b"");
        ask(gateway, &bearer(request, &self.access))
    }
}

impl Answer {
    fn of(response: &Response) -> Self {
        let number = |name: &str| {
            let text = response.header(name);
            let text = text.unwrap_or_else(|| panic!("no {name} in {response:?}"));
            text.parse().unwrap_or_else(|_| panic!("{name}: {text}"))
        };
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        let answer = Self {
            status: response.status,
            body: response.json(),
            limit: number("x-ratelimit-limit"),
            remaining: number("x-ratelimit-remaining"),
            reset: number("x-ratelimit-reset"),
            retry_after: response
                .header("retry-after")
                .map(|_| number("retry-after")),
        };
        let error = &answer.body["error"];
        assert_eq!(answer.body["success"], answer.status < 300, "{answer:?}");
        assert_eq!(error.is_null(), answer.status < 300, "{answer:?}");
        assert_eq!(
            answer.body["data"].is_null(),
            answer.status >= 300,
            "{answer:?}"
        );
        if !error.is_null() {
            assert!(
                error["code"].is_string() && error["message"].is_string(),
                "{answer:?}"
            );
        }
        assert_eq!(
            error["retry_after"].as_u64(),
            answer.retry_after,
            "{answer:?}"
        );
        if answer.status == 401 {
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        }
        answer
    }

    /// The code of a refusal.
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no refusal: {self:?}"))
    }

    /// Status and code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        (self.status, self.code())
    }

    pub(crate) fn message(&self) -> &str {
        self.body["error"]["message"]
            .as_str()
            .expect("a refusal has a message")
    }

    /// The four fields, checked.
    pub(crate) fn tokens(&self) -> Tokens {
        assert_eq!(self.status, 200, "{self:?}");
        let data = self.body["data"].as_object().expect("data is an object");
        assert_eq!(data.len(), 4, "{self:?}");
        assert_eq!(data["token_type"], "Bearer");
        assert!(
            data["expires_in"]
                .as_u64()
                .is_some_and(|seconds| seconds > 0)
        );
        let text = |name: &str| data[name].as_str().expect("a token is text").to_owned();
        let tokens = Tokens {
            access: text("access_token"),
            refresh: text("refresh_token"),
        };
        assert_eq!(
            tokens.access.split('.').count(),
            3,
            "an access token is a JWT"
        );
        assert!(tokens.refresh.starts_with("rt_"));
        tokens
    }
}

pub(crate) fn post(path: &str, body: &Value) -> Request {
    Request::post(path, body.to_string().as_bytes()).header("Content-Type", "application/json")
}

pub(crate) fn refresh_request(token: &str) -> Request {
    post("/v1/auth/refresh", &json!({"refresh_token": token}))
}

pub(crate) fn bearer(request: Request, token: &str) -> Request {
    request.header("Authorization", &format!("Bearer {token}"))
}

pub(crate) fn me_request(token: &str) -> Request {
    bearer(Request::get("/v1/auth/me"), token)
}

pub(crate) fn me(gateway: &Gateway, token: &str) -> Answer {
    ask(gateway, &me_request(token))
}

/// Asks the control plane.
pub(crate) fn ask(gateway: &Gateway, request: &Request) -> Answer {
    Answer::of(&testkit::client::call(gateway.control_addr(), request))
}

/// Asks the control plane from another address of this machine.
pub(crate) fn ask_from(gateway: &Gateway, source: &str, request: &Request) -> Answer {
    let source: IpAddr = source.parse().expect("an address");
    let connection = Connection::open_from(source, gateway.control_addr());
    let mut connection = connection.unwrap_or_else(|error| panic!("from {source}: {error}"));
    Answer::of(&connection.call(request).expect("an answer"))
}
