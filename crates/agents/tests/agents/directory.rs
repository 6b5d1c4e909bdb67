//! The directories of agents: when each is fetched, and what holds meanwhile.

use std::time::Duration;

use agents::directory::fetch::{Answer, MEDIA_TYPE};
use agents::directory::{Directories, Fetch, FetchFailure, Fetched};
use agents::web_bot_auth::{KeySet, KeySetError, KeySource, Keys, Thumbprint};
use agents::{DirectoryUrl, KnownAgents};
use model::Timestamp;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// Returns the directory of a name below `example`, or of a whole authority with a port.
fn url(name: &str) -> DirectoryUrl {
    let origin = match name.contains(':') {
        true => format!("https://{name}"),
        false => format!("https://{name}.example"),
    };
    DirectoryUrl::of_origin(&origin).expect("an origin")
}

/// Returns a set of one key, whose bytes are all this one.
fn keys(byte: u8) -> KeySet {
    use base64::Engine;
    let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([byte; 32]);
    let text = format!("{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{x}\"}}]}}");
    KeySet::read(text.as_bytes()).expect("a key set")
}

fn id(byte: u8) -> Thumbprint {
    *keys(byte).thumbprints().next().expect("a key")
}

fn came(byte: u8, max_age: Option<u64>) -> Result<Fetched, FetchFailure> {
    Ok(Fetched {
        keys: keys(byte),
        max_age: max_age.map(Duration::from_secs),
    })
}

/// A look-up of a key, in words.
fn looked(directories: &Directories, name: &str, key: u8, now: i64) -> &'static str {
    match directories.keys(&url(name), &id(key), at(now)) {
        Keys::Known(keys) if keys.has(&id(key)) => "there",
        Keys::Known(_) => "lacking",
        Keys::Unknown => "unknown",
        Keys::Failed => "failed",
        Keys::Refused => "refused",
    }
}

fn next(directories: &Directories, now: i64) -> Option<Fetch> {
    directories.next(at(now))
}

/// Looks a key up, and finishes the fetch that follows.
fn fetched(directories: &Directories, name: &str, now: i64, came: Result<Fetched, FetchFailure>) {
    let _ = looked(directories, name, 1, now);
    let fetch = next(directories, now).expect("a fetch");
    directories.finished(fetch, came, at(now));
}

fn unreachable() -> Result<Fetched, FetchFailure> {
    Err(FetchFailure::Unreachable("no route".to_owned()))
}

#[test]
fn a_directory_is_fetched_once_for_all_who_ask() {
    let directories = Directories::default();
    for _ in 0..100 {
        assert_eq!(looked(&directories, "a", 1, 0), "unknown");
    }
    let fetch = next(&directories, 0).expect("a fetch");
    assert_eq!(fetch.directory(), &url("a"));
    assert_eq!(looked(&directories, "a", 1, 1), "unknown");
    assert!(next(&directories, 1).is_none());
    directories.finished(fetch, came(1, None), at(2));
    assert_eq!(looked(&directories, "a", 1, 2), "there");
    assert!(next(&directories, 2).is_none());
}

#[test]
fn a_failure_is_remembered_for_half_a_minute_at_first_and_five_minutes_at_last() {
    let directories = Directories::default();
    let mut now = 0;
    for wait in [30, 60, 120, 240, 300, 300] {
        fetched(&directories, "a", now, unreachable());
        assert_eq!(looked(&directories, "a", 1, now + wait - 1), "failed");
        assert!(next(&directories, now + wait - 1).is_none());
        now += wait;
        assert_eq!(looked(&directories, "a", 1, now), "failed");
    }
    let fetch = next(&directories, now).expect("a fetch");
    directories.finished(fetch, came(1, None), at(now));
    assert_eq!(looked(&directories, "a", 1, now), "there");
}

#[test]
fn a_failed_fetch_keeps_what_came_before() {
    let directories = Directories::default();
    fetched(&directories, "a", 0, came(1, Some(60)));
    assert_eq!(looked(&directories, "a", 1, 59), "there");
    assert!(next(&directories, 59).is_none());
    for now in [60, 100_000, 10_000_000] {
        fetched(&directories, "a", now, unreachable());
        assert_eq!(looked(&directories, "a", 1, now), "there");
    }
}

#[test]
fn a_directory_that_came_without_a_key_ends_that_key() {
    let directories = Directories::default();
    fetched(&directories, "a", 0, came(1, Some(3_600)));
    assert_eq!(looked(&directories, "a", 1, 10), "there");
    // Somebody signs with a new key: asked for again, and not before a minute is over.
    assert_eq!(looked(&directories, "a", 2, 59), "lacking");
    assert!(next(&directories, 59).is_none());
    assert_eq!(looked(&directories, "a", 2, 60), "lacking");
    let fetch = next(&directories, 60).expect("a fetch");
    directories.finished(fetch, came(2, None), at(61));
    assert_eq!(looked(&directories, "a", 2, 61), "there");
    assert_eq!(looked(&directories, "a", 1, 61), "lacking");
}

#[test]
fn what_a_directory_says_of_its_age_is_kept_within_a_minute_and_a_day() {
    for (says, holds) in [
        (Some(0), 60),
        (Some(7_200), 7_200),
        (Some(999_999), 86_400),
        (None, 3_600),
    ] {
        let directories = Directories::default();
        fetched(&directories, "a", 0, came(1, says));
        assert_eq!(looked(&directories, "a", 1, holds - 1), "there");
        assert!(next(&directories, holds - 1).is_none(), "{says:?}");
        assert_eq!(looked(&directories, "a", 1, holds), "there");
        assert!(next(&directories, holds).is_some(), "{says:?}");
    }
}

#[test]
fn few_are_fetched_at_once_and_a_fetch_that_is_lost_is_begun_again() {
    let directories = Directories::default();
    for n in 0..=Directories::MAX_FETCHES {
        assert_eq!(looked(&directories, &format!("d{n}"), 1, 0), "unknown");
    }
    let begun: Vec<Fetch> = std::iter::from_fn(|| next(&directories, 0)).collect();
    assert_eq!(begun.len(), Directories::MAX_FETCHES);
    // All workers are gone: a minute later the last directory has its turn, and the first again.
    let last = next(&directories, 60).expect("a fetch");
    assert_eq!(last.directory(), &url("d8"));
    assert_eq!(looked(&directories, "d0", 1, 60), "unknown");
    let again = next(&directories, 60).expect("a fetch");
    assert_eq!(again.directory(), &url("d0"));
    // What came of the one that was given up counts no more.
    let late = begun.into_iter().next().expect("the first");
    directories.finished(late, came(1, None), at(61));
    assert_eq!(looked(&directories, "d0", 1, 61), "unknown");
    directories.finished(again, came(1, None), at(61));
    assert_eq!(looked(&directories, "d0", 1, 61), "there");
}

#[test]
fn names_that_somebody_makes_up_do_not_displace_directories_that_came() {
    let directories = Directories::with_room_for(10);
    fetched(&directories, "good", 0, came(1, None));
    for n in 0..1_000 {
        assert_eq!(looked(&directories, &format!("d{n}"), 1, 1), "unknown");
    }
    assert_eq!(looked(&directories, "good", 1, 1), "there");
    let waiting = std::iter::from_fn(|| {
        let fetch = next(&directories, 1)?;
        directories.finished(fetch, unreachable(), at(1));
        Some(())
    });
    assert_eq!(waiting.count(), 9);
}

/// The agents of a file whose one agent signs with the keys of a directory.
fn signing(directory: &str) -> KnownAgents {
    let text = format!(
        "[[agent]]\noperator = \"A\"\nagent = \"ABot\"\npurpose = \"search\"\npage = \"https://a.example/\"\n\
         verify = \"signature\"\ndirectory = \"{directory}\"\npatterns = [\"ABot\"]\n"
    );
    KnownAgents::read("agents.toml", &text).expect("valid")
}

/// Looks a key up in the directory of a host at a port.
fn at_port(directories: &Directories, port: u16, now: i64) -> &'static str {
    looked(directories, &port_of("a", port), 1, now)
}

/// Returns the name by which [`url`] makes an origin with a port.
fn port_of(host: &str, port: u16) -> String {
    format!("{host}.example:{port}")
}

#[test]
fn one_directory_of_a_host_is_fetched_at_a_time() {
    let directories = Directories::default();
    for port in [1, 2, 3] {
        assert_eq!(at_port(&directories, port, 0), "unknown");
    }
    assert_eq!(looked(&directories, "b", 1, 0), "unknown");
    let first = next(&directories, 0).expect("a fetch");
    assert_eq!(first.directory(), &url(&port_of("a", 1)));
    let second = next(&directories, 0).expect("a fetch");
    assert_eq!(second.directory(), &url("b"));
    assert!(next(&directories, 0).is_none());
    directories.finished(first, came(1, None), at(0));
    let third = next(&directories, 0).expect("a fetch");
    assert_eq!(third.directory(), &url(&port_of("a", 2)));
    assert!(next(&directories, 0).is_none());
}

#[test]
fn a_failure_counts_for_all_of_a_host_but_what_came_before() {
    let directories = Directories::default();
    fetched(&directories, &port_of("a", 1), 0, came(1, Some(60)));
    for port in [2, 3] {
        assert_eq!(at_port(&directories, port, 60), "unknown");
    }
    let fetch = next(&directories, 60).expect("a fetch");
    directories.finished(fetch, unreachable(), at(60));
    // The others of the host do not come either, and nobody waits for them.
    for port in [2, 3, 4] {
        assert_eq!(at_port(&directories, port, 89), "failed");
    }
    assert!(next(&directories, 89).is_none());
    assert_eq!(looked(&directories, "b", 1, 89), "unknown");
    // What came before is fetched again, before the other host.
    assert_eq!(at_port(&directories, 1, 89), "there");
    let again = next(&directories, 89).expect("a fetch");
    assert_eq!(again.directory(), &url(&port_of("a", 1)));
    directories.finished(again, came(1, None), at(89));
    assert_eq!(at_port(&directories, 3, 90), "unknown");
}

#[test]
fn what_came_before_and_known_agents_have_their_turn_first() {
    let directories = Directories::default();
    fetched(&directories, "old", 0, came(1, Some(60)));
    directories.trust(&signing("https://known.example"));
    for name in ["new", "known", "old"] {
        let _ = looked(&directories, name, 1, 60);
    }
    let order: Vec<Fetch> = std::iter::from_fn(|| next(&directories, 60)).collect();
    let order: Vec<&DirectoryUrl> = order.iter().map(Fetch::directory).collect();
    assert_eq!(order, [&url("known"), &url("old"), &url("new")]);
}

#[test]
fn the_directory_of_a_known_agent_is_not_kept_back_by_failures_of_others_at_its_host() {
    let directories = Directories::default();
    directories.trust(&signing("https://a.example"));
    fetched(&directories, &port_of("a", 1), 0, unreachable());
    assert_eq!(at_port(&directories, 2, 1), "failed");
    assert_eq!(looked(&directories, "a", 1, 1), "unknown");
    let fetch = next(&directories, 1).expect("a fetch");
    assert_eq!(fetch.directory(), &url("a"));
    // A failure of its own keeps it back, as always.
    directories.finished(fetch, unreachable(), at(1));
    assert_eq!(looked(&directories, "a", 1, 30), "failed");
    assert!(next(&directories, 30).is_none());
}

#[test]
fn a_host_has_few_directories_and_takes_no_room_from_others() {
    let directories = Directories::with_room_for(10);
    fetched(&directories, &port_of("a", 1), 0, came(1, None));
    assert_eq!(looked(&directories, "b", 1, 0), "unknown");
    for port in 2..100 {
        assert_eq!(at_port(&directories, port, 1), "unknown");
    }
    assert_eq!(at_port(&directories, 1, 1), "there");
    let waiting = std::iter::from_fn(|| {
        let fetch = next(&directories, 1)?;
        let name = fetch.directory().to_string();
        directories.finished(fetch, came(1, None), at(1));
        Some(name)
    });
    let waiting: Vec<String> = waiting.collect();
    assert_eq!(waiting.len(), Directories::MAX_OF_HOST, "{waiting:?}");
    assert!(waiting[0].starts_with("https://b.example/"), "{waiting:?}");
}

#[test]
fn a_set_of_keys_at_a_url_of_its_own_is_taken_of_known_agents_alone() {
    let directories = Directories::default();
    let own = DirectoryUrl::of_key_set("https://a.example/jwks.json").expect("valid");
    let look_up = || directories.keys(&own, &id(1), at(0));
    assert!(matches!(look_up(), Keys::Refused));
    assert!(next(&directories, 0).is_none());
    directories.trust(&signing("https://a.example/other.json"));
    assert!(matches!(look_up(), Keys::Refused));
    directories.trust(&signing("https://a.example/jwks.json"));
    assert!(matches!(look_up(), Keys::Unknown));
    assert_eq!(next(&directories, 0).expect("a fetch").directory(), &own);
}

#[test]
fn only_a_directory_is_taken_for_one() {
    let body = br#"{"keys":[]}"#;
    let answer = Answer {
        status: 200,
        media_type: Some(MEDIA_TYPE),
        cache_control: Some("max-age=60"),
        body,
    };
    let directory = url("a");
    let read = |answer: Answer<'_>| answer.read(&directory).map(|fetched| fetched.max_age);
    assert_eq!(read(answer), Ok(Some(Duration::from_secs(60))));
    for status in [204, 301, 404, 500] {
        let other = Answer { status, ..answer };
        assert_eq!(read(other), Err(FetchFailure::Status(status)));
    }
    let html = Answer {
        media_type: Some("text/html"),
        ..answer
    };
    assert_eq!(read(html), Err(FetchFailure::MediaType));
    let own = DirectoryUrl::of_key_set("https://a.example/jwks.json").expect("valid");
    let json = Answer {
        media_type: Some("application/json"),
        ..answer
    };
    assert!(json.read(&own).is_ok());
    let large = vec![b' '; KeySet::MAX_BYTES + 1];
    let large = Answer {
        body: &large,
        ..answer
    };
    let expected = KeySetError::Bytes(KeySet::MAX_BYTES + 1);
    assert_eq!(read(large), Err(FetchFailure::Keys(expected)));
    let many = format!(
        "{{\"keys\":[{}]}}",
        vec!["{}"; KeySet::MAX_KEYS + 1].join(",")
    );
    let many = Answer {
        body: many.as_bytes(),
        ..answer
    };
    assert_eq!(read(many), Err(FetchFailure::Keys(KeySetError::Keys(33))));
    for bad in [&b"[]"[..], b"", b"{\"keys\":{}}", b"\xff"] {
        let bad = Answer {
            body: bad,
            ..answer
        };
        assert_eq!(read(bad), Err(FetchFailure::Keys(KeySetError::Form)));
    }
}
