//! better-auth: the official client package calls every one of its methods against a gate.

use std::path::Path;
use std::process::Command;

use crate::support::better_auth::Keys;
use serde_json::Value;

/// The folder of the client, whose packages `deploy/setup.sh test` installs.
const FOLDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/clients/better-auth"
);

/// The folder with the packages, which must be there.
fn packages() -> &'static Path {
    let folder = Path::new(FOLDER);
    let installed = folder.join("node_modules/@better-auth/api-key");
    assert!(installed.is_dir(), "run deploy/setup.sh test first");
    folder
}

/// The messages of our codes, as they stand in the table of the adapter.
fn our_codes() -> Vec<(String, String)> {
    let table = include_str!("../../crates/control/src/protocol/better_auth/refusal.rs");
    let table = table.split("codes! {").nth(1).expect("a table");
    let table = table.split("\n}\n").next().expect("its end");
    let texts = |line: &str| {
        let texts: Vec<&str> = line.split('"').collect();
        (texts[1].to_owned(), texts[3].to_owned())
    };
    table
        .lines()
        .filter(|line| line.contains('"'))
        .map(texts)
        .collect()
}

/// But for two: who may not do a thing is told of the management key, which the package does not know, and a rate limit is
/// told as the package's verification does.
#[test]
fn every_code_and_message_is_that_of_the_package() {
    let print = "import('@better-auth/api-key').then(m => \
        console.log(JSON.stringify(m.API_KEY_ERROR_CODES)))";
    let output = Command::new("node")
        .args(["--input-type=module", "-e", print])
        .current_dir(packages())
        .output()
        .expect("node is installed");
    let theirs: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let ours = our_codes();
    assert!(ours.len() >= 20, "{ours:?}");
    for (code, message) in &ours {
        match code.as_str() {
            "RATE_LIMITED" => assert_eq!(theirs["RATE_LIMIT_EXCEEDED"]["message"], *message),
            "INSUFFICIENT_API_KEY_PERMISSIONS" => assert_eq!(theirs[code]["code"], *code),
            _ => assert_eq!(
                (&theirs[code]["code"], &theirs[code]["message"]),
                (&Value::from(code.as_str()), &Value::from(message.as_str()))
            ),
        }
    }
    // And the other way round: a code of the package is one of ours, or one that is said never to be given.
    let told = include_str!("../../docs/protocols/better-auth.md");
    let never = told.split("that are never given").nth(1).expect("a list");
    let never = never.split("\n\n").next().expect("its end");
    let theirs = theirs.as_object().expect("a table");
    assert!(theirs.len() >= 25, "{theirs:?}");
    for code in theirs.keys() {
        let given = ours.iter().any(|(own, _)| own == code);
        let listed = never.contains(&format!("`{code}`"));
        assert!(given != listed, "{code}: given {given}, listed {listed}");
    }
}

#[test]
fn every_method_of_the_official_client_does_what_it_says() {
    let folder = packages();
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
