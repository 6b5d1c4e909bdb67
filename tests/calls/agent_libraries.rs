//! The libraries with which agents sign, against a gate: what they write verifies the agent.

use std::collections::BTreeMap;
use std::process::Command;

use testkit::client::Request;
use testkit::{App, Config, Gateway, Upstream, binary};

use crate::support::agents::{DirectoryServer, Signer};

/// The folder of the scripts, whose packages `deploy/setup.sh test` installs.
const FOLDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/clients/web-bot-auth"
);
const URL: &str = "http://api.test/open";

/// Runs a script that signs, and returns the headers that it prints.
fn headers(program: &str, script: &str, signer: &Signer, origin: &str) -> BTreeMap<String, String> {
    let output = Command::new(program)
        .arg(script)
        .current_dir(FOLDER)
        .env("URL", URL)
        .env("ORIGIN", origin)
        .env("JWK", signer.private_jwk())
        .env("PEM", signer.pem())
        .env("KEY_ID", signer.key_id())
        .output()
        .unwrap_or_else(|error| panic!("{program} runs: {error}"));
    assert!(
        output.status.success(),
        "run deploy/setup.sh test first: {output:?}"
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn what_the_libraries_of_agents_sign_verifies_the_agent() {
    let (upstream, server) = (Upstream::start(), DirectoryServer::start());
    let app = App::new("api", &upstream.url())
        .route("/open", &["access = \"open\""])
        .table("[app.agents]");
    let config = Config::default()
        .server("private_agent_directories = true")
        .app(app);
    let mut gateway = Gateway::prepare(binary!(), config);
    gateway.env(
        "SSL_CERT_FILE",
        server.certificate().to_str().expect("text"),
    );
    gateway.restart();
    // Nobody knows the agent by name: that its signature holds makes it one.
    let _ = gateway
        .cli()
        .text(&["agent", "set", "--access", "deny", "--verified"]);
    let signer = Signer::new(&server.origin);
    server.publish(&signer.key_set());
    assert_eq!(gateway.call(&Request::get("/open")).status, 200);
    let python = testkit::python();
    for (program, script) in [("node", "sign.mjs"), (python.as_str(), "sign.py")] {
        let signed = headers(program, script, &signer, &server.origin);
        let request = signed
            .iter()
            .fold(Request::get("/open"), |request, (name, value)| {
                request.header(name, value)
            });
        let refused = gateway.call(&request);
        assert_eq!(
            refused.refusal_code().as_deref(),
            Some("agent_denied"),
            "{script}: {refused:?}"
        );
        let elsewhere = gateway.call(&request.host("other.test"));
        assert_eq!(
            elsewhere.status, 200,
            "{script}: it is signed for another host: {elsewhere:?}"
        );
    }
}
