//! Tests of APIMW whose cases take days: over real sockets, with a clock that is moved by hand.

use std::time::Duration;

use control::SHIPPED;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::support::{Answer, World};

const DAY: Duration = Duration::from_secs(86_400);

async fn post(world: &World, path: &str, body: &Value) -> Answer {
    let request = Request::post(path)
        .header("host", "localhost")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    world.ask([127, 0, 0, 1], request).await
}

async fn refresh(world: &World, token: &str) -> Answer {
    let body = json!({ "refresh_token": token });
    post(world, "/v1/auth/refresh", &body).await
}

#[tokio::test]
async fn case_37_a_refresh_token_is_good_for_thirty_days_and_its_age_ends_no_family() {
    let world = World::by_hand(SHIPPED).await;
    let pair = world.local("POST", "/management-keys", r#"{"pair":true}"#);
    let pair = pair.await.json(201);
    let body = json!({ "api_key": pair["key"], "api_secret": pair["secret"] });
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let answer = post(&world, "/v1/auth/token", &body).await.json(200);
        let token = answer["data"]["refresh_token"].as_str().unwrap();
        tokens.push(token.to_owned());
    }
    world.advance(30 * DAY - Duration::from_secs(1)).await;
    let renewed = refresh(&world, &tokens[0]).await.json(200);
    world.advance(Duration::from_secs(1)).await;
    // Used for the first time, so that nothing but its age can be wrong with it.
    let refused = refresh(&world, &tokens[1]).await.json(401);
    assert_eq!(refused["error"]["code"], "INVALID_REFRESH_TOKEN");
    let replays = world.get("/audit?action=session.replay").await;
    assert_eq!(replays["items"], json!([]));
    let next = renewed["data"]["refresh_token"].as_str().unwrap();
    refresh(&world, next).await.json(200);
}
