//! A seller whose software validates its licenses here.

use std::net::SocketAddr;

use serde_json::{Value, json};
use testkit::client::{self, Request, Response};
use testkit::{App, Config, License, Site, binary};

use super::sdk::Installation;

/// A gate, and what the seller has of it: an app with its credentials, and a key of the Developer API.
pub(super) struct Seller {
    pub(super) site: Site,
    pub(super) app_id: String,
    pub(super) app_secret: String,
    pub(super) public_key: String,
    pub(super) api_key: String,
}

/// The name of the app.
pub(super) const APP: &str = "game";
/// The account of the app.
const ACCOUNT: &str = "default";

impl Seller {
    /// Starts a gate without limits of requests.
    pub(super) fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a gate with these lines in `[app.authforge]`, and no limits of requests but those.
    pub(super) fn with(lines: &[&str]) -> Self {
        Self::configured(lines, |config| config)
    }

    /// Starts a gate with more in its configuration.
    pub(super) fn configured(lines: &[&str], more: impl FnOnce(Config) -> Config) -> Self {
        let mut table = vec!["[app.authforge]".to_owned()];
        for limit in [
            "validate_limit",
            "validate_limit_per_address",
            "heartbeat_limit",
        ] {
            let own = format!("{limit} ");
            if !lines.iter().any(|line| line.starts_with(&own)) {
                table.push(format!("{limit} = \"\""));
            }
        }
        table.extend(lines.iter().map(|&line| line.to_owned()));
        let site = Site::with(binary!(), |upstream| {
            let app = App::new(APP, upstream)
                .table(&table.join("\n"))
                .route("/", &[])
                .route("/export", &["features = [\"export\"]"]);
            let other = App::new("other", upstream)
                .line("hosts = [\"other.test\"]")
                .line("account = \"acme\"");
            more(Config::default().app(app).app(other))
        });
        let cli = site.gateway.cli();
        let _other_account = cli.json(&["account", "create", "acme"]);
        let credentials = cli.json(&["app", "credentials", APP]);
        let api_key = cli.json(&["key", "create"]);
        Self {
            app_id: text(&credentials["app_id"]),
            app_secret: text(&credentials["app_secret"]),
            public_key: text(&credentials["public_key"]),
            api_key: text(&api_key["key"]),
            site,
        }
    }

    /// A copy of the software on a device, which is built with the gate's own address.
    pub(super) fn installed(&self, device: &str) -> Installation {
        self.installed_behind(self.site.gateway.control_addr(), device)
    }

    /// A copy of the software on a device, which is built with another address.
    pub(super) fn installed_behind(&self, address: SocketAddr, device: &str) -> Installation {
        Installation {
            base_url: format!("http://{address}"),
            app_id: self.app_id.clone(),
            app_secret: self.app_secret.clone(),
            public_key: self.public_key.clone(),
            device: device.to_owned(),
            ttl: None,
            heartbeats: false,
            timeout: None,
        }
    }

    /// A license with a key of AuthForge's shape, with further arguments of `license create`.
    pub(super) fn license(&self, arguments: &[&str]) -> License {
        let mut all = vec!["--key-format", "authforge"];
        all.extend_from_slice(arguments);
        self.site.gateway.license_of(APP, &all)
    }

    /// The devices that a license is bound to, in the order in which they were.
    pub(super) fn devices(&self, license: &License) -> Vec<String> {
        let shown = self
            .site
            .gateway
            .cli()
            .json(&["license", "show", &license.id]);
        let devices = shown["devices"].as_array().expect("devices");
        devices.iter().map(|device| text(&device["id"])).collect()
    }

    /// Carries out a request of the Developer API.
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let request = match body {
            Some(body) => Request::with_body(method, path, body.to_string().as_bytes())
                .header("Content-Type", "application/json"),
            None => Request::new(method, path),
        };
        let request = request.header("Authorization", &format!("Bearer {}", self.api_key));
        client::call(self.site.gateway.control_addr(), &request)
    }

    /// Carries out a request of the Developer API that must succeed.
    pub(super) fn does(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let response = self.ask(method, path, body);
        assert!(
            (200..300).contains(&response.status),
            "{method} {path}: {} {}",
            response.status,
            response.text()
        );
        response.json()
    }

    /// Carries out an action on a license.
    pub(super) fn put(&self, license: &License, action: &str) -> Value {
        let path = format!("/v1/licenses/{}", license.key);
        self.does("PUT", &path, Some(&json!({ "action": action })))
    }

    /// Gives the account so many credits.
    pub(super) fn credit(&self, units: u64) {
        let (cli, units) = (self.site.gateway.cli(), units.to_string());
        let _left = cli.json(&[
            "account", "credit", ACCOUNT, "--units", &units, "--reason", "a test",
        ]);
    }

    /// The credits that are left, once every record is summed up.
    pub(super) fn credits_left(&self) -> u64 {
        let verified = self.site.gateway.verify();
        assert_eq!(
            (&verified["lost"], &verified["duplicated"]),
            (&json!(0), &json!(0)),
            "{verified}"
        );
        let shown = self.site.gateway.cli().json(&["account", "show", ACCOUNT]);
        let left = shown["balance"]["remaining"].as_u64();
        left.unwrap_or_else(|| panic!("no credits are counted: {shown}"))
    }
}

/// Returns the text of a value.
pub(super) fn text(value: &Value) -> String {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}
