//! Unencrypted requests from other hosts: refused by every protocol, never redirected, until the file says otherwise.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use testkit::client::{self, Request, Response};
use testkit::{App, Config, Site, binary, own_network};

/// Requests to each protocol with credentials that are good, or with such that nobody has.
struct Credentials {
    management: String,
    pair: (String, String),
    access: String,
    license: String,
    api_key: String,
}

impl Credentials {
    fn good(site: &Site) -> Self {
        let cli = site.gateway.cli();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let management = cli.json(&["key", "create", "--app", "api"]);
        let pair = cli.json(&["key", "create", "--pair", "--app", "api"]);
        let pair = (text(&pair["key"]), text(&pair["secret"]));
        let body = json!({ "api_key": pair.0, "api_secret": pair.1 });
        let request = Request::post("/v1/auth/token", body.to_string().as_bytes());
        let tokens = client::call(site.gateway.control_addr(), &request).json();
        Self {
            management: text(&management["key"]),
            access: text(&tokens["data"]["access_token"]),
            license: site.gateway.license(&[]).key,
            api_key: text(&cli.json(&["apikey", "create", "--app", "api"])["key"]),
            pair,
        }
    }

    fn bad() -> Self {
        let text = |word: &str| word.to_owned();
        Self {
            management: text("nobody's"),
            pair: (text("nobody's"), text("nothing")),
            access: text("a.b.c"),
            license: text("nobody's"),
            api_key: text("nobody's"),
        }
    }

    /// Each with the status and the code of its refusal, and where in the answer the code is.
    fn requests(&self) -> Vec<(Request, u16, &'static str, &'static str)> {
        let post = |path: &str, body: Value| Request::post(path, body.to_string().as_bytes());
        let bearer = |request: Request, token: &str| {
            request.header("Authorization", &format!("Bearer {token}"))
        };
        let (key, secret) = &self.pair;
        let check = json!({ "APIFEW_KEY": self.management, "LICENSE_KEY": self.license });
        let envelope = json!({ "APP_NAME": "api", "ROUTE": "/a", "METHOD": "GET" });
        let rpc = post("/v1/request", envelope).header("Apifew-User-License-Key", &self.license);
        vec![
            (
                bearer(Request::get("/api/v1/licenses"), &self.management),
                403,
                "plain_http",
                "/code",
            ),
            (
                post("/v1/app/user/license/check", check),
                403,
                "ERROR_HTTPS_REQUIRED",
                "/error_msg",
            ),
            (rpc, 403, "ERROR_HTTPS_REQUIRED", "/error_msg"),
            (
                post(
                    "/v1/auth/token",
                    json!({ "api_key": key, "api_secret": secret }),
                ),
                403,
                "HTTPS_REQUIRED",
                "/error/code",
            ),
            (
                bearer(Request::get("/v1/auth/me"), &self.access),
                403,
                "HTTPS_REQUIRED",
                "/error/code",
            ),
            (
                bearer(
                    post("/api/auth/api-key/verify", json!({ "key": self.api_key })),
                    &self.management,
                ),
                403,
                "FORBIDDEN",
                "/code",
            ),
        ]
    }
}

fn site(more: impl FnOnce(Config) -> Config) -> Site {
    Site::with(binary!(), |upstream| {
        let config =
            Config::default().app(App::new("api", upstream).line("hosts = [\"api.test\"]"));
        more(config.control_on(Ipv4Addr::UNSPECIFIED.into()))
    })
}

/// Asks from an address that is not a loopback one.
fn ask(site: &Site, request: &Request) -> Response {
    let control = SocketAddr::new(own_network::ADDRESS, site.gateway.control_addr().port());
    client::call(control, request)
}

fn code<'a>(body: &'a Value, place: &str) -> &'a str {
    let code = body.pointer(place).and_then(Value::as_str);
    code.unwrap_or_else(|| panic!("no {place} in {body}"))
}

#[test]
fn case_47_plain_http_from_another_host_is_refused_and_never_redirected() {
    own_network::run(
        "plain_http::case_47_plain_http_from_another_host_is_refused_and_never_redirected",
        plain_http_from_another_host_is_refused_and_never_redirected,
    );
}

fn plain_http_from_another_host_is_refused_and_never_redirected() {
    let site = site(|config| config);
    let good = Credentials::good(&site);
    let lines = || site.gateway.cli().text(&["audit", "--json"]);
    let before = lines();
    // Whatever the credential is worth, it is not looked at: the answers are the same.
    for credentials in [&good, &Credentials::bad()] {
        for (request, status, expected, place) in credentials.requests() {
            let answer = ask(&site, &request);
            assert_eq!(answer.status, status, "{request:?} {}", answer.text());
            assert_eq!(code(&answer.json(), place), expected, "{request:?}");
            assert_eq!(answer.header("location"), None, "{request:?}");
            // Nor is a proxy believed that nobody named.
            let forwarded = request
                .header("X-Forwarded-For", "127.0.0.1")
                .header("X-Forwarded-Proto", "https");
            assert_eq!(ask(&site, &forwarded).status, status);
        }
    }
    assert_eq!(lines(), before, "no log-in was granted or denied");
    assert_eq!(site.upstream.connections(), 0);
    let Credentials { api_key, .. } = &good;
    let listed = site.gateway.cli().json(&["apikey", "list"]);
    assert_eq!(listed[0]["request_count"], 0, "{api_key} was not used");
}

#[test]
fn case_47_plain_http_is_taken_from_networks_that_the_file_names() {
    own_network::run(
        "plain_http::case_47_plain_http_is_taken_from_networks_that_the_file_names",
        plain_http_is_taken_from_networks_that_the_file_names,
    );
}

fn plain_http_is_taken_from_networks_that_the_file_names() {
    let named = format!(
        "[control]\nplain_http_from = [\"{}/32\"]",
        own_network::ADDRESS
    );
    let site = site(|config| config.table(&named));
    let good = Credentials::good(&site);
    for (request, ..) in good.requests() {
        let answer = ask(&site, &request);
        assert_eq!(answer.status, 200, "{request:?} {}", answer.text());
    }
    for (request, refusal, ..) in Credentials::bad().requests() {
        let answer = ask(&site, &request);
        assert!(answer.status != refusal, "{request:?} {}", answer.text());
    }
}
