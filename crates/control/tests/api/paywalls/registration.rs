//! Agents that are registered and renew their tokens.

use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::{Site, refused};
use crate::support::{Answer, World};

const REGISTER: &str = "/api/agents/register";

fn metadata() -> Value {
    json!({ "client_name": "OpenAI", "client_uri": "https://openai.com/bots", "contacts": ["ops@openai.com"],
            "software_id": "GPTBot", "software_version": "1.2" })
}

async fn renew(site: &Site, form: &str) -> Answer {
    let request = Request::post("/api/agents/token")
        .header("Host", "gate")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(form.to_owned())))
        .unwrap();
    site.world.ask([127, 0, 0, 1], request).await
}

fn text(answer: &Value, field: &str) -> String {
    answer[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} in {answer}"))
        .to_owned()
}

#[tokio::test]
async fn a_registered_agent_has_a_token_that_it_renews_without_a_key() {
    let site = Site::of(World::by_hand(control::SHIPPED).await).await;
    site.rule(json!({ "access": "token" })).await;
    let made = site.post(REGISTER, &metadata()).await.json(201);
    assert_eq!(
        (&made["token_type"], &made["expires_in"]),
        (&json!("Bearer"), &json!(86_400))
    );
    assert_eq!(made["contacts"], json!(["ops@openai.com"]));
    let first = text(&made, "access_token");
    assert_eq!(site.decided(json!(first)).await["reason"], "token_active");

    // The token has ended, and that is what the other one is for.
    site.world.advance(Duration::from_secs(86_401)).await;
    assert_eq!(site.decided(json!(first)).await["reason"], "token_expired");
    let refresh = text(&made, "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let (one, other) = tokio::join!(renew(&site, &form), renew(&site, &form));
    let (won, lost) = if one.status == 200 {
        (one, other)
    } else {
        (other, one)
    };
    refused(&lost, 400, "invalid_grant");
    let next = won.json(200);
    let second = text(&next, "access_token");
    assert_ne!(first, second);
    assert_eq!(site.decided(json!(second)).await["reason"], "token_active");
    refused(&renew(&site, &form).await, 400, "invalid_grant");

    // The token before stays good for a minute, then the new one alone is.
    assert_eq!(site.decided(json!(first)).await["reason"], "token_active");
    site.world.advance(Duration::from_secs(61)).await;
    assert_eq!(site.decided(json!(first)).await["reason"], "token_expired");
    assert_eq!(site.decided(json!(second)).await["reason"], "token_active");

    let id = text(&made, "client_id");
    site.world
        .local("POST", &format!("/agents/tokens/{id}/revoke"), "")
        .await
        .json(200);
    let refresh = text(&next, "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    refused(&renew(&site, &form).await, 400, "invalid_grant");
}

#[tokio::test]
async fn what_is_wrong_with_a_registration_or_a_renewal_is_said() {
    let site = Site::start().await;
    for (field, value) in [
        ("client_name", json!("")),
        ("client_name", json!("Ünicode")),
        ("client_uri", json!("http://openai.com")),
        ("contacts", json!([])),
        ("contacts", json!("ops")),
        ("software_id", Value::Null),
        ("software_version", json!(1)),
    ] {
        let mut wish = metadata();
        wish[field] = value;
        let answer = site.post(REGISTER, &wish).await;
        let sentence = refused(&answer, 400, "invalid_client_metadata");
        assert!(sentence.contains(field), "{field} in {sentence}");
    }
    refused(
        &site.post_as(None, REGISTER, &metadata()).await,
        401,
        "invalid_token",
    );
    let made = site.post(REGISTER, &metadata()).await.json(201);
    let refresh = text(&made, "refresh_token");
    for (form, code) in [
        ("refresh_token=art_x".to_owned(), "invalid_request"),
        ("grant_type=refresh_token".to_owned(), "invalid_request"),
        (
            format!("grant_type=password&refresh_token={refresh}"),
            "unsupported_grant_type",
        ),
        (
            "grant_type=refresh_token&refresh_token=art_x".to_owned(),
            "invalid_grant",
        ),
        (
            format!("grant_type=refresh_token&refresh_token={refresh}A"),
            "invalid_grant",
        ),
        (
            format!("grant_type=refresh_token&refresh_token={refresh}&client_id=lic_x"),
            "invalid_grant",
        ),
    ] {
        refused(&renew(&site, &form).await, 400, code);
    }
    // None of them used it up; JSON is taken as well.
    let wish = json!({ "grant_type": "refresh_token", "refresh_token": refresh, "client_id": made["client_id"] });
    site.post_as(None, "/api/agents/token", &wish)
        .await
        .json(200);
}
