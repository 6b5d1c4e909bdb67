//! Tests of the import of licenses.

use model::KeyDigest;
use serde_json::{Value, json};

use crate::support::World;

async fn import(world: &World, body: &Value) -> Value {
    let answer = world.local("POST", "/licenses/import", body.to_string());
    answer.await.json(200)["items"].clone()
}

#[tokio::test]
async fn a_row_with_a_member_that_is_there_twice_is_bad_and_holds_up_no_other() {
    let world = World::start().await;
    let body = r#"{"app":"api","rows":[{"key":"an-old-key-0001","label":"a","label":"b"},
        {"key":"an-old-key-0002","variables":{"x":1,"x":2}},{"key":"an-old-key-0003"}]}"#;
    let answer = world.local("POST", "/licenses/import", body).await;
    let items = answer.json(200)["items"].clone();
    for (item, field) in [(&items[0], "label"), (&items[1], "x")] {
        assert_eq!(item["problem"]["field"], field, "{item}");
        let detail = item["problem"]["detail"].as_str().unwrap();
        assert!(detail.contains("twice"), "{item}");
    }
    assert_eq!(items[2]["result"], "made");
}

#[tokio::test]
async fn each_row_is_answered_for_in_order() {
    let world = World::start().await;
    let digest = KeyDigest::of("an-old-key-0002").to_string();
    let rows = json!([
        { "key": "an-old-key-0001", "devices": ["a"], "device_slots": 2, "status": "disabled",
          "expires_at": "2020-01-01T00:00:00Z", "remaining": 5, "variables": {"tier": "pro"} },
        { "key_sha256": digest },
        { "key": "an-old-key-0001" },
        { "key": "an-old-key-0003", "colour": 1 },
        { "key": "an-old-key-0003", "devices": ["a", ""] },
        { "key": "an-old-key-0003", "status": "revoked" },
        { "key": "an-old-key-0003", "device_slots": "2" },
        { "key": "an-old-key-0003", "plan": "none-such" },
        { "key": "an-old-key-0003", "key_sha256": digest },
        { "key": "short" },
        {},
        7,
        null,
    ]);
    let asked = json!({ "app": "api", "rows": rows });
    let mut dry = asked.clone();
    dry["dry_run"] = json!(true);
    let judged = import(&world, &dry).await;
    assert_eq!(judged[0], json!({ "result": "made" }));
    assert_eq!(world.get("/licenses").await["items"], json!([]));

    let answers = import(&world, &asked).await;
    assert_eq!(answers.as_array().unwrap().len(), 13);
    for (answer, (field, says)) in answers.as_array().unwrap()[2..].iter().zip([
        ("key", "another row above"),
        ("colour", "is not known here"),
        ("devices[1]", "1 to 256 bytes"),
        ("status", "send `active` or `disabled`"),
        ("device_slots", "without quotes"),
        ("plan", "none-such"),
        ("key_sha256", "one of"),
        ("key", "8 to 256 characters"),
        ("key", "is missing"),
        ("row", "not an object"),
        ("row", "not an object"),
    ]) {
        assert_eq!(answer["result"], "bad", "{answer}");
        assert_eq!(answer["problem"]["field"], field, "{answer}");
        let detail = answer["problem"]["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{answer}");
    }
    let shown = world
        .get(&format!("/licenses/{}", answers[0]["id"].as_str().unwrap()))
        .await;
    for (field, value) in [
        ("status", json!("disabled")),
        ("expires_at", json!("2020-01-01T00:00:00Z")),
        ("device_slots", json!(2)),
        ("remaining", json!(5)),
        ("variables", json!({"tier": "pro"})),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    assert_eq!(shown["devices"][0]["id"], "a");
    let again = import(&world, &asked).await;
    assert_eq!(
        again[0],
        json!({ "result": "there", "id": answers[0]["id"] })
    );
    assert_eq!(
        again[1],
        json!({ "result": "there", "id": answers[1]["id"] })
    );
}

#[tokio::test]
async fn keys_have_the_shape_that_is_named_for_all_of_them() {
    let world = World::start().await;
    let rows = json!([
        { "key": "A3K9-BFWX-7NP2-QHDT" },
        { "key": "B3K9BFWX7NP2QHDT" },
        { "key": "b3k9bfwx7np2qhdt" },
        { "key_sha256": KeyDigest::of("any").to_string() },
    ]);
    let asked = json!({ "app": "api", "key_format": "authforge", "rows": rows });
    let answers = import(&world, &asked).await;
    let results = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| &answer["result"]);
    assert_eq!(results.collect::<Vec<_>>(), ["made", "made", "bad", "made"]);
    assert_eq!(answers[2]["problem"]["field"], "key");
    let kind = |answer: &Value| format!("/licenses/{}", answer["id"].as_str().unwrap());
    for answer in [&answers[0], &answers[1]] {
        let shown = world.get(&kind(answer)).await;
        assert_eq!(shown["credentials"][0]["kind"], "authforge");
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_understood_makes_nothing() {
    let world = World::start().await;
    let too_many: Vec<_> = (0..501)
        .map(|n| json!({ "key": format!("old-key-{n:04}") }))
        .collect();
    for (body, field) in [
        (json!({ "app": "api", "rows": [] }), "rows"),
        (json!({ "app": "api", "rows": too_many }), "rows"),
        (
            json!({ "app": "api", "rows": [{"key": "old-key-0001"}], "key_format": "x" }),
            "key_format",
        ),
        (
            json!({ "app": "api", "rows": [{"key": "old-key-0001"}], "colour": 1 }),
            "colour",
        ),
        (json!({ "rows": [{"key": "old-key-0001"}] }), "app"),
    ] {
        let answer = world
            .local("POST", "/licenses/import", body.to_string())
            .await;
        assert_eq!(answer.json(400)["field"], field);
    }
    let of_inner = world.key(r#"{"app":"inner"}"#).await;
    let body = json!({ "app": "api", "rows": [{"key": "old-key-0001"}] }).to_string();
    let answer = world
        .remote(Some(&of_inner), "POST", "/licenses/import", body)
        .await;
    assert_eq!(answer.code(404), "app_unknown");
    assert_eq!(world.get("/licenses").await["items"], json!([]));
}
