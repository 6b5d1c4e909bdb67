//! The native API under requests that are made from its own document.

use std::process::Command;

use testkit::{App, Config, Site, binary};

/// What must hold of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance";
/// Random requests for each operation; those that are derived from the document's rules come on top.
const EXAMPLES: &str = "20";

#[test]
fn schemathesis_finds_no_server_error_and_no_answer_that_the_document_does_not_describe() {
    // Where `make test` installs it.
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/venv/bin/python");
    let python = std::env::var("TALLYGATE_TEST_PYTHON").unwrap_or_else(|_| installed.to_owned());
    let site = Site::with(binary!(), |upstream| {
        let plan = "[[plan]]\nname = \"pro\"\ncurrency = \"EUR\"\nprice_per_unit = \"0.01\"";
        let app = App::new("api", upstream).line("plan = \"pro\"");
        Config::default().table(plan).app(app)
    });
    // So that lists and sums have something to show.
    let license = site.gateway.license(&["--remaining", "9"]);
    let call = testkit::Request::get("/").key(&license.key);
    assert_eq!(site.gateway.call(&call).status, 200);
    let key = site.gateway.cli().json(&["key", "create"]);
    let key = key["key"].as_str().expect("a key");
    let control = site.gateway.control_addr();
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(&python)
        .args(["-m", "schemathesis.cli", "run"])
        .arg(format!("http://{control}/api/v1/openapi.json"))
        .args(["--header", &format!("Authorization: Bearer {key}")])
        .args(["--checks", CHECKS, "--max-examples", EXAMPLES])
        .args(["--phases", "examples,coverage,fuzzing", "--no-shrink"])
        .args(["--suppress-health-check", "all", "--warnings", "off"])
        .current_dir(&folder)
        .output()
        .unwrap_or_else(|error| panic!("{python} runs: {error}"));
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{errors}");
    let books = site.gateway.verify();
    assert_eq!(books["clean"], true, "{books}");
}
