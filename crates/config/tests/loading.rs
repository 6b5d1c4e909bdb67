//! The loading of files from a disk, with an environment.

use std::path::Path;

use config::{Config, Durability, Secret};

const APP: &str = "[[app]]\nname = \"api\"\nupstreams = [\"${UPSTREAM}\"]\n";

fn env(name: &str) -> Option<String> {
    let value = match name {
        "UPSTREAM" => "http://10.0.0.1:9000",
        "KEY" => "quote \" ] and\\n [server]",
        "THREADS" => "3",
        "ON" => "true",
        "BAD" => "hunter2",
        "EMPTY" => "",
        "PASSWORD" => "p@ss/w#rd?100%",
        _ => return None,
    };
    Some(value.to_owned())
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, "t.toml", env).map_err(|errors| errors.to_string())
}

#[test]
fn the_environment_fills_values_and_cannot_add_keys() {
    let text = format!(
        "[server]\nthreads = \"${{THREADS}}\"\nsecret = \"<${{KEY}}>\"\nnode = \"${{EMPTY}}\"\n{APP}\
         forward_user_id = \"${{ON}}\"\n[app.inject_headers]\nX-Key = \"$${{KEY}}\""
    );
    let config = parse(&text).expect("valid");
    assert_eq!(config.server.threads, 3);
    assert_eq!(config.server.node, None);
    assert_eq!(
        config.server.secret.as_ref().map(Secret::expose),
        Some("<quote \" ] and\\n [server]>")
    );
    assert_eq!(
        config.apps[0].upstreams[0].to_string(),
        "http://10.0.0.1:9000"
    );
    assert!(config.apps[0].forward_user_id);
    assert_eq!(config.apps[0].inject_headers[0].1, "${KEY}");
}

#[test]
fn a_password_of_any_signs_goes_into_a_url_in_its_encoded_form() {
    let text = format!(
        "[store]\nurl = \"postgres://u:${{PASSWORD|url}}@db/x\"\n[redis]\nurl = \"redis://:${{PASSWORD|url}}@r\"\n{APP}"
    );
    let config = parse(&text).expect("valid");
    let config::StoreUrl::Postgres(url) = &config.store.url else {
        panic!("not PostgreSQL")
    };
    let encoded = "p%40ss%2Fw%23rd%3F100%25";
    assert_eq!(url.expose(), format!("postgres://u:{encoded}@db/x"));
    assert_eq!(
        config.redis.urls[0].expose(),
        format!("redis://:{encoded}@r")
    );

    let told = parse(&text.replace("|url", "")).expect_err("not encoded");
    let hint = "the value of `${PASSWORD}` has signs that end a part of a URL, such as `@`, `/` or `#`: write `${PASSWORD|url}`, which \
                percent-encodes them";
    assert_eq!(
        told,
        format!("t.toml:2:21: url: {hint}\nt.toml:4:17: url: {hint}")
    );
}

#[test]
fn no_message_holds_a_value_of_the_environment() {
    let keys = [
        ("server", "threads"),
        ("server", "drain"),
        ("server", "metrics"),
        ("server", "trusted_proxies"),
        ("store", "url"),
        ("redis", "url"),
        ("journal", "keep"),
        ("journal", "keep_bytes"),
        ("log", "level"),
        ("better_auth", "metadata"),
    ];
    for (section, key) in keys {
        for value in ["\"${BAD}\"", "[\"${BAD}\"]"] {
            let errors = parse(&format!("{APP}[{section}]\n{key} = {value}")).expect_err(key);
            assert!(
                errors.contains(key) && !errors.contains("hunter2"),
                "{errors}"
            );
        }
    }
    for line in [
        "account = \"${BAD} x\"",
        "billable = [\"${BAD}\"]",
        "methods = [\"${BAD}\"]",
        "upstreams = [\"${BAD}\"]",
    ] {
        let errors = parse(&format!(
            "{}{line}",
            APP.replace("upstreams = [\"${UPSTREAM}\"]\n", "")
        ))
        .expect_err(line);
        assert!(!errors.contains("hunter2"), "{errors}");
    }
}

#[test]
fn relative_paths_count_from_the_folder_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    std::fs::write(
        &path,
        format!("[server]\ndata_dir = \"d\"\n[ledger]\ndirectory = \"/l\"\n{APP}"),
    )
    .unwrap();
    let config = Config::load(&path, env).expect("valid");
    assert_eq!(config.server.data_dir, folder.path().join("d"));
    assert_eq!(config.ledger_directory(), Path::new("/l"));
    let default = Config::parse(APP, "etc/gateway.toml", env).expect("valid");
    assert_eq!(default.ledger_directory(), Path::new("etc/data/ledger"));
}

#[test]
fn the_data_folder_is_found_without_the_rest_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    std::fs::write(
        &path,
        "[server]\nsecret = \"${NOT_SET}\"\ndata_dir = \"d\"\n",
    )
    .unwrap();
    assert!(Config::load(&path, env).is_err());
    assert_eq!(
        config::data_dir(&path, env).expect("found"),
        folder.path().join("d")
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = Config::load(Path::new("/nowhere/gateway.toml"), env)
        .expect_err("missing")
        .to_string();
    assert!(
        missing.starts_with("/nowhere/gateway.toml:1:1: the file cannot be read: "),
        "{missing}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin.toml");
    std::fs::write(&path, b"# caf\xe9\n").unwrap();
    let errors = Config::load(&path, env).expect_err("not UTF-8").to_string();
    assert!(
        errors.ends_with(":1:1: the file is not UTF-8 at byte 5: save it as UTF-8"),
        "{errors}"
    );
    assert!(Config::load(folder.path(), env).is_err());
}

#[test]
fn what_a_route_and_an_app_leave_open_comes_from_above_them() {
    let text = format!(
        "[journal]\ndurability = \"process\"\n{APP}billable = [\"2xx\", 404]\non_revoke = \"finish\"\n\
         [[app.route]]\npath = \"/a\"\n[[app.route]]\npath = \"/b\"\nbillable = []\non_revoke = \"cut\"\n\
         [[app]]\nname = \"other\"\nhosts = [\"other\"]\nupstreams = [\"http://o\"]\ndurability = \"disk\"\nbody_limit = 0"
    );
    let config = parse(&text).expect("valid");
    let [api, other] = config.apps.as_slice() else {
        panic!("two apps")
    };
    assert_eq!(
        (api.durability, other.durability),
        (Durability::Process, Durability::Disk)
    );
    assert_eq!(other.body_limit, None);
    // What the file names goes for every way that a call can come.
    for named in [
        api.routes[0].billable.forwarded,
        api.routes[0].billable.by_rpc,
        api.routes[0].billable.own_ways,
    ] {
        assert!(named.contains(299) && named.contains(404));
    }
    assert_eq!(api.routes[1].billable.forwarded.iter().count(), 0);
    let default = other.served_routes()[0].billable;
    assert_eq!(default, config::Billable::default());
    let warnings = config.warnings();
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:?}")
    };
    assert!(
        warning.starts_with("app `api`: `billable` has 200 and lacks 304,"),
        "{warning}"
    );
    assert_eq!(
        (
            api.routes[0].on_revoke.as_str(),
            api.routes[1].on_revoke.as_str()
        ),
        ("finish", "cut")
    );
}

#[test]
fn an_app_that_bills_nothing_or_lets_callers_leave_for_nothing_is_warned_of() {
    let warnings = |line: &str| {
        let app = "[[app]]\nname = \"api\"\nupstreams = [\"http://u\"]\n";
        let config = parse(&format!("{app}{line}\n")).expect("valid");
        config.warnings().join("\n")
    };
    for (line, told) in [
        (
            "billable = []",
            "`billable` is empty: no call costs anything",
        ),
        (
            "billable_outcomes = [\"delivered\"]",
            "`billable_outcomes` lacks \"client_gone\": callers who leave",
        ),
        (
            "billable_outcomes = [\"client_gone\"]",
            "`billable_outcomes` lacks \"delivered\": calls that were answered",
        ),
        ("billable_outcomes = []", "lacks \"delivered\""),
    ] {
        let all = warnings(line);
        assert!(
            all.starts_with("app `api`: ") && all.contains(told),
            "{line}: {all}"
        );
        assert_eq!(all.lines().count(), 1, "{all}");
    }
    assert_eq!(
        warnings("billable_outcomes = [\"delivered\", \"client_gone\"]"),
        ""
    );
}

#[test]
fn two_apps_share_a_host_by_path() {
    let app = |name: &str, path: &str| {
        format!(
            "[[app]]\nname = \"{name}\"\nhosts = [\"h\"]\npaths = [\"{path}\"]\nupstreams = [\"http://u\"]\n"
        )
    };
    assert_eq!(
        parse(&format!("{}{}", app("a", "/a"), app("b", "/"))).map(|config| config.apps.len()),
        Ok(2)
    );
    assert!(parse(&format!("{}{}", app("a", "/a"), app("b", "/a/"))).is_err());
}

#[test]
fn a_parent_that_is_cheaper_than_a_route_below_it_is_pointed_at_once() {
    let warnings = |routes: &[(&str, &str)]| {
        let route =
            |(path, rest): &(&str, &str)| format!("[[app.route]]\npath = \"{path}\"\n{rest}\n");
        let routes: String = routes.iter().map(route).collect();
        let text =
            format!("[[app]]\nname = \"api\"\nupstreams = [\"http://127.0.0.1:9000\"]\n{routes}");
        parse(&text).expect("valid").warnings()
    };
    let found = warnings(&[
        ("/", ""),
        ("/v1/dear", "units = 5"),
        ("/v1/more", "units = 7"),
    ]);
    let [warning] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert!(
        warning.starts_with("app `api`: route `/v1/dear` costs more than `/`,"),
        "{warning}"
    );
    assert!(warning.contains("`/V1/DEAR`"), "{warning}");
    let open = warnings(&[("/", "access = \"open\""), ("/a", "")]);
    assert_eq!(open.len(), 1, "{open:?}");
    for fine in [
        &[("/", "units = 5"), ("/dear", "units = 5")][..],
        &[("/cheap", ""), ("/dear", "units = 5")],
        &[("/", "units = 5"), ("/free", "units = 0")],
        // The same in capitals.
        &[("/v", ""), ("/v/1", "units = 5")],
        &[
            ("/", "methods = [\"GET\"]"),
            ("/dear", "units = 5\nmethods = [\"POST\"]"),
        ],
    ] {
        assert_eq!(warnings(fine), Vec::<String>::new());
    }
}
