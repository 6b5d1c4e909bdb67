//! AuthForge's protocol on a real gate: keys that are listed again, open the gate, and stand
//! nowhere else.

use std::collections::HashSet;

use serde_json::{Value, json};
use testkit::client::{self, Request, Response};
use testkit::{App, Config, Site, binary};

/// A gate with an app whose software is sold, and its seller.
struct Seller {
    site: Site,
    app_id: String,
    key: String,
}

impl Seller {
    fn start() -> Self {
        let site = Site::with(binary!(), |upstream| {
            let app = App::new("api", upstream)
                .route("/", &[])
                .route("/export", &["features = [\"export\"]"]);
            Config::default().app(app).table("[log]\nlevel = \"debug\"")
        });
        let cli = site.gateway.cli();
        let text = |value: &Value, name: &str| value[name].as_str().expect(name).to_owned();
        let app_id = text(&cli.json(&["app", "credentials", "api"]), "app_id");
        let key = text(&cli.json(&["key", "create"]), "key");
        Self { site, app_id, key }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Response {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let request = Request::with_body(method, path, body.as_bytes());
        let bearer = format!("Bearer {}", self.key);
        let request = request.header("Authorization", &bearer);
        client::call(self.site.gateway.control_addr(), &request)
    }

    fn make(&self, quantity: u32) -> Vec<String> {
        let body = json!({ "appId": self.app_id, "quantity": quantity });
        let made = self.ask("POST", "/v1/licenses", &body);
        assert_eq!(made.status, 201, "{}", made.text());
        keys(&made.json())
    }
}

fn keys(page: &Value) -> Vec<String> {
    let licenses = page["licenses"].as_array().expect("licenses");
    let key = |license: &Value| license["licenseKey"].as_str().expect("a key").to_owned();
    licenses.iter().map(key).collect()
}

#[test]
fn case_95_every_key_is_listed_once_as_it_was_made() {
    let seller = Seller::start();
    let mut made: HashSet<String> = HashSet::new();
    for quantity in [100, 100, 100, 100, 50] {
        made.extend(seller.make(quantity));
    }
    let (mut listed, mut sizes, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let path = format!(
            "/v1/licenses?appId={}&limit=200&cursor={cursor}",
            seller.app_id
        );
        let page = seller.ask("GET", &path, &Value::Null).json();
        let keys = keys(&page);
        sizes.push(keys.len());
        listed.extend(keys);
        seller.make(1);
        match page["cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(sizes, [200, 200, 50]);
    assert_eq!(listed.len(), 450);
    assert_eq!(listed.into_iter().collect::<HashSet<_>>(), made);
}

#[test]
fn the_same_license_opens_the_gate_in_every_spelling_of_its_key_and_its_variable_opens_routes() {
    let seller = Seller::start();
    let key = seller.make(1).remove(0);
    let (bare, small) = (key.replace('-', ""), key.to_lowercase());
    let call = |path: &str, key: &str| seller.site.gateway.call(&Request::get(path).key(key));
    for text in [&key, &bare, &small, &bare.to_lowercase(), &key] {
        assert_eq!(call("/hello", text).status, 200, "{text}");
        assert_eq!(call("/export", text).status, 403);
    }
    let path = format!("/v1/licenses/{key}/variables");
    let put = seller.ask("PUT", &path, &json!({ "license_features": "export,batch" }));
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(call("/export", &bare).status, 200);
    let path = format!("/v1/licenses/{bare}");
    let revoked = seller.ask("PUT", &path, &json!({ "action": "revoke" }));
    assert_eq!(revoked.json()["status"], "revoked");
    for text in [&key, &bare, &small] {
        assert_eq!(
            call("/hello", text).refusal_code().as_deref(),
            Some("license_disabled")
        );
    }
}

#[test]
fn a_key_in_a_url_is_in_no_log_metric_or_audit_entry() {
    let seller = Seller::start();
    let key = seller.make(1).remove(0);
    let (bare, small) = (key.replace('-', ""), key.to_lowercase());
    for text in [&key, &bare, &small] {
        for path in ["", "/variables", "/offline-files", "/nothing/here", "/"] {
            for method in ["GET", "PUT", "POST", "PATCH"] {
                let path = format!("/v1/licenses/{text}{path}");
                let answer = seller.ask(method, &path, &json!({ "action": "explode" }));
                let shown = answer.text();
                let is_refusal = answer.status >= 400;
                assert!(
                    !is_refusal || !shown.contains(&key[5..]),
                    "{method} {path}: {shown}"
                );
                assert!(
                    !is_refusal || !shown.contains(&bare[4..]),
                    "{method} {path}: {shown}"
                );
                assert!(
                    !is_refusal || !shown.contains(&small[4..]),
                    "{method} {path}: {shown}"
                );
            }
        }
    }
    let gateway = &seller.site.gateway;
    let metrics = gateway.scrape("/metrics").expect("metrics").text();
    let audit = gateway.cli().run(&["audit", "--json"]).stdout;
    assert!(audit.contains("license.create"), "{audit}");
    for (name, text) in [
        ("log", gateway.log()),
        ("metrics", metrics),
        ("audit", audit),
    ] {
        assert!(!text.is_empty(), "{name}");
        // The first group is shown, to tell keys apart.
        for part in [&key[4..], &bare[4..], &small[4..]] {
            assert!(!text.contains(part), "{name}: {part}");
        }
    }
}
