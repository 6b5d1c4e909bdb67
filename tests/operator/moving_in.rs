//! `license import`: sellers who come with licenses and keys of another system.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::apimw::bearer;
use serde_json::{Value, json};
use testkit::client::{self, Request};
use testkit::{CliOutput, Gateway, Site, assert_eventually, binary};

/// SHA-256 of `old-key-hashed-1` in hexadecimal digits, and of `old-key-hashed-2` as better-auth keeps it.
const HASHED: [&str; 2] = [
    "74f6da47e33f75771d0e57c6b1088baf7e6c69c190db3b05829922b91e8047c8",
    "PWzFOjT0bVgyaB1eeKlShsUoJEmbl2wiYP7uEudg0Jg",
];

/// Writes a file into a site's folder.
fn file(gateway: &Gateway, name: &str, text: &str) -> PathBuf {
    let path = gateway.config_path().with_file_name(name);
    fs::write(&path, text).expect("the folder takes files");
    path
}

fn import(gateway: &Gateway, file: &Path, more: &[&str]) -> CliOutput {
    let file = file.display().to_string();
    let arguments = ["license", "import", &file, "--app", "api"];
    gateway.cli().run(&[&arguments[..], more].concat())
}

/// Imports a file, which must succeed, and returns what is said of it.
fn imported(gateway: &Gateway, file: &Path, more: &[&str]) -> Value {
    let output = import(gateway, file, &[more, &["--json"]].concat());
    assert_eq!(output.code, 0, "{output:?}");
    serde_json::from_str(&output.stdout).expect("JSON")
}

fn counts(said: &Value) -> [u64; 4] {
    ["rows", "made", "there", "bad"].map(|name| said[name].as_u64().expect(name))
}

fn listed(gateway: &Gateway) -> Vec<Value> {
    let listed = gateway.cli().json(&["license", "list"]);
    listed.as_array().expect("a list").clone()
}

fn status(gateway: &Gateway, key: &str) -> u16 {
    client::call(gateway.addr(), &Request::get("/").key(key)).status
}

#[test]
fn licenses_of_authforge_come_in_by_csv_and_by_the_answers_of_its_list_calls() {
    let site = Site::start(binary!());
    let gateway = &site.gateway;
    let csv = file(
        gateway,
        "authforge.csv",
        "licenseKey,status,hwidList,maxHwidSlots,expiresAt,label,appId\r\n\
         A3K9-BFWX-7NP2-QHDT,active,dev-1;dev-2,2,,\"Ada, first\",app-1\r\n\
         B3K9BFWX7NP2QHDT,revoked,,1,2020-01-01T00:00:00Z,,app-1\r\n",
    );
    let dry = imported(gateway, &csv, &["--dry-run", "--key-format", "authforge"]);
    assert_eq!(counts(&dry), [2, 2, 0, 0]);
    assert_eq!(dry["written"], false);
    assert_eq!(dry["ended"], 1);
    assert_eq!(dry["not_taken"], json!(["appId"]));
    assert_eq!(listed(gateway).len(), 0);

    let format = ["--key-format", "authforge"];
    assert_eq!(counts(&imported(gateway, &csv, &format)), [2, 2, 0, 0]);
    let licenses = listed(gateway);
    let devices = licenses[0]["devices"].as_array().expect("a list").iter();
    let devices: Vec<_> = devices.map(|device| &device["id"]).collect();
    assert_eq!(devices, ["dev-1", "dev-2"]);
    assert_eq!(licenses[0]["label"], "Ada, first");
    assert_eq!(licenses[0]["device_slots"], 2);
    assert_eq!(licenses[1]["status"], "disabled");
    assert_eq!(licenses[1]["expires_at"], "2020-01-01T00:00:00Z");
    assert_eq!(status(gateway, "A3K9-BFWX-7NP2-QHDT"), 200);
    assert_eq!(status(gateway, "B3K9-BFWX-7NP2-QHDT"), 403);

    let app = gateway.cli().json(&["app", "credentials", "api"]);
    let management = gateway.cli().json(&["key", "create"]);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let path = format!("/v1/licenses?appId={}", text(&app["app_id"]));
    let list = bearer(Request::get(&path), &text(&management["key"]));
    let list = client::call(gateway.control_addr(), &list).json();
    let keys = [0, 1].map(|at| text(&list["licenses"][at]["licenseKey"]));
    assert_eq!(keys, ["A3K9-BFWX-7NP2-QHDT", "B3K9-BFWX-7NP2-QHDT"]);

    let pages = file(
        gateway,
        "pages.jsonl",
        concat!(
            r#"{"licenses":[{"licenseKey":"A3K9-BFWX-7NP2-QHDT","appId":"app-1","status":"active"}],"cursor":"x"}"#,
            "\n",
            r#"{"licenses":[{"licenseKey":"C3K9-BFWX-7NP2-QHDT","status":"active","unlimitedHwidSlots":true,"hwidList":[],"label":null}],"cursor":null}"#,
        ),
    );
    assert_eq!(counts(&imported(gateway, &pages, &[])), [2, 1, 1, 0]);
    assert_eq!(listed(gateway)[2]["unlimited_devices"], true);
    assert_eq!(status(gateway, "C3K9-BFWX-7NP2-QHDT"), 200);
}

#[test]
fn keys_that_are_known_by_their_hash_alone_open_the_gate_when_they_are_presented() {
    let site = Site::start(binary!());
    let gateway = &site.gateway;
    let jsonl = json!({"key_sha256": HASHED[0], "user": "ada", "remaining": 1}).to_string();
    let jsonl = file(gateway, "own.jsonl", &jsonl);
    assert_eq!(counts(&imported(gateway, &jsonl, &[])), [1, 1, 0, 0]);
    let better_auth = format!(
        "id,name,start,prefix,key,user_id,enabled,remaining,expires_at,created_at\n\
         1,Build,old-,,{},u1,1,7,,2026-01-01\n",
        HASHED[1]
    );
    let better_auth = file(gateway, "better-auth.csv", &better_auth);
    assert_eq!(
        counts(&imported(gateway, &better_auth, &["--hashed"])),
        [1, 1, 0, 0]
    );
    assert_eq!(status(gateway, "old-key-hashed-1"), 200);
    assert_eq!(
        status(gateway, "old-key-hashed-1"),
        402,
        "one call was left"
    );
    assert_eq!(status(gateway, "old-key-hashed-2"), 200);
    let second = &listed(gateway)[1];
    assert_eq!(
        (&second["label"], &second["user"]),
        (&json!("Build"), &json!("u1"))
    );
}

/// A file of many rows, with what a test changes in one of them.
fn many(rows: usize, change: impl Fn(usize) -> &'static str) -> String {
    let mut text = "key,device_slots,label\n".to_owned();
    for row in 1..=rows {
        writeln!(text, "old-key-{row:06},{},row {row}", change(row)).expect("memory");
    }
    text
}

#[test]
fn a_file_with_one_wrong_row_writes_nothing_and_its_place_and_remedy_are_named() {
    let site = Site::start(binary!());
    let gateway = &site.gateway;
    let text = many(5_200, |row| if row == 5_000 { "17" } else { "2" });
    let wrong = file(gateway, "wrong.csv", &text);
    let output = import(gateway, &wrong, &[]);
    assert_eq!(output.code, 1, "{output:?}");
    let says = format!("{}:5001: device_slots: must be 1 to 16", wrong.display());
    assert!(output.stderr.contains(&says), "{output:?}");
    assert!(output.stderr.contains("nothing was written"), "{output:?}");
    assert!(!output.stderr.contains("old-key"), "{output:?}");
    assert_eq!(listed(gateway).len(), 0);
    let output = import(gateway, &wrong, &["--json"]);
    let said: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(counts(&said), [5_200, 0, 0, 1], "nothing was written");

    let said = imported(gateway, &wrong, &["--skip-bad"]);
    assert_eq!(counts(&said), [5_200, 5_199, 0, 1]);
    assert_eq!(said["problems"][0]["line"], 5_001);
    assert_eq!(listed(gateway).len(), 5_199);
}

#[test]
fn what_is_wrong_is_listed_in_the_order_of_the_lines_whoever_finds_it() {
    let site = Site::start(binary!());
    let text = "key,device_slots,variables\nold-key-000001,17,\nold-key-000002,2,pro\nold-key-000003,18,\n";
    let path = file(&site.gateway, "order.csv", text);
    let output = import(&site.gateway, &path, &["--dry-run"]);
    let lines = output
        .stderr
        .lines()
        .filter_map(|line| line.split(':').nth(1));
    assert_eq!(
        lines.collect::<Vec<_>>()[..3],
        ["2", "3", "4"],
        "{output:?}"
    );
}

#[test]
fn what_is_wrong_with_a_file_is_said_in_words_and_no_key_is_repeated() {
    let site = Site::start(binary!());
    let gateway = &site.gateway;
    let thirty = many(30, |_| "0");
    for (text, more, says) in [
        (
            "key,colour\nold-key-000001,red\n",
            &[][..],
            "FILE:1: colour: there is no such column",
        ),
        (
            "Old-Key-000001,x\n",
            &[],
            "FILE:1: Old-…: there is no such column",
        ),
        ("", &[], "FILE:1: it is empty"),
        (
            "key\nold-key-000001\nold-key-000001\n",
            &[],
            "FILE:3: key: line 2 has this key",
        ),
        (
            "key,expires_at\nOld-Key-000001,tomorrow\n",
            &[],
            "FILE:2: expires_at: ",
        ),
        (
            "key,expires_at\ntomorrow-then,Old-Key-000001\n",
            &[],
            "FILE:2: expires_at: ",
        ),
        (
            "key\nshort\n",
            &[],
            "FILE:2: key: a key has 8 to 256 characters",
        ),
        (
            "key\nold-key-000001\n",
            &["--hashed"],
            "FILE:2: key_sha256: this is not a SHA-256",
        ),
        (
            "key\nold-key-000001\n",
            &["--key-format", "authforge"],
            "FILE:2: key: does not have the shape",
        ),
        (
            "{\"key\":\"old-key-000001\"\n",
            &[],
            "FILE:1: row: it is no JSON",
        ),
        (
            "{\"key\":\"old-key-000001\",\"variables\":{\"a\":[1]}}\n",
            &[],
            "FILE:1: variables: ",
        ),
        (&thirty, &[], "and 10 more"),
    ] {
        let path = file(gateway, "wrong.csv", text);
        let output = import(gateway, &path, more);
        assert_eq!(output.code, 1, "{text}: {output:?}");
        let shown = output.stderr.replace(&path.display().to_string(), "FILE");
        assert!(shown.contains(says), "{text}: {shown}");
        for key in ["old-key-0", "Old-Key-0"] {
            assert!(
                !shown.contains(key) && !output.stdout.contains(key),
                "{output:?}"
            );
        }
    }
    assert_eq!(listed(gateway).len(), 0);
    let output = import(gateway, Path::new("/no/such/file"), &[]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(
        output
            .stderr
            .contains("cannot be read: there is no such file"),
        "{output:?}"
    );
}

#[test]
fn the_standard_input_is_read_as_a_file_is() {
    let site = Site::start(binary!());
    let gateway = &site.gateway;
    let input = file(gateway, "rows.csv", &many(3, |_| "1"));
    let output = Command::new(binary!())
        .arg("--config")
        .arg(gateway.config_path())
        .args(["license", "import", "-", "--app", "api", "--json"])
        .stdin(Stdio::from(fs::File::open(input).expect("it was written")))
        .output()
        .expect("the command line starts");
    assert!(output.status.success(), "{output:?}");
    let said = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(counts(&said), [3, 3, 0, 0]);
    assert_eq!(listed(gateway).len(), 3);
}

#[test]
fn an_import_whose_gate_is_killed_goes_on_with_the_same_command() {
    const ROWS: usize = 6_000;
    let mut site = Site::start(binary!());
    let path = file(&site.gateway, "rows.csv", &many(ROWS, |_| "2"));
    let arguments = ["license", "import", "FILE", "--app", "api"];
    let command = Command::new(binary!())
        .arg("--config")
        .arg(site.gateway.config_path())
        .args(arguments.map(|word| match word {
            "FILE" => path.as_os_str(),
            word => word.as_ref(),
        }))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command line starts");
    let first = ["license", "list", "--limit", "1"];
    let is_some = |listed: Value| !listed.as_array().expect("a list").is_empty();
    assert_eventually!(is_some(site.gateway.cli().json(&first)));
    site.gateway.kill9();
    let output = command.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success(),
        "the gate was killed too late: {stderr}"
    );
    assert!(
        stderr.contains("the same command goes on from there"),
        "{stderr}"
    );

    site.gateway.restart();
    let [rows, made, there, bad] = counts(&imported(&site.gateway, &path, &[]));
    assert_eq!((rows as usize, made + there, bad), (ROWS, rows, 0));
    assert!(made > 0 && there > 0, "{made} made, {there} there");
    let licenses = listed(&site.gateway);
    let labels: HashSet<_> = licenses
        .iter()
        .map(|one| one["label"].to_string())
        .collect();
    assert_eq!((licenses.len(), labels.len()), (ROWS, ROWS));
    let whole = |one: &Value| one["device_slots"] == 2 && one["credentials"][0]["prefix"] == "old-";
    assert!(licenses.iter().all(whole));
    assert_eq!(status(&site.gateway, "old-key-006000"), 200);
    assert_eq!(
        counts(&imported(&site.gateway, &path, &[])),
        [rows, 0, rows, 0]
    );
}
