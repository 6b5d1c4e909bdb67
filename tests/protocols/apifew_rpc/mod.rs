//! apifew's gateway: calls packed into `/v1/request`, through the same admission, forwarding and records as any other.

mod calls;
mod envelope;

use serde_json::{Value, json};
use testkit::client::{Connection, KEY_HEADER, Request, Response};
use testkit::{App, Config, Gateway, License, Site, Upstream, apifew, assert_eventually, binary};

/// `api` declares routes, `open` none, `trial` is in test mode; each has a host of its own.
fn site() -> Site {
    Site::with(binary!(), |upstream| {
        let api = App::new("api", upstream)
            .line("hosts = [\"api.test\", \"*.api.test\"]")
            .line("read_timeout = \"1s\"")
            .route(
                "/paid",
                &["methods = [\"GET\", \"HEAD\", \"POST\", \"PUT\", \"PATCH\", \"DELETE\"]"],
            )
            .route("/dear", &["methods = [\"GET\"]", "units = 5"]);
        let open = App::new("open", upstream).line("hosts = [\"open.test\"]");
        let trial = App::new("trial", upstream)
            .line("hosts = [\"trial.test\"]")
            .line("mode = \"test\"");
        Config::default().app(api).app(open).app(trial)
    })
}

fn envelope(method: &str, route: &str) -> Value {
    json!({"APP_NAME": "api", "ROUTE": route, "METHOD": method})
}

fn get(route: &str) -> Value {
    envelope("GET", route)
}

/// A call that reaches the API, with its closed record.
fn called(site: &Site, license: &License, body: &Value) -> (Response, Value) {
    let response = apifew::rpc(&site.gateway, &license.key, body);
    let record = site.gateway.record(response.call_id());
    (response, record)
}

/// A call that the gate refuses: what it says, and that no upstream heard of it.
fn refused(site: &Site, key: &str, body: &Value, status: u16) -> String {
    let before = site.upstream.connections();
    let response = apifew::rpc(&site.gateway, key, body);
    let code = apifew::error(&response, status);
    assert_eq!(
        site.upstream.connections(),
        before,
        "no upstream call: {body}"
    );
    code
}
