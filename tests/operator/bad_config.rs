//! A bad configuration is named with its place, and nothing starts.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use rusqlite::Connection;
use testkit::client::Request;
use testkit::port::Port;
use testkit::{Cli, CliOutput, Config, Gateway, Upstream, binary};

struct Bad {
    what: &'static str,
    /// The text of the file; `LISTEN` stands for a free address.
    text: &'static str,
    line: usize,
    /// A word that the message must contain.
    names: &'static str,
}

const GOOD: &str = "[server]\nlisten = [\"LISTEN\"]\ncontrol = \"CONTROL\"\nmetrics = \"METRICS\"\ndata_dir = \"data\"\n\n\
                    [[app]]\nname = \"api\"\nupstreams = [\"http://127.0.0.1:9\"]\n";

const CASES: [Bad; 14] = [
    Bad {
        what: "an unknown key",
        text: "[server]\nlisten = [\"LISTEN\"]\nlissten = 1\n",
        line: 3,
        names: "lissten",
    },
    Bad {
        what: "an unknown table",
        text: "[server]\nlisten = [\"LISTEN\"]\n\n[sever]\n",
        line: 4,
        names: "sever",
    },
    Bad {
        what: "a wrong type",
        text: "[server]\nlisten = [\"LISTEN\"]\nthreads = \"two\"\n",
        line: 3,
        names: "threads",
    },
    Bad {
        what: "no TOML",
        text: "[server]\nlisten = = 1\n",
        line: 2,
        names: "",
    },
    Bad {
        what: "a word that is not allowed",
        text: "[server]\nlisten = [\"LISTEN\"]\n[journal]\ndurability = \"maybe\"\n",
        line: 4,
        names: "process",
    },
    Bad {
        what: "an upstream that cannot be parsed",
        text: "[server]\nlisten = [\"LISTEN\"]\n[[app]]\nname = \"api\"\nupstreams = [\"htp://nowhere:99999\"]\n",
        line: 5,
        names: "htp://nowhere:99999",
    },
    Bad {
        what: "two apps on one host and path",
        text: "[server]\nlisten = [\"LISTEN\"]\n\
               [[app]]\nname = \"one\"\nhosts = [\"a.test\"]\nupstreams = [\"http://127.0.0.1:9\"]\n\
               [[app]]\nname = \"two\"\nhosts = [\"a.test\"]\nupstreams = [\"http://127.0.0.1:9\"]\n",
        line: 9,
        names: "a.test",
    },
    Bad {
        what: "a missing environment variable",
        text: "[server]\nlisten = [\"LISTEN\"]\nsecret = \"${TALLYGATE_TEST_NOT_SET}\"\n",
        line: 3,
        names: "TALLYGATE_TEST_NOT_SET",
    },
    Bad {
        what: "certificates that no version so far serves",
        text: "[server]\nlisten = [\"LISTEN\"]\n\n[[server.tls]]\ncert = \"a.pem\"\nkey = \"a.key\"\n",
        line: 4,
        names: "`[[server.tls]]` is not in this version",
    },
    Bad {
        what: "included units that no version so far takes off the bill",
        text: "[server]\nlisten = [\"LISTEN\"]\n[[plan]]\nname = \"pro\"\nincluded_units = 1000\n",
        line: 5,
        names: "`included_units` is not in this version",
    },
    Bad {
        what: "a store that cannot be meant",
        text: "[server]\nlisten = [\"LISTEN\"]\n[store]\nurl = \"postgres://u@h/db?sslmode=perhaps\"\n\
               [[app]]\nname = \"api\"\nupstreams = [\"http://127.0.0.1:9\"]\n",
        line: 4,
        names: "sslmode",
    },
    Bad {
        what: "a Redis that cannot be meant",
        text: "[server]\nlisten = [\"LISTEN\"]\n[redis]\nurl = \"redis+sentinel://a\"\n\
               [[app]]\nname = \"api\"\nupstreams = [\"http://127.0.0.1:9\"]\n",
        line: 4,
        names: "url: the name of the service is missing",
    },
    Bad {
        what: "times of the tries of webhooks that do not grow",
        text: "[server]\nlisten = [\"LISTEN\"]\n[webhooks]\nschedule = [\"0s\", \"0s\"]\n",
        line: 4,
        names: "schedule: these are not the times of tries",
    },
    Bad {
        what: "a plan that is not there",
        text: "[server]\nlisten = [\"LISTEN\"]\n\
               [[app]]\nname = \"api\"\nupstreams = [\"http://127.0.0.1:9\"]\nplan = \"gold\"\n",
        line: 6,
        names: "gold",
    },
];

fn write(folder: &Path, text: &str, port: &Port) -> std::path::PathBuf {
    let path = folder.join("gateway.toml");
    fs::write(&path, text.replace("LISTEN", &port.addr().to_string()))
        .expect("a file can be written");
    path
}

fn assert_named(output: &CliOutput, file: &Path, bad: &Bad) {
    let what = bad.what;
    assert_eq!(output.code, 78, "{what}: {output:?}");
    let place = format!("{}:{}:", file.display(), bad.line);
    let line = output.stderr.lines().find(|line| line.contains(&place));
    let line = line.unwrap_or_else(|| panic!("{what}: no line with {place} in {output:?}"));
    let rest = &line[line.find(&place).expect("the place is there") + place.len()..];
    let column: String = rest.chars().take_while(char::is_ascii_digit).collect();
    assert!(
        !column.is_empty() && rest[column.len()..].starts_with(": "),
        "{what}: no column in {line:?}"
    );
    assert!(
        output.stderr.contains(bad.names),
        "{what}: {:?} is not named in {output:?}",
        bad.names
    );
}

#[test]
fn check_and_run_name_file_line_column_and_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let port = Port::take();
    for bad in &CASES {
        let file = write(folder.path(), bad.text, &port);
        let cli = Cli::new(binary!().as_ref(), file.clone());
        for command in ["check", "run"] {
            assert_named(&cli.run(&[command]), &file, bad);
        }
        assert!(
            !folder.path().join("data").exists(),
            "{}: data was made",
            bad.what
        );
    }
}

#[test]
fn a_good_configuration_passes_the_check_and_starts_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let ports: Vec<Port> = (0..3).map(|_| Port::take()).collect();
    let text = GOOD
        .replace("CONTROL", &ports[1].addr().to_string())
        .replace("METRICS", &ports[2].addr().to_string())
        .replace("\"data\"", &format!("{:?}", folder.path().join("data")));
    let file = write(folder.path(), &text, &ports[0]);
    let output = Cli::new(binary!().as_ref(), file).run(&["check"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(output.stderr, "");
    let free = write(
        folder.path(),
        &format!("{text}billable = [\"200\"]\n"),
        &ports[0],
    );
    let output = Cli::new(binary!().as_ref(), free).run(&["check"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        output
            .stderr
            .contains("warning: app `api`: `billable` has 200 and lacks 206 and 304"),
        "{output:?}"
    );
    assert!(!folder.path().join("data").exists());
}

#[test]
fn run_binds_no_port_for_a_bad_configuration() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let port = Port::take();
    let addr: SocketAddr = port.addr();
    let file = write(folder.path(), CASES[0].text, &port);
    // A listener of ours on the same port: the gate would fail with another code if it had tried to bind first.
    let listener = std::net::TcpListener::bind(addr).expect("the port is free");
    let output = Cli::new(binary!().as_ref(), file).run(&["run"]);
    assert_eq!(output.code, 78, "{output:?}");
    drop(listener);
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn a_missing_file_is_a_bad_configuration() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("nowhere.toml");
    let output = Cli::new(binary!().as_ref(), file).run(&["run"]);
    assert_eq!(output.code, 78, "{output:?}");
    assert!(output.stderr.contains("nowhere.toml"), "{output:?}");
}

#[test]
fn a_bad_argument_is_one_line_and_exit_code_2() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let cli = Cli::new(binary!().as_ref(), folder.path().join("gateway.toml"));
    let cases: [&[&str]; 5] = [
        &["frobnicate"],
        &["license", "create"],
        &["license", "create", "--app", "api", "--remaining", "many"],
        &["license", "create", "--app", "api", "--rate-limit", "10"],
        &["usage", "--by", "colour"],
    ];
    for arguments in cases {
        let output = cli.run(arguments);
        assert_eq!(output.code, 2, "{arguments:?}: {output:?}");
        assert_eq!(
            (output.stderr.lines().count(), output.stdout.as_str()),
            (1, ""),
            "{arguments:?}: {output:?}"
        );
    }
}

/// Starts once more a gate that was killed, and says how that ended.
fn refused_start(gateway: &Gateway) -> CliOutput {
    let output = gateway.cli().run(&["run"]);
    assert_eq!(output.code, 78, "{output:?}");
    output
}

/// Writes the version that a segment or the table of marks carries.
fn set_version(path: &Path, version: u8) {
    let mut bytes = fs::read(path).expect("it can be read");
    bytes[8] = version;
    fs::write(path, bytes).expect("it can be written");
}

#[test]
fn what_a_newer_version_wrote_is_refused_by_name_and_left_alone() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(binary!(), Config::new(&upstream.url()));
    let license = gateway.license(&[]);
    let answer = gateway.call(&Request::get("/").key(&license.key));
    assert_eq!(answer.status, 200);
    gateway.kill9();

    let journals = fs::read_dir(gateway.data_dir().join("journal")).expect("journals");
    let mut journals = journals.flatten().filter(|entry| entry.path().is_dir());
    let journal = journals.next().expect("that of the first start").path();
    let segments = fs::read_dir(&journal).expect("its files").flatten();
    let mut segments: Vec<_> = segments
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "seg"))
        .collect();
    segments.sort();
    for file in [segments.remove(0), journal.join("marks")] {
        set_version(&file, 9);
        let output = refused_start(&gateway);
        let name = file.file_name().expect("a name").to_string_lossy();
        assert!(
            output.stderr.contains(&*name) && output.stderr.contains("use the newer release"),
            "{output:?}"
        );
        set_version(&file, 1);
    }

    for name in ["licenses.db", "ledger.db"] {
        let file = Connection::open(gateway.data_dir().join(name)).expect("opens");
        let version = |version: u32| {
            let set = file.pragma_update(None, "user_version", version);
            set.expect("it can be written");
        };
        let ours: u32 = file
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .expect("a number");
        version(ours + 1);
        let output = refused_start(&gateway);
        assert!(output.stderr.contains(name), "{output:?}");
        version(ours);
    }

    // Nothing was lost by any of it.
    gateway.restart();
    let record = gateway.record(answer.call_id());
    assert_eq!(record["status"], 200, "{record}");
}
