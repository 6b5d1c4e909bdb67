//! What the command line says when an argument or a gate is not what it should be: a sentence of its own, and an exit code.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;

use testkit::{Site, binary};

/// What no sentence of ours has in it.
const RAW: [&str; 7] = [
    "os error",
    "expected value",
    "EOF",
    "line 1 column",
    "invalid type",
    "SUN_LEN",
    "hyper",
];

#[test]
fn a_wrong_argument_is_told_what_would_work() {
    let site = Site::start(binary!());
    let license = site.gateway.license(&[]);
    let id = license.id.as_str();
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().display().to_string();
    let file = site.gateway.config_path().display().to_string();
    let data_dir = site.gateway.data_dir().display().to_string();
    let export = ["ledger", "export", "--format", "csv", "--output", &folder];
    for (arguments, code, says) in [
        (
            &["apikey", "create", "--metadata", "{"][..],
            2,
            "this is no JSON",
        ),
        (
            &["apikey", "create", "--metadata", "[1]"],
            2,
            "this is JSON and no object",
        ),
        (
            &["license", "change", id, "--concurrency=-1"],
            2,
            "without a sign",
        ),
        (&["calls", "--limit=-1"], 2, "without a sign"),
        (
            &["license", "extend", id, "--remaining=-1"],
            2,
            "adds nothing",
        ),
        (
            &["license", "change", id, "--plan", "x", "--clear", "plan"],
            2,
            "give one of the two",
        ),
        (
            &["license", "extend", id, "--by", "30d"],
            1,
            "give it one with --expires-at",
        ),
        (
            &[
                "license",
                "end-key",
                id,
                "crd_0198c0de0198c0de0198c0de0198c0de",
            ],
            1,
            "is not a credential",
        ),
        (&export, 2, "this is a folder: name a file in it"),
        (
            &["ledger", "ship", "/no/such/folder"],
            1,
            "there is no such folder",
        ),
        (
            &["ledger", "ship", &file],
            1,
            "is a file: name the `journal` folder",
        ),
        (&["ledger", "ship", &data_dir], 1, "name the journal in it"),
    ] {
        let output = site.gateway.cli().run(arguments);
        assert_eq!(output.code, code, "{arguments:?}: {output:?}");
        assert!(output.stderr.contains(says), "{arguments:?}: {output:?}");
        assert!(
            RAW.iter().all(|raw| !output.stderr.contains(raw)),
            "{output:?}"
        );
    }
    for arguments in [
        &["usage", "--app", "nope"][..],
        &["calls", "--app", "nope"],
        &["ledger", "export", "--format", "csv", "--app", "nope"],
    ] {
        let output = site.gateway.cli().run(arguments);
        assert_eq!(output.code, 0, "{output:?}");
        assert!(output.stderr.contains("has no app `nope`"), "{output:?}");
    }
}

#[test]
fn a_server_that_is_no_gate_is_told_of_in_words() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "",
    ];
    let says = [
        "none that a gate gives",
        "it answers 404",
        "no HTTP",
        "ended the connection",
    ];
    let server = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("accepted");
            let mut head = [0; 4_096];
            let _ = std::io::Read::read(&mut stream, &mut head);
            stream.write_all(answer.as_bytes()).expect("written");
        }
    });
    for says in says {
        let output = std::process::Command::new(binary!())
            .args(["license", "list"])
            .env("TALLYGATE_URL", &url)
            .env("TALLYGATE_KEY", "key")
            .output()
            .expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.contains(says), "{says}: {stderr}");
        assert!(RAW.iter().all(|raw| !stderr.contains(raw)), "{stderr}");
    }
    server.join().expect("answered");
}

#[test]
fn a_data_dir_that_cannot_be_one_is_refused_by_the_check_as_by_a_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("gateway.toml");
    fs::write(folder.path().join("taken"), "").expect("written");
    let long = "d".repeat(120);
    for (data_dir, says) in [
        (
            "taken",
            "this is a file, and a gate keeps its data in a folder",
        ),
        (long.as_str(), "name one with a shorter path"),
    ] {
        let text = format!(
            "[server]\ndata_dir = \"{data_dir}\"\n[[app]]\nname = \"api\"\nupstreams = [\"http://127.0.0.1:1\"]\n"
        );
        fs::write(&config, text).expect("written");
        let binary = Path::new(binary!());
        for command in ["check", "run"] {
            let output = testkit::Cli::new(binary, config.clone()).run(&[command]);
            assert_eq!(output.code, 78, "{command}: {output:?}");
            assert!(output.stderr.contains(says), "{command}: {output:?}");
            assert!(
                RAW.iter().all(|raw| !output.stderr.contains(raw)),
                "{output:?}"
            );
        }
    }
}
