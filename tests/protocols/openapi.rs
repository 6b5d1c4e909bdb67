//! The native API under requests that are made from its own document.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use testkit::{App, Config, Site, binary};

/// What must hold of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance";
/// Random requests for each operation; those that are derived from the document's rules come on top.
const EXAMPLES: &str = "8";

/// Forwards every connection to a Unix socket, for ever: to clients that know TCP alone whoever connects is the operator.
fn forwarded(socket: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let forward = move |client: TcpStream| -> io::Result<()> {
        let gate = UnixStream::connect(&socket)?;
        let (mut from_client, mut to_gate) = (client.try_clone()?, gate.try_clone()?);
        thread::spawn(move || {
            let _ended = io::copy(&mut from_client, &mut to_gate);
            let _closed = to_gate.shutdown(Shutdown::Write);
        });
        let (mut from_gate, mut to_client) = (gate, client);
        thread::spawn(move || {
            let _ended = io::copy(&mut from_gate, &mut to_client);
            let _closed = to_client.shutdown(Shutdown::Both);
        });
        Ok(())
    };
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let _gate_is_gone = forward(client);
        }
    });
    address
}

/// A gate with something to show in lists and sums.
fn site() -> Site {
    let site = Site::with(binary!(), |upstream| {
        let plan = "[[plan]]\nname = \"pro\"\ncurrency = \"EUR\"\nprice_per_unit = \"0.01\"";
        let app = App::new("api", upstream).line("plan = \"pro\"");
        Config::default().table(plan).app(app)
    });
    let license = site.gateway.license(&["--remaining", "9"]);
    let call = testkit::Request::get("/").key(&license.key);
    assert_eq!(site.gateway.call(&call).status, 200);
    site
}

/// Asks what the document at an address describes, with more arguments of the tool.
fn ask(address: SocketAddr, more: &[&str]) {
    let python = testkit::python();
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(&python)
        .args(["-m", "schemathesis.cli", "run"])
        .arg(format!("http://{address}/api/v1/openapi.json"))
        .args(["--checks", CHECKS, "--max-examples", EXAMPLES])
        .args(["--phases", "examples,coverage,fuzzing", "--no-shrink"])
        .args(["--suppress-health-check", "all", "--warnings", "off"])
        .args(more)
        .current_dir(&folder)
        .output();
    let output = output.unwrap_or_else(|error| panic!("{python} runs: {error}"));
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{errors}");
}

#[test]
fn schemathesis_finds_no_server_error_and_no_answer_that_the_document_does_not_describe() {
    let site = site();
    let key = site.gateway.cli().json(&["key", "create"]);
    let key = key["key"].as_str().expect("a key");
    let header = format!("Authorization: Bearer {key}");
    ask(site.gateway.control_addr(), &["--header", &header]);
    let books = site.gateway.verify();
    assert_eq!(books["clean"], true, "{books}");
}

/// What is done on the gate's own host only: accounts, signing keys, the books.
#[test]
fn schemathesis_finds_no_server_error_as_the_operator_either() {
    let site = site();
    let socket = site.gateway.data_dir().join("tallygate.sock");
    let paths = "/(accounts|signing-keys|keyring|ledger)";
    ask(forwarded(socket), &["--include-path-regex", paths]);
    let books = site.gateway.verify();
    assert_eq!(books["clean"], true, "{books}");
}
