//! Webhooks of a real gate, by the command line: what happens to licenses reaches a receiver, signed and in order.

use std::fs;

use serde_json::{Value, json};
use testkit::{
    Config, Manner, Received, Receiver, Request, Site, Upstream, assert_eventually, binary,
};

/// Receivers on this host, and tries that nobody waits for.
const HERE: &str = "[control]\nallow_private_webhook_targets = true\nallow_plain_webhook_targets = true\n\
    [webhooks]\nschedule = [\"0s\", \"1s\", \"2s\"]\ntimeout = \"2s\"\n";

fn start() -> (Site, Receiver) {
    let site = Site::with(binary!(), |upstream| Config::new(upstream).table(HERE));
    (site, Receiver::start())
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    let found = value[field].as_str();
    found.unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn types(received: &[Received]) -> Vec<String> {
    let of = |got: &Received| got.json()["type"].as_str().expect("a type").to_owned();
    received.iter().map(of).collect()
}

#[test]
fn what_happens_to_a_license_reaches_its_webhook_in_order_and_without_its_key() {
    let (site, receiver) = start();
    let cli = site.gateway.cli();
    let url = receiver.url("/hook");
    let made = cli.json(&["webhook", "create", "--url", &url]);
    assert!(text(&made, "secret").starts_with("whsec_"));
    let license = site.gateway.license(&[]);
    for action in ["disable", "enable", "rotate", "revoke"] {
        let _ = cli.text(&["license", action, &license.id]);
    }
    let received = receiver.wait_for(5);
    let happened = [
        "license.created",
        "license.disabled",
        "license.activated",
        "key.rotated",
        "license.revoked",
    ];
    assert_eq!(types(&received), happened);
    for got in &received {
        assert_eq!(got.json()["data"]["license_id"], json!(license.id));
        let body = String::from_utf8_lossy(&got.body).into_owned();
        assert!(!body.contains(&license.key), "{body}");
        assert!(
            got.header("webhook-signature")
                .is_some_and(|value| value.starts_with("v1,"))
        );
    }
    assert_eventually!(
        site.gateway.metric(
            "tallygate_webhook_deliveries_total",
            &["result=\"delivered\""]
        ) == 5.0
    );
    let log = cli.json(&["webhook", "deliveries", text(&made, "id")]);
    assert_eq!(log.as_array().map(Vec::len), Some(5));
    assert_eq!(log[0]["type"], "license.revoked");
    // The secret lies sealed in the store.
    let secret = text(&made, "secret").as_bytes().to_vec();
    for file in fs::read_dir(site.gateway.data_dir()).expect("a folder") {
        let path = file.expect("a file").path();
        let held = fs::read(&path).unwrap_or_default();
        assert!(
            !held.windows(secret.len()).any(|part| part == secret),
            "{path:?}"
        );
    }
}

#[test]
fn a_receiver_that_fails_is_tried_as_the_schedule_says_then_disabled_and_resumed() {
    let (site, receiver) = start();
    receiver.behave(Manner::Answer(500, "not now".to_owned()));
    let cli = site.gateway.cli();
    let made = cli.json(&["webhook", "create", "--url", &receiver.url("/")]);
    let id = text(&made, "id");
    let tested = cli.run(&["webhook", "test", id]);
    assert_eq!(tested.code, 1, "{tested:?}");
    assert!(tested.stdout.contains("500"), "{tested:?}");
    let license = site.gateway.license(&[]);
    assert_eventually!(text(&cli.json(&["webhook", "show", id]), "state") == "disabled");
    let received = receiver.received();
    assert_eq!(received.len(), 4, "a test and three tries");
    let ids: Vec<_> = received[1..]
        .iter()
        .map(|got| got.header("webhook-id"))
        .collect();
    assert!(ids.windows(2).all(|two| two[0] == two[1]), "{ids:?}");
    let failed = cli.json(&["webhook", "deliveries", id, "--state", "failed"]);
    assert_eq!(failed[0]["last"]["answer"], "not now");

    receiver.behave(Manner::Answer(200, String::new()));
    let _ = cli.text(&["license", "revoke", &license.id]);
    assert_eq!(
        text(&cli.json(&["webhook", "resume", id]), "state"),
        "active"
    );
    let received = receiver.wait_for(6);
    assert_eq!(
        types(&received)[4..],
        ["license.created", "license.revoked"],
        "what failed comes before what happened later"
    );
    let event = text(&failed[0], "event_id").to_owned();
    let again = cli.json(&["webhook", "redeliver", id, "--event", &event]);
    assert_eq!(again["deliveries"], 1);
    let received = receiver.wait_for(7);
    assert_eq!(received[6].header("webhook-id"), Some(event.as_str()));
    let unknown = "evt_0198c0de0198c0de0198c0de0198c0de";
    let refused = cli.run(&["webhook", "redeliver", id, "--event", unknown]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains(unknown), "{refused:?}");
}

#[test]
fn events_are_said_and_shown_in_the_words_of_the_form() {
    let (site, receiver) = start();
    let cli = site.gateway.cli();
    let url = receiver.url("/");
    let create = |event| {
        let form = ["--form", "authforge", "--event", event];
        let create = ["webhook", "create", "--url", &url, "--app", "api"];
        cli.run(&[&create[..], &form].concat())
    };
    let made = create("license.deleted");
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.stdout.contains("Keep the secret"), "{made:?}");
    let all = cli.json(&["webhook", "list"]);
    let id = text(&all[0], "id");
    for said in [&["webhook", "list"][..], &["webhook", "show", id]] {
        assert!(cli.text(said).contains("license.deleted"), "{said:?}");
    }
    let refused = create("device.bound");
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("license.hwid_bound"), "{refused:?}");
    let nothing = cli.run(&["webhook", "change", id]);
    assert_eq!(nothing.code, 2, "{nothing:?}");
    assert!(nothing.stderr.contains("--all-events"), "{nothing:?}");
    let change = ["webhook", "change", id, "--event", "license.revoked"];
    assert_eq!(cli.json(&change)["events"], json!(["license.disabled"]));

    let license = site.gateway.license(&[]);
    let _ = cli.text(&["license", "disable", &license.id]);
    let told: Value = receiver.wait_for(1)[0].json();
    assert_eq!(told["event"], "license.revoked");
    let log = ["webhook", "deliveries", id];
    assert_eventually!(cli.text(&log).contains("license.revoked"));
}

#[test]
fn a_webhook_is_paused_changed_rotated_listed_and_removed_by_commands() {
    let (site, receiver) = start();
    let cli = site.gateway.cli();
    let url = receiver.url("/");
    let create = [
        "webhook",
        "create",
        "--url",
        &url,
        "--app",
        "api",
        "--event",
        "license.revoked",
    ];
    let made = cli.json(&create);
    let id = text(&made, "id");
    assert_eq!(made["events"], json!(["license.revoked"]));
    assert_eq!(
        text(&cli.json(&["webhook", "pause", id]), "state"),
        "paused"
    );
    let rotated = cli.json(&["webhook", "rotate", id, "--overlap", "1h"]);
    assert_ne!(rotated["secret"], made["secret"]);
    let changed = cli.json(&[
        "webhook",
        "change",
        id,
        "--all-events",
        "--url",
        &receiver.url("/new"),
    ]);
    assert_eq!(
        (&changed["events"], text(&changed, "url")),
        (&json!([]), receiver.url("/new").as_str())
    );
    let list = cli.text(&["webhook", "list"]);
    assert!(list.contains(id) && list.contains("paused"), "{list}");
    let _ = site.gateway.license(&[]);
    assert_eventually!(
        cli.json(&["webhook", "deliveries", id, "--state", "waiting"])
            .as_array()
            .map(Vec::len)
            == Some(1)
    );
    assert_eq!(receiver.count(), 0);
    let _ = cli.text(&["webhook", "resume", id]);
    assert_eq!(receiver.wait_for(1)[0].target, "/new");
    let signatures = receiver.received()[0]
        .header("webhook-signature")
        .map(str::to_owned);
    assert_eq!(signatures.expect("it is signed").split(' ').count(), 2);
    let _ = cli.text(&["webhook", "delete", id]);
    assert_eq!(cli.run(&["webhook", "show", id]).code, 1);
}

#[test]
fn a_webhook_may_not_lead_into_the_private_network_unless_the_operator_says_so() {
    let site = Site::start(binary!());
    let receiver = Receiver::start();
    let port = receiver.addr().port();
    let cli = site.gateway.cli();
    for (url, words) in [
        (
            format!("http://127.0.0.1:{port}/"),
            "allow_plain_webhook_targets",
        ),
        (
            format!("https://127.0.0.1:{port}/"),
            "allow_private_webhook_targets",
        ),
        (
            format!("https://localhost:{port}/"),
            "allow_private_webhook_targets",
        ),
        (
            "https://[::ffff:169.254.169.254]/".to_owned(),
            "allow_private_webhook_targets",
        ),
    ] {
        let refused = cli.run(&["webhook", "create", "--url", &url]);
        assert_ne!(refused.code, 0, "{url}");
        assert!(refused.stderr.contains(words), "{url}: {refused:?}");
    }
    assert_eq!(cli.json(&["webhook", "list"]), json!([]));
    assert_eq!(receiver.count(), 0);
}

fn of_upstreams(receiver: &Receiver) -> Vec<String> {
    let all = types(&receiver.received()).into_iter();
    all.filter(|kind| kind.starts_with("upstream.")).collect()
}

#[test]
fn an_upstream_that_goes_down_and_comes_back_is_told_once_each_also_over_a_restart_of_the_gate() {
    let (mut site, receiver) = start();
    let url = receiver.url("/");
    let _ = site
        .gateway
        .cli()
        .json(&["webhook", "create", "--url", &url]);
    let license = site.gateway.license(&[]);
    let call =
        |gateway: &testkit::Gateway| gateway.call(&Request::get("/").key(&license.key)).status;
    assert_eq!(call(&site.gateway), 200);
    let address = site.upstream.addr();
    let _ = site.upstream.stop();
    assert_eventually!({
        assert_eq!(call(&site.gateway), 502);
        of_upstreams(&receiver) == ["upstream.down"]
    });
    let down = receiver.received().pop().expect("it was told").json();
    let data = &down["data"];
    assert_eq!(
        (&data["app"], &data["upstream"]),
        (&json!("api"), &json!(format!("http://{address}")))
    );
    assert!(
        data["since"].as_str() < down["timestamp"].as_str(),
        "{down}"
    );
    assert_eq!(data.get("license_id"), None);

    // The next start of the gate goes on with what it found.
    assert_eq!(site.gateway.stop().code(), Some(0));
    site.gateway.restart();
    assert_eq!(call(&site.gateway), 502);
    site.upstream = Upstream::builder().port(address.port()).start();
    assert_eventually!({
        let _ = call(&site.gateway);
        of_upstreams(&receiver) == ["upstream.down", "upstream.up"]
    });
    let up = receiver.received().pop().expect("it was told").json();
    assert_eq!(up["data"]["upstream"], data["upstream"]);
}
