//! better-auth: the official client package calls every one of its methods against a gate.

#[path = "support/better_auth.rs"]
mod better_auth;

use std::path::Path;
use std::process::Command;

use better_auth::Keys;

/// The folder of the client, whose packages `deploy/setup.sh test` installs.
const FOLDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/clients/better-auth"
);

#[test]
fn every_method_of_the_official_client_does_what_it_says() {
    let folder = Path::new(FOLDER);
    let installed = folder.join("node_modules/@better-auth/api-key");
    assert!(installed.is_dir(), "run deploy/setup.sh test first");
    let keys = Keys::with(&["metadata = true"]);
    let output = Command::new("node")
        .arg("client.mjs")
        .current_dir(folder)
        .env(
            "BASE_URL",
            format!("http://{}", keys.site.gateway.control_addr()),
        )
        .env("OWNER", &keys.owner)
        .env("STRANGER", keys.owner(&["--account", "acme"]))
        .output()
        .expect("node is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    for method in [
        "create",
        "get",
        "list",
        "update",
        "verify",
        "delete",
        "deleteAllExpiredApiKeys",
    ] {
        assert!(
            said.lines().any(|line| line == method),
            "{method} is missing in {said}"
        );
    }
}
