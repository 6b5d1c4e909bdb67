//! Webhooks of an app: registered, tested, changed and removed by the Developer API.

use ring::hmac;
use serde_json::{Value, json};
use testkit::{Manner, Receiver};

use super::{Software, denied};

impl Software {
    fn webhooks(&self) -> String {
        format!("/v1/apps/{}/webhooks", self.app_id)
    }

    async fn register(&self, body: &Value) -> crate::support::Answer {
        self.sell("POST", &self.webhooks(), body).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_100_a_webhook_is_signed_shows_its_secret_once_and_a_sixth_is_refused() {
    let software = Software::start().await;
    let receiver = Receiver::start();
    let body =
        json!({ "url": receiver.url("/hook"), "events": ["license.revoked", "license.validated"] });
    let made = software.register(&body).await.json(201);
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"));
    assert_eq!(
        (&made["events"], &made["enabled"]),
        (&body["events"], &json!(true))
    );
    assert!(made["createdAt"].is_string());
    let listed = software
        .sell("GET", &software.webhooks(), &Value::Null)
        .await
        .json(200);
    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("secret");
    assert_eq!(listed["webhooks"], json!([shown]));

    let one = format!(
        "{}/{}",
        software.webhooks(),
        made["webhookId"].as_str().unwrap()
    );
    let tested = software
        .sell("POST", &format!("{one}/test"), &Value::Null)
        .await;
    assert_eq!(tested.json(200)["status"], 200);
    let received = &receiver.wait_for(1)[0];
    assert_eq!(received.header("x-authforge-event"), Some("test.ping"));
    assert_eq!(received.json()["event"], "test.ping");
    assert!(received.header("x-authforge-timestamp").is_some());
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hex::encode(hmac::sign(&key, &received.body));
    assert_eq!(
        received.header("x-authforge-signature"),
        Some(signature.as_str())
    );

    for _ in 0..4 {
        assert_eq!(software.register(&body).await.status, 201);
    }
    denied(&software.register(&body).await, 400, "bad_request");
    let gone = software.sell("DELETE", &one, &Value::Null).await;
    assert_eq!(gone.json(200)["deleted"], true);
    assert_eq!(software.register(&body).await.status, 201);
    denied(
        &software.sell("DELETE", &one, &Value::Null).await,
        404,
        "not_found",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_changed_and_what_cannot_be_used_is_refused_by_its_field() {
    let software = Software::start().await;
    let receiver = Receiver::start();
    let good = json!({ "url": receiver.url("/hook"), "events": ["license.deleted"] });
    for (field, value) in [
        ("url", json!("nowhere")),
        ("url", json!("ftp://example.com/")),
        ("events", json!([])),
        ("events", json!(["license.exploded"])),
        ("enabled", json!("yes")),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let message = denied(&software.register(&body).await, 400, "bad_request");
        assert!(message.contains(field), "{message}");
    }
    let made = software.register(&good).await.json(201);
    let one = format!(
        "{}/{}",
        software.webhooks(),
        made["webhookId"].as_str().unwrap()
    );
    let change = json!({ "enabled": false, "events": ["license.hwid_bound"] });
    let changed = software.sell("PUT", &one, &change).await.json(200);
    assert_eq!(
        (&changed["enabled"], &changed["events"]),
        (&json!(false), &change["events"])
    );
    let wrong = json!({ "events": [] });
    denied(
        &software.sell("PUT", &one, &wrong).await,
        400,
        "bad_request",
    );
    receiver.behave(Manner::Answer(503, "busy".to_owned()));
    let tested = software
        .sell("POST", &format!("{one}/test"), &Value::Null)
        .await;
    assert_eq!(
        tested.json(200)["status"],
        503,
        "a test says what the receiver answered"
    );
    let reader = software.world.key(r#"{"scopes":["read:webhooks"]}"#).await;
    let path = software.webhooks();
    let listed = software.sell_as(&reader, "GET", &path, &Value::Null);
    assert_eq!(listed.await.status, 200);
    let answer = software
        .sell_as(&reader, "DELETE", &one, &Value::Null)
        .await;
    denied(&answer, 403, "forbidden");
}
