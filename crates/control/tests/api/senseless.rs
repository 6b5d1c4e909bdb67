//! Tests that a request for something without use is refused, with a hint at what would work.

use crate::support::World;

/// Returns the field and the detail of a refusal with 400.
async fn refused(world: &World, method: &str, path: &str, body: &str) -> (String, String) {
    let problem = world.local(method, path, body).await.json(400);
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    (text("field"), text("detail"))
}

#[tokio::test]
async fn a_time_to_begin_at_that_comes_after_the_end_is_named() {
    let world = World::start().await;
    let span = "from=2026-12-01T00:00:00Z&to=2026-11-01T00:00:00Z";
    for path in [
        "/usage?",
        "/calls?",
        "/calls?format=jsonl&",
        "/calls/closed?",
        "/stamps?",
        "/audit?",
        "/ledger/export?format=csv&",
    ] {
        let told = refused(&world, "GET", &format!("{path}{span}"), "").await;
        let detail = "`from`, 2026-12-01T00:00:00Z, is after `to`, 2026-11-01T00:00:00Z, so that nothing lies between: \
                      give the earlier time as `from`";
        assert_eq!(told, ("from".to_owned(), detail.to_owned()), "{path}");
    }
    let empty = "/usage?from=2026-11-01T00:00:00Z&to=2026-11-01T00:00:00Z";
    world.local("GET", empty, "").await.json(200);
}

#[tokio::test]
async fn an_end_that_is_over_is_named() {
    let world = World::start().await;
    let made = world.license(r#"{"app":"api"}"#).await;
    let license = format!("/licenses/{}", made["id"].as_str().unwrap());
    let ended = r#""expires_at":"2020-01-01T00:00:00Z""#;
    let now = "or disable or revoke the license to end it now";
    for (method, path, body, instead) in [
        (
            "POST",
            "/licenses",
            format!(r#"{{"app":"api",{ended}}}"#),
            "or none at all",
        ),
        (
            "POST",
            "/management-keys",
            format!(r#"{{{ended}}}"#),
            "or none at all",
        ),
        ("PATCH", &license, format!("{{{ended}}}"), now),
        (
            "POST",
            &format!("{license}/extend"),
            format!("{{{ended}}}"),
            now,
        ),
    ] {
        let told = refused(&world, method, path, &body).await;
        let detail =
            format!("2020-01-01T00:00:00Z is over already: write a time to come, {instead}");
        assert_eq!(told, ("expires_at".to_owned(), detail), "{method} {path}");
    }
}

#[tokio::test]
async fn a_permission_that_is_meant_for_a_pattern_is_named() {
    let world = World::start().await;
    let made = world.license(r#"{"app":"api"}"#).await;
    let license = format!("/licenses/{}", made["id"].as_str().unwrap());
    for (method, path, body) in [
        (
            "POST",
            "/licenses",
            r#"{"app":"api","permissions":["GET /v1/*"]}"#,
        ),
        ("PATCH", &license, r#"{"permissions":["GET /v1/*"]}"#),
    ] {
        let told = refused(&world, method, path, body).await;
        let detail = "`GET /v1/*` has a pattern, which no path is: a permission holds for its path and all that lies below it, \
                      write `GET /v1`";
        assert_eq!(told, ("permissions".to_owned(), detail.to_owned()));
    }
}
