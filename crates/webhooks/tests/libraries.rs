//! What is sent is verified by the libraries of Standard Webhooks that receivers use.

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use model::SystemClock;
use serde_json::{Value, json};
use testkit::{Received, Receiver};

use support::World;

/// Does what the script for Node.js beside this does.
const PYTHON: &str = r#"
import json, sys
from standardwebhooks import Webhook

for line in sys.stdin:
    message = json.loads(line)
    try:
        verified = Webhook(message["secret"]).verify(message["body"], message["headers"])
        print(verified["type"] if isinstance(verified, dict) else json.loads(message["body"])["type"])
    except Exception as error:
        print(f"refused: {error}")
"#;

const NODE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/clients/standardwebhooks/client.mjs"
);

/// Has a program verify messages, and returns what it says of each.
fn verified_by(command: &mut Command, messages: &[Value]) -> Vec<String> {
    let mut running = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it is installed by deploy/setup.sh");
    let mut input = running.stdin.take().expect("it is piped");
    for message in messages {
        writeln!(input, "{message}").expect("it reads");
    }
    drop(input);
    let output = running.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("it is text");
    text.lines().map(str::to_owned).collect()
}

fn by_rust(message: &Value) -> String {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut headers = HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let value = text(&message["headers"][name]);
        headers.insert(name, value.parse().expect("a header"));
    }
    let library = standardwebhooks::Webhook::new(&text(&message["secret"])).expect("a secret");
    let body = text(&message["body"]);
    match library.verify(body.as_bytes(), &headers) {
        Ok(()) => {
            let body: Value = serde_json::from_str(&body).expect("JSON");
            text(&body["type"])
        }
        Err(error) => format!("refused: {error}"),
    }
}

fn message(received: &Received, secret: &str) -> Value {
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let header = |name: &str| {
        (
            name.to_owned(),
            json!(received.header(name).expect("it is sent")),
        )
    };
    let body = String::from_utf8(received.body.clone()).expect("text");
    let headers: serde_json::Map<_, _> = names.into_iter().map(header).collect();
    json!({"secret": secret, "headers": headers, "body": body})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_libraries_of_python_javascript_and_rust_verify_what_is_sent_with_either_secret() {
    let world = World::new(Arc::new(SystemClock)).await;
    let (gate, receiver) = (world.gate(), Receiver::start());
    let first = gate.register(&receiver).await;
    let id = first.webhook.id;
    let acting = gate.acting();
    let second = acting
        .rotate_secret(id, Some(Duration::from_secs(60)))
        .await;
    let second = second.expect("it is there");
    acting.test(id).await.expect("it is sent");
    let received = receiver.wait_for(1).remove(0);
    let other = webhooks::Secret::generate();
    let mut changed = message(&received, first.secret.expose());
    changed["body"] = json!(
        changed["body"]
            .as_str()
            .expect("text")
            .replace("webhook.test", "x")
    );
    let messages = [
        message(&received, first.secret.expose()),
        message(&received, second.secret.expose()),
        message(&received, other.expose()),
        changed,
    ];
    let mut python = Command::new(testkit::python());
    let said = [
        verified_by(python.args(["-c", PYTHON]), &messages),
        verified_by(Command::new("node").arg(NODE), &messages),
        messages.iter().map(by_rust).collect(),
    ];
    for library in said {
        assert_eq!(
            library[..2],
            ["webhook.test", "webhook.test"],
            "{library:?}"
        );
        assert_eq!(library.len(), 4);
        assert!(library[2].starts_with("refused: "), "{library:?}");
        assert!(library[3].starts_with("refused: "), "{library:?}");
    }
    gate.stop().await;
}
