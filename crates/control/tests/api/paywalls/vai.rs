//! Judgements of visitors, as an edge asks for them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};

use super::{Site, refused};

const SIGNALS: [(&str, &str); 7] = [
    ("X-PW-V", "2"),
    ("X-PW-Sec-Fetch-Dest", "empty"),
    ("X-PW-Enc", "br, gzip, modern"),
    ("X-PW-Lang", "present, primary=en, count=3"),
    ("X-PW-Net", "asn=consumer"),
    ("X-PW-CH", "present, brands=3, grease, consistent"),
    (
        "X-PW-UA",
        "dpf=desktop/mac/chrome, ver=140+, browser, entropy=medium",
    ),
];

fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    SIGNALS.iter().chain(more).copied().collect()
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn a_judgement_is_signed_for_a_minute_by_a_key_that_the_site_publishes() {
    let site = Site::of(crate::support::World::by_hand(control::SHIPPED).await).await;
    let headers = with(&[("X-Original-Host", "News.Example.com:443")]);
    let answer = site.edge("GET", "/pw/vai.json", &headers).await;
    assert_eq!(answer.headers["cache-control"], "private, no-store");
    let judged = answer.json(200);
    assert_eq!(
        (&judged["vat"], &judged["act"]),
        (&json!("HUMAN"), &json!("ACT-1"))
    );
    let jws = judged["assertion_jws"].as_str().unwrap();
    let parts: Vec<&str> = jws.split('.').collect();
    let (header, claims) = (decoded(parts[0]), decoded(parts[1]));
    let begin = "2026-03-01T00:00:10Z"
        .parse::<model::Timestamp>()
        .unwrap()
        .seconds();
    let expected = json!({
        "vat": "HUMAN", "act": "ACT-1", "iss": "https://news.example.com", "aud": "vai", "dom": "news.example.com",
        "kid": judged["kid"], "iat": begin, "exp": begin + 60,
    });
    assert_eq!(claims, expected);
    let expected = json!({ "alg": "EdDSA", "kid": judged["kid"], "jku": "https://news.example.com/pw/jwks.json" });
    assert_eq!(header, expected);

    let keys = site.edge("GET", "/pw/jwks.json", &[]).await;
    assert_eq!(keys.headers["access-control-allow-origin"], "*");
    let keys = keys.json(200);
    let key = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == judged["kid"]);
    let public = URL_SAFE_NO_PAD
        .decode(key.unwrap()["x"].as_str().unwrap())
        .unwrap();
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    let signed = format!("{}.{}", parts[0], parts[1]);
    let verified = UnparsedPublicKey::new(&ED25519, public).verify(signed.as_bytes(), &signature);
    assert!(verified.is_ok(), "the signature holds");

    let script = site.edge("GET", "/pw/vai.js", &headers).await;
    assert_eq!(
        script.headers["content-type"],
        "text/javascript; charset=utf-8"
    );
    let text = String::from_utf8(script.body).unwrap();
    assert!(
        text.starts_with("window.__PW_VAI__={\"vat\":\"HUMAN\""),
        "{text}"
    );
}

#[tokio::test]
async fn an_assertion_is_no_token_and_a_site_of_another_account_is_not_asserted() {
    let site = Site::start().await;
    let headers = with(&[("X-Original-Host", "news.example.com")]);
    let judged = site.edge("GET", "/pw/vai.json", &headers).await.json(200);
    let jws = judged["assertion_jws"].as_str().unwrap();
    let body = json!({ "account_id": "default", "user_agent": "x" });
    let answer = site
        .post_as(Some(jws), "/api/filter/agents/auth", &body)
        .await;
    refused(&answer, 401, "invalid_token");
    for host in ["a b", "[::1]", "a..b", ""] {
        let answer = site
            .edge("GET", "/pw/vai.json", &[("X-Original-Host", host)])
            .await;
        let text = refused(&answer, 400, "invalid_request");
        assert!(text.contains("X-Original-Host"), "{text}");
    }
    let mut stranger = Site {
        key: "tg_wrong".to_owned(),
        world: site.world,
    };
    refused(
        &stranger.edge("GET", "/pw/vai.json", &headers).await,
        401,
        "invalid_token",
    );
    stranger.key.clear();
    refused(
        &stranger.edge("GET", "/pw/vai.js", &headers).await,
        401,
        "invalid_token",
    );
}

#[tokio::test]
async fn pages_of_the_site_may_read_a_judgement_and_others_may_not() {
    let site = Site::start().await;
    let ask = async |method: &str, origin: &'static str| {
        let headers = with(&[
            ("X-Original-Host", "news.example.com"),
            ("X-Forwarded-Origin", origin),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", "x-one, x-two"),
        ]);
        site.edge(method, "/pw/vai.json", &headers).await
    };
    for origin in [
        "https://news.example.com",
        "https://www.news.example.com",
        "http://example.com:8080",
    ] {
        let answer = ask("GET", origin).await;
        assert_eq!(answer.headers["access-control-allow-origin"], origin);
        assert_eq!(answer.headers["vary"], "Origin");
        let preflight = ask("OPTIONS", origin).await;
        assert_eq!(preflight.status, 204);
        assert_eq!(preflight.headers["access-control-allow-origin"], origin);
        assert_eq!(
            preflight.headers["access-control-allow-methods"],
            "GET, HEAD, OPTIONS"
        );
        assert_eq!(
            preflight.headers["access-control-allow-headers"],
            "x-one, x-two"
        );
    }
    for origin in ["https://evil.test", "null", "https://evilnews.example.com"] {
        for method in ["GET", "OPTIONS"] {
            let answer = ask(method, origin).await;
            assert!(
                !answer.headers.contains_key("access-control-allow-origin"),
                "{origin}"
            );
        }
    }
}

#[tokio::test]
async fn lists_for_an_edge_and_paths_that_are_not_there() {
    let site = Site::start().await;
    let answer = site.edge("GET", "/pw/vai/metadata", &[]).await;
    assert_eq!(answer.headers["cache-control"], "public, max-age=3600");
    let lists = answer.json(200);
    assert!(lists["version"].is_number());
    for field in [
        "dc_asns",
        "automation_patterns",
        "headless_patterns",
        "bot_patterns",
    ] {
        assert!(!lists[field].as_array().unwrap().is_empty(), "{field}");
    }
    refused(&site.edge("GET", "/pw/v3/new", &[]).await, 404, "not_found");
    assert_eq!(site.edge("OPTIONS", "/pw/v3/new", &[]).await.status, 204);
    refused(
        &site.edge("POST", "/pw/vai.json", &[]).await,
        405,
        "invalid_request",
    );
    let silent = site
        .edge("GET", "/pw/vai.json", &[("X-Original-Host", "a.test")])
        .await
        .json(200);
    assert_eq!(
        (&silent["vat"], &silent["act"]),
        (&json!("OTHER"), &json!("ACT-3"))
    );
}
