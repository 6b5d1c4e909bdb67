//! No credential reaches the upstream, a log at any level, or a disk in the clear.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use testkit::client::Request;
use testkit::{Config, Gateway, Postgres, Redis, Upstream, assert_eventually, binary};

/// Files under a folder that contain the text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if contains(&fs::read(&path).unwrap_or_default(), text.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

fn traced(upstream: &Upstream) -> Config {
    Config::new(&upstream.url()).table("[log]\nlevel = \"trace\"")
}

#[test]
fn keys_are_in_no_log_no_file_and_no_forwarded_request() {
    let upstream = Upstream::start();
    assert_no_secret_shows(&upstream, traced(&upstream));
}

#[test]
fn keys_are_in_no_log_where_the_store_is_postgresql_and_redis_its_cache() {
    let (server, redis, upstream) = (Postgres::start(), Redis::start(), Upstream::start());
    let store = format!("[store]\nurl = \"{}\"", server.database());
    let cache = format!("[redis]\nurl = \"{}\"", redis.url());
    let config = traced(&upstream).table(&store).table(&cache);
    let log = assert_no_secret_shows(&upstream, config);
    // A statement with its values, whatever is in them, may name who is in the store.
    for client in ["tokio_postgres", "redis::"] {
        let line = log.lines().find(|line| line.contains(client));
        assert!(line.is_none(), "{line:?}");
    }
}

/// Calls with keys of all kinds, and gives the log of a gate that has ended.
fn assert_no_secret_shows(upstream: &Upstream, config: Config) -> String {
    let mut gateway = Gateway::start(binary!(), config);
    let license = gateway.license(&[]);
    let uuid = gateway.license(&["--key-format", "uuid"]);
    let imported = "6f1c1d7e-0f2b-4c39-9a51-3d9f5a7b1c2d";
    let _ = gateway.license(&["--key", imported]);
    let management = gateway.cli().json(&["key", "create", "--name", "robot"]);
    let management = management["key"]
        .as_str()
        .expect("a management key")
        .to_owned();
    let unknown = "sneaky-unknown-key-0123456789";
    let user = "somebody-whom-no-log-may-name";
    let _ = gateway.license(&["--user", user]);
    let secrets = [
        license.key.as_str(),
        &uuid.key,
        &management,
        unknown,
        imported,
    ];

    for key in [&license.key, &uuid.key, imported] {
        assert_eq!(gateway.call(&Request::get("/echo").key(key)).status, 200);
        // A key that a caller puts into the path is the caller's doing, but no log may keep it.
        let _ = gateway.call(&Request::get(&format!("/echo/{key}?license_key={key}")).key(key));
        let _ = gateway.call(&Request::get(&format!("/echo?key={key}")));
    }
    for key in [unknown, &management] {
        assert_eq!(gateway.call(&Request::get("/").key(key)).status, 401);
        let _ = gateway.call(&Request::get("/").header("Authorization", &format!("Bearer {key}")));
    }
    let _ = gateway.call(&Request::get("/reset-before-head").key(&license.key));
    let _ = gateway.cli().text(&["license", "show", &license.id]);
    assert_eq!(gateway.stop().code(), Some(0));

    for secret in secrets {
        let log = gateway.log();
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} is in the log: {line:?}");
        let files = files_with(&gateway.data_dir(), secret);
        assert!(files.is_empty(), "{secret} is in {files:?}");
    }
    for served in upstream.served() {
        let carrier = served
            .headers
            .iter()
            .find(|(_, value)| secrets.iter().any(|secret| value == secret));
        assert!(
            carrier.is_none(),
            "{carrier:?} reached the upstream in {}",
            served.target
        );
    }
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains(user));
    assert!(line.is_none(), "a user is named in the log: {line:?}");
    log
}

#[test]
fn the_list_of_licenses_and_the_metrics_hold_no_key() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(binary!(), Config::new(&upstream.url()));
    let license = gateway.license(&[]);
    let _ = gateway.call(&Request::get("/").key(&license.key));
    let texts = [
        gateway.cli().text(&["license", "list", "--json"]),
        gateway
            .cli()
            .text(&["license", "show", &license.id, "--json"]),
        gateway.cli().text(&["calls", "--json"]),
        gateway.cli().text(&["usage", "--by", "license", "--json"]),
        gateway.scrape("/metrics").expect("an answer").text(),
    ];
    for text in texts {
        assert!(!text.contains(&license.key), "{text}");
    }
    let metrics = gateway.scrape("/metrics").expect("an answer").text();
    assert!(
        !metrics.contains(&license.id),
        "a metric has a label per license"
    );
}

#[test]
fn the_data_folder_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let upstream = Upstream::start();
    let gateway = Gateway::start(binary!(), Config::new(&upstream.url()));
    let mut socket_seen = false;
    for entry in fs::read_dir(gateway.data_dir())
        .expect("the data folder is there")
        .flatten()
    {
        let metadata = entry.metadata().expect("an entry has metadata");
        let name = entry.file_name().to_string_lossy().into_owned();
        let socket = std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type());
        socket_seen |= socket;
        if socket || name.contains("secret") {
            assert_eq!(
                metadata.permissions().mode() & 0o077,
                0,
                "{name} is open to others"
            );
        }
    }
    assert!(socket_seen, "no socket for the command line");
}

/// Files and folders below a folder with who may use them, but for the sockets.
fn modes_below(folder: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let (path, metadata) = (entry.path(), entry.metadata().expect("it is there"));
        let mode = metadata.permissions().mode() & 0o777;
        found.push((path.display().to_string(), mode));
        if metadata.is_dir() {
            found.extend(modes_below(&path));
        }
    }
    found
}

#[test]
fn what_a_gate_writes_is_its_users_alone_even_in_a_folder_that_was_there() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::prepare(binary!(), Config::new(&upstream.url()));
    let data_dir = gateway.data_dir();
    fs::create_dir_all(&data_dir).expect("a folder can be made");
    fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o755)).expect("it is ours");
    gateway.launch();
    gateway.wait_until_ready();
    let license = gateway.license(&[]);
    let _ = gateway.call(&Request::get("/").key(&license.key));
    assert_eq!(gateway.verify()["lost"], 0);
    assert!(gateway.stop().success());
    let found = modes_below(&data_dir);
    // The journal, both databases, the secret and a sealed file are among them.
    assert!(found.len() > 6, "{found:?}");
    let open: Vec<_> = found.iter().filter(|(_, mode)| mode & 0o077 != 0).collect();
    assert!(open.is_empty(), "others may use {open:?}");
    assert!(
        gateway
            .log()
            .contains("others may enter the data directory")
    );
}

#[test]
fn files_that_were_copied_back_are_its_users_alone_after_the_start() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(binary!(), Config::new(&upstream.url()));
    let license = gateway.license(&[]);
    let _ = gateway.call(&Request::get("/").key(&license.key));
    assert_eq!(gateway.verify()["lost"], 0);
    assert!(gateway.stop().success());
    let data_dir = gateway.data_dir();
    for (path, _) in modes_below(&data_dir) {
        let path = Path::new(&path);
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        if !path.ends_with("secret") {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
        }
    }
    // What somebody else put there is theirs.
    let other = data_dir.join("notes.txt");
    fs::write(&other, "backed up by cron").expect("it is ours");
    fs::set_permissions(&other, fs::Permissions::from_mode(0o644)).expect("it is ours");
    gateway.launch();
    gateway.wait_until_ready();
    let open = || {
        let mut found = modes_below(&data_dir);
        found.retain(|(path, mode)| mode & 0o077 != 0 && Path::new(path) != other);
        found
    };
    assert_eventually!(open().is_empty());
    let mode = fs::metadata(&other).expect("it is there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o644);
    assert!(gateway.log().contains("they are 0600 again"));
    assert!(gateway.stop().success());
    assert!(open().is_empty(), "{:?}", open());
}

#[test]
fn a_secret_that_everybody_may_read_ends_the_start() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::start(binary!(), Config::new(&upstream.url()));
    assert!(gateway.stop().success());
    let secret = gateway.data_dir().join("secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).expect("it is ours");
    gateway.launch();
    let status = gateway.wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(78), "{}", gateway.log());
    assert!(
        gateway.log().contains("run `chmod 600`"),
        "{}",
        gateway.log()
    );
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("it is ours");
    gateway.restart();
}
