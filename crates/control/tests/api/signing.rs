//! Tests of signing keys, which are published for everybody and rotated by the operator.

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::Value;

use crate::support::World;

async fn published(world: &World) -> (Vec<String>, String) {
    let request = Request::get("/.well-known/jwks.json")
        .header("Host", "gate")
        .body(Full::new(Bytes::new()))
        .unwrap();
    let answer = world.ask([127, 0, 0, 1], request).await;
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    assert_eq!(answer.header("content-type"), "application/jwk-set+json");
    let set = answer.json(200);
    let keys = set["keys"].as_array().unwrap();
    let kids = keys
        .iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned());
    (kids.collect(), answer.text())
}

#[tokio::test]
async fn public_keys_are_published_to_everybody_and_secrets_to_nobody() {
    let world = World::start().await;
    let keys = world.get("/signing-keys").await;
    let keys = keys["items"].as_array().unwrap();
    let (kids, text) = published(&world).await;
    for key in keys {
        let public = key["algorithm"] == "EdDSA";
        let id = key["id"].as_str().unwrap().to_owned();
        assert_eq!(kids.contains(&id), public, "{key}");
        assert!(key.get("key").is_none());
    }
    // Those for stamps, tokens and assertions, and the secret of tokens.
    assert_eq!((keys.len(), kids.len()), (4, 3));
    assert!(!text.contains("oct"), "{text}");
}

#[tokio::test]
async fn the_operator_rotates_and_nobody_else() {
    let world = World::start().await;
    let rotate = "/signing-keys/rotate";
    let key = world.key("{}").await;
    let remote = world
        .remote(Some(&key), "POST", rotate, r#"{"use":"stamps"}"#)
        .await;
    assert_eq!(remote.code(403), "local_only");

    let next = world
        .local("POST", rotate, r#"{"use":"stamps"}"#)
        .await
        .json(201);
    assert_eq!(next["state"], "next");
    let again = world.local("POST", rotate, r#"{"use":"stamps"}"#).await;
    assert_eq!(again.code(409), "conflict");
    let (kids, _) = published(&world).await;
    assert!(
        kids.contains(&next["id"].as_str().unwrap().to_owned()),
        "published before it signs"
    );

    let wish = r#"{"use":"tokens","overlap":"1h","at_once":true}"#;
    let new = world.local("POST", rotate, wish).await.json(201);
    assert_eq!(new["state"], "signing");
    let keys = world.get("/signing-keys").await;
    let states = |signing_use: &str| -> Vec<Value> {
        let keys = keys["items"].as_array().unwrap().iter();
        let of_use = keys.filter(|key| key["use"] == signing_use);
        of_use.map(|key| key["state"].clone()).collect()
    };
    assert_eq!(states("stamps"), ["signing", "next"]);
    assert_eq!(states("tokens"), ["overlapping", "signing"]);
    assert_eq!(states("tokens-hs256"), ["signing"]);

    let wish = r#"{"use":"tokens","withdraw":true}"#;
    world.local("POST", rotate, wish).await.json(201);
    let (kids, _) = published(&world).await;
    assert!(!kids.contains(&new["id"].as_str().unwrap().to_owned()));
    for bad in [
        r#"{"use":"jwt"}"#,
        "{}",
        r#"{"use":"stamps","overlap":3}"#,
        r#"{"use":"stamps","x":1}"#,
    ] {
        let problem = world.local("POST", rotate, bad).await;
        assert_eq!(problem.code(400), "field_invalid", "{bad}");
    }
}
