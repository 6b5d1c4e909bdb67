//! Tests of `Idempotency-Key`: a request that is sent again is answered again and done once.

use std::sync::Arc;
use std::time::Duration;

use licensing::{Idempotency, IdempotentRequest};
use serde_json::Value;
use store::ClaimKind;

use crate::support::{Answer, World};

const BODY: &str = r#"{"app":"api","label":"once"}"#;

impl World {
    async fn post_once(&self, key: &str, path: &str, body: &str) -> Answer {
        self.local_with(&[("Idempotency-Key", key)], "POST", path, body)
            .await
    }

    async fn labelled(&self) -> usize {
        let page = self.get("/licenses").await;
        page["items"].as_array().unwrap().len()
    }
}

#[tokio::test]
async fn the_same_request_is_answered_again_with_its_secret_and_done_once() {
    let world = World::start().await;
    for (path, body) in [
        ("/licenses", BODY),
        (
            "/licenses/bulk",
            r#"{"licenses":[{"app":"api"},{"app":"api"}]}"#,
        ),
        ("/keys", r#"{"app":"api"}"#),
        ("/management-keys", "{}"),
        ("/accounts", r#"{"name":"new"}"#),
        ("/signing-keys/rotate", r#"{"use":"stamps","at_once":true}"#),
    ] {
        let first = world.post_once("k-1", path, body).await;
        let again = world.post_once("k-1", path, body).await;
        assert_eq!(first.status, 201, "{path}");
        assert_eq!(again.header("idempotency-replayed"), "true", "{path}");
        assert_eq!(again.header("content-type"), first.header("content-type"));
        assert_eq!(again.json(201), first.json(201), "{path}");
    }
    assert_eq!(world.labelled().await, 4, "an api key is a license too");
    let other = world.post_once("k-2", "/licenses", BODY).await.json(201);
    let first = world.post_once("k-1", "/licenses", BODY).await.json(201);
    assert_ne!(other["id"], first["id"]);
    let store = std::fs::read(world.directory.path().join("store/licenses.db-wal")).unwrap();
    let key = first["key"].as_str().unwrap().as_bytes();
    assert!(
        !store.windows(key.len()).any(|part| part == key),
        "what is kept for the next time is sealed"
    );
}

#[tokio::test]
async fn another_request_with_the_same_key_is_refused_and_another_caller_has_keys_of_their_own() {
    let world = World::start().await;
    world.post_once("k", "/licenses", BODY).await.json(201);
    let other = world.post_once("k", "/licenses", r#"{"app":"shop"}"#).await;
    assert_eq!(other.code(409), "idempotency_mismatch");
    let key = world.key("{}").await;
    let theirs = world
        .remote_with(&key, &[("Idempotency-Key", "k")], "POST", "/licenses", BODY)
        .await;
    theirs.json(201);
    assert_eq!(theirs.header("idempotency-replayed"), "");
    assert_eq!(world.labelled().await, 2);
}

#[tokio::test]
async fn a_request_that_was_refused_did_nothing_and_its_key_can_be_used_again() {
    let world = World::start().await;
    for body in [r#"{"app":"nowhere"}"#, "{", r#"{"app":"api","colour":1}"#] {
        let refused = world.post_once("k", "/licenses", body).await;
        assert!((400..500).contains(&refused.status), "{}", refused.text());
    }
    world.post_once("k", "/licenses", BODY).await.json(201);
    for key in ["", "white space", &"x".repeat(256)] {
        let refused = world.post_once(key, "/licenses", BODY).await;
        assert_eq!(refused.json(400)["field"], "Idempotency-Key");
    }
    assert_eq!(world.labelled().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_is_done() {
    let world = Arc::new(World::start().await);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let world = world.clone();
        asking.spawn(async move {
            loop {
                let answer = world.post_once("k", "/licenses", BODY).await;
                if answer.status != 409 {
                    return answer.json(201);
                }
                assert_eq!(answer.code(409), "idempotency_under_way");
                tokio::task::yield_now().await;
            }
        });
    }
    let answers: Vec<Value> = asking.join_all().await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(world.labelled().await, 1);
}

#[tokio::test]
async fn a_rotation_that_is_sent_again_gives_the_same_new_key() {
    let world = World::start().await;
    let license = world.license(BODY).await;
    let path = format!("/licenses/{}/rotate", license["id"].as_str().unwrap());
    let first = world.post_once("k", &path, "").await.json(200);
    let again = world.post_once("k", &path, "").await.json(200);
    assert_eq!(again, first);
    assert_ne!(first["key"], license["key"]);
    let other = world.post_once("k", &path, r#"{"overlap":"1h"}"#).await;
    assert_eq!(other.code(409), "idempotency_mismatch");
}

#[tokio::test]
async fn a_request_that_broke_off_is_not_done_again_and_says_so() {
    let world = World::start().await;
    let broken_off = IdempotentRequest {
        kind: ClaimKind::IdempotencyKey,
        name: &[b"operator", b"/licenses", b"k"],
        content: &[BODY.as_bytes()],
        reference: 0,
        prepared: None,
        waits_for_disk: true,
        lifetime: Duration::from_secs(60),
        dead: &[],
    };
    let claim = world.services.licensing().once(&broken_off).await.unwrap();
    assert!(matches!(claim, Idempotency::Run(_)));
    let under_way = world.post_once("k", "/licenses", BODY).await;
    assert_eq!(under_way.code(409), "idempotency_under_way");
    assert_eq!(under_way.header("retry-after"), "1");
    drop(claim);
    for _ in 0..2 {
        let again = world.post_once("k", "/licenses", BODY).await;
        assert_eq!(again.code(409), "idempotency_unknown");
    }
    assert_eq!(world.labelled().await, 0);
}
