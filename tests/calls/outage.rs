//! The store's file locked or gone (G8), and a disk that is full: nobody is refused who is known, nothing is lost, and the
//! gate is whole again by itself.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use testkit::client::{Request, Response};
use testkit::eventually::{test_timeout, wait_for};
use testkit::{App, Config, License, Load, Site, assert_eventually, binary, small_disk};

fn call(site: &Site, license: &License) -> Response {
    site.gateway.call(&Request::get("/").key(&license.key))
}

fn store_up(site: &Site) -> f64 {
    site.gateway.metric("tallygate_store_up", &[])
}

#[test]
fn with_the_license_store_gone_known_licenses_pass_and_unknown_keys_are_asked_to_come_back() {
    let site = Site::start(binary!());
    let known = site.gateway.license(&[]);
    let unknown = site.gateway.license(&[]);
    assert_eq!(call(&site, &known).status, 200);
    let data = site.gateway.data_dir();
    let (file, away) = (data.join("licenses.db"), data.join("away"));
    fs::rename(&file, &away).expect("moves");
    let key = known.key.clone();
    let load = Load::new(site.gateway.addr(), 4, move |_, _| {
        Request::get("/").key(&key)
    })
    .start();
    assert_eventually!(store_up(&site) == 0.0);
    let refused = call(&site, &unknown);
    assert_eq!(refused.status, 503);
    assert_eq!(
        refused.refusal_code().as_deref(),
        Some("license_store_unavailable")
    );
    assert!(refused.header("retry-after").is_some());
    let so_far = load.answered();
    assert_eventually!(load.answered() > so_far + 100);
    assert_eq!(store_up(&site), 0.0, "the file is still gone");

    fs::rename(&away, &file).expect("moves back");
    assert_eventually!(call(&site, &unknown).status == 200);
    assert_eventually!(store_up(&site) == 1.0);
    let seen = load.stop();
    assert!(
        seen.iter().all(|one| one.status == Some(200)),
        "a known license was refused"
    );
    site.assert_clean(&seen, &[]);
}

#[test]
fn a_locked_ledger_store_spends_what_was_leased_and_never_more() {
    const UNITS: u64 = 20_000;
    let site = Site::start(binary!());
    let license = site.gateway.license(&["--remaining", &UNITS.to_string()]);
    // A busy machine may take longer for the first lease than a call waits for it.
    assert_eventually!(call(&site, &license).status == 200);
    let other = Connection::open(site.gateway.data_dir().join("ledger.db")).expect("opens");
    other
        .busy_timeout(test_timeout())
        .expect("a time limit can be set");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let key = license.key.clone();
    let load = Load::new(site.gateway.addr(), 8, move |_, _| {
        Request::get("/").key(&key)
    })
    .start();
    // What is left of the lease is spent, then nothing is until the file is free.
    let refused = wait_for(test_timeout(), || {
        let response = call(&site, &license);
        (response.status != 200).then_some(response)
    })
    .expect("the lease ends");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.refusal_code().as_deref(), Some("quota_unavailable"));
    assert!(refused.header("retry-after").is_some());
    let part = |name: &str| site.gateway.metric("tallygate_store_part_up", &[name]);
    assert_eventually!(part("ledger") == 0.0);
    assert_eq!((part("licenses"), store_up(&site)), (1.0, 0.0));
    other.execute_batch("ROLLBACK").expect("unlocks");
    assert_eventually!(call(&site, &license).status == 200);
    assert_eventually!((part("ledger"), store_up(&site)) == (1.0, 1.0));
    let seen = load.stop();
    assert!(
        seen.iter()
            .all(|one| matches!(one.status, Some(200 | 503 | 402))),
        "a lock is the gate's trouble, not the caller's"
    );
    site.assert_clean(&seen, &[(&license.id, UNITS)]);
}

#[test]
fn open_streams_of_a_gate_that_is_cut_off_beyond_its_grace_are_cut_where_a_revocation_cuts_them() {
    let site = Site::with(binary!(), |upstream| {
        let app = App::new("api", upstream)
            .route("/finish", &["on_revoke = \"finish\""])
            .route("/", &[])
            .table("[app.outage]\ngrace = \"3s\"");
        Config::default().app(app)
    });
    let license = site.gateway.license(&[]);
    let open = |path: &str| {
        site.gateway
            .open_stream(&Request::get(path).key(&license.key))
    };
    let (mut cut, mut finish) = (open("/hold-mid-body"), open("/finish/hold-mid-body"));
    let data = site.gateway.data_dir();
    let (file, away) = (data.join("licenses.db"), data.join("away"));
    fs::rename(&file, &away).expect("moves");
    assert_eventually!(store_up(&site) == 0.0);
    // New calls pass for the grace, and open ones stand.
    assert_eq!(call(&site, &license).status, 200);
    assert!(cut.is_closed_by_peer());
    assert_eq!(call(&site, &license).status, 503);
    site.upstream.release();
    finish.read_half();
    fs::rename(&away, &file).expect("moves back");
    assert_eventually!(call(&site, &license).status == 200);
    site.assert_clean(&[], &[]);
}

/// Fills the file system that `directory` is on to its last byte.
fn fill(directory: &Path) -> std::path::PathBuf {
    fill_as(directory, "filler")
}

fn fill_as(directory: &Path, name: &str) -> std::path::PathBuf {
    use std::io::Write;
    let path = directory.join(name);
    let mut file = fs::File::create(&path).expect("made");
    for size in [1 << 20, 4_096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    path
}

#[test]
fn a_full_disk_refuses_before_forwarding_and_loses_nothing() {
    small_disk::run(
        "outage::a_full_disk_refuses_before_forwarding_and_loses_nothing",
        48,
        || {
            let mut site = Site::with(binary!(), |upstream| {
                Config::new(upstream)
                    .durability("disk")
                    .journal("segment_bytes = \"64KiB\"")
            });
            let license = site.gateway.license(&[]);
            let key = license.key.clone();
            assert_eq!(call(&site, &license).status, 200);
            let filler = fill(&site.gateway.data_dir());
            let load = Load::new(site.gateway.addr(), 8, move |_, _| {
                Request::get("/").key(&key)
            })
            .start();
            let refused = wait_for(test_timeout(), || {
                let response = call(&site, &license);
                (response.status != 200).then_some(response)
            })
            .expect("the prepared segments are used up");
            assert_eq!(refused.status, 503);
            assert_eq!(
                refused.refusal_code().as_deref(),
                Some("journal_unavailable")
            );
            assert!(refused.header("retry-after").is_some());
            assert_eventually!(!site.gateway.is_ready());
            // What is asked of the store meanwhile is refused by its cause.
            let told = "tallygate: the disk of the store is full, so that nothing was kept: make room on it and try again\n";
            assert_eventually!({
                let made = site
                    .gateway
                    .cli()
                    .run(&["license", "create", "--app", "api"]);
                made.code == 1 && made.stderr == told
            });

            fs::remove_file(&filler).expect("removed");
            assert_eventually!(call(&site, &license).status == 200);
            assert_eventually!(site.gateway.is_ready());
            let seen = load.stop();
            assert!(
                seen.iter().all(|one| matches!(one.status, Some(200 | 503))),
                "a full disk is told before a call is forwarded"
            );
            site.assert_clean(&seen, &[]);

            // Dying on a full disk loses nothing either.
            let filler = fill(&site.gateway.data_dir());
            site.gateway.kill9();
            fs::remove_file(&filler).expect("removed");
            site.gateway.restart();
            assert_eq!(call(&site, &license).status, 200);
            site.assert_clean(&seen, &[]);
        },
    );
}

#[test]
fn a_gate_that_starts_on_a_full_disk_refuses_and_serves_by_itself_as_soon_as_there_is_room() {
    small_disk::run(
        "outage::a_gate_that_starts_on_a_full_disk_refuses_and_serves_by_itself_as_soon_as_there_is_room",
        192,
        || {
            // Segments of the usual size: a start makes several of them.
            let mut site = Site::with(binary!(), |upstream| {
                Config::new(upstream).durability("disk")
            });
            let license = site.gateway.license(&["--remaining", "100"]);
            assert_eventually!(call(&site, &license).status == 200);
            let filler = fill(&site.gateway.data_dir());
            site.gateway.kill9();
            // The little that the dead one had and did not write yet is taken too.
            let more = fill_as(&site.gateway.data_dir(), "more");
            site.gateway.launch();

            let refused = wait_for(test_timeout(), || {
                let mut connection = testkit::client::Connection::open(site.gateway.addr()).ok()?;
                connection.call(&Request::get("/").key(&license.key)).ok()
            });
            let refused = refused.expect("it listens although the disk is full");
            assert_eq!(refused.status, 503);
            assert_eq!(
                refused.refusal_code().as_deref(),
                Some("journal_unavailable")
            );
            assert!(refused.header("retry-after").is_some());
            let _present = refused.call_id();
            let ready = site.gateway.scrape("/readyz").expect("answers");
            assert_eq!(ready.status, 503);
            assert!(ready.text().contains("free some space"), "{ready:?}");
            assert_eq!(
                site.gateway.scrape("/healthz").expect("answers").status,
                200
            );
            assert!(site.gateway.is_running());
            assert_eventually!(site.gateway.log().contains("free some space"));
            // Whoever has enough of waiting ends it in order, as any gate.
            let ended = site.gateway.stop();
            assert_eq!(ended.code(), Some(0), "{ended:?}");
            site.gateway.launch();
            assert_eventually!(
                site.gateway
                    .scrape("/healthz")
                    .is_some_and(|it| it.status == 200)
            );

            fs::remove_file(&filler).expect("removed");
            fs::remove_file(&more).expect("removed");
            site.gateway.wait_until_ready();
            assert_eventually!(call(&site, &license).status == 200);
            site.assert_clean(&[], &[(&license.id, 100)]);
        },
    );
}
