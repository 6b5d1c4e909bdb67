//! Tests of management keys.

use crate::support::World;

#[tokio::test]
async fn a_key_does_what_its_scopes_say() {
    let world = World::start().await;
    let reader = world.key(r#"{"scopes":["read:licenses"]}"#).await;
    let reader = Some(reader.as_str());
    world.remote(reader, "GET", "/licenses", "").await.json(200);
    for (method, path, body) in [
        ("POST", "/licenses", r#"{"app":"api"}"#),
        ("GET", "/usage", ""),
        ("GET", "/calls", ""),
        ("GET", "/management-keys", ""),
        ("POST", "/management-keys", "{}"),
    ] {
        let answer = world.remote(reader, method, path, body).await;
        assert_eq!(answer.code(403), "scope_missing", "{method} {path}");
    }
    let problem = world
        .local("POST", "/management-keys", r#"{"scopes":["everything"]}"#)
        .await
        .json(400);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("read:licenses"),
        "{problem}"
    );
}

#[tokio::test]
async fn nobody_makes_or_takes_a_key_with_more_rights_than_their_own() {
    let world = World::start().await;
    let strong = world
        .local("POST", "/management-keys", "{}")
        .await
        .json(201);
    let weak = world
        .key(r#"{"app":"api","scopes":["write:keys","read:keys"]}"#)
        .await;
    let weak = Some(weak.as_str());
    let rotate = format!("/management-keys/{}/rotate", strong["id"].as_str().unwrap());
    assert_eq!(
        world.remote(weak, "POST", &rotate, "").await.code(404),
        "not_found"
    );
    for body in [
        r#"{"scopes":["write:licenses"]}"#,
        r#"{"account":"acme"}"#,
        r#"{"app":"shop"}"#,
    ] {
        let answer = world.remote(weak, "POST", "/management-keys", body).await;
        assert!((403..=404).contains(&answer.status), "{}", answer.text());
    }
    let child = world
        .remote(weak, "POST", "/management-keys", "{}")
        .await
        .json(201);
    assert_eq!(child["app"], "api");
    assert_eq!(
        child["scopes"].as_array().unwrap().len(),
        2,
        "what is not said is inherited"
    );
}

#[tokio::test]
async fn a_rotated_key_has_the_same_rights_and_ends_the_one_before() {
    let world = World::start().await;
    let old = world
        .local("POST", "/management-keys", r#"{"name":"ci","app":"api"}"#)
        .await
        .json(201);
    let path = format!("/management-keys/{}/rotate", old["id"].as_str().unwrap());
    let new = world.local("POST", &path, "").await.json(200);
    assert_eq!((&new["name"], &new["app"]), (&"ci".into(), &"api".into()));
    let ask = async |key: &serde_json::Value| {
        world
            .remote(key["key"].as_str(), "GET", "/licenses", "")
            .await
            .status
    };
    assert_eq!((ask(&old).await, ask(&new).await), (401, 200));
    let list = world.local("GET", "/management-keys", "").await;
    assert!(!list.text().contains(new["key"].as_str().unwrap()));
    assert_eq!(list.json(200)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_pair_has_a_secret_and_is_no_bearer() {
    let world = World::start().await;
    let pair = world
        .local("POST", "/management-keys", r#"{"pair":true}"#)
        .await
        .json(201);
    assert!(pair["secret"].is_string(), "{pair}");
    let answer = world
        .remote(pair["key"].as_str(), "GET", "/licenses", "")
        .await;
    assert_eq!(answer.code(401), "key_unknown");
}

#[tokio::test]
async fn a_pair_whose_tokens_open_the_gate_takes_a_maker_that_makes_licenses() {
    let world = World::start().await;
    let maker = world
        .key(r#"{"scopes":["write:keys","read:usage"],"app":"api"}"#)
        .await;
    let maker = Some(maker.as_str());
    let license = world.license(r#"{"app":"api"}"#).await;
    let of_license = format!(
        r#"{{"pair":true,"scopes":["read:usage"],"license":{}}}"#,
        license["id"]
    );
    for body in [r#"{"pair":true,"scopes":["read:usage"]}"#, &of_license] {
        let answer = world.remote(maker, "POST", "/management-keys", body).await;
        assert_eq!(answer.code(403), "scope_missing", "{body}");
        assert!(
            answer.text().contains("write:licenses"),
            "{}",
            answer.text()
        );
    }
    let all = world.key("{}").await;
    let body = r#"{"pair":true,"app":"api","scopes":["read:usage"]}"#;
    let pair = world.remote(Some(&all), "POST", "/management-keys", body);
    let pair = pair.await.json(201);
    assert!(pair["draws_on"].is_string(), "{pair}");
    // Nor does the maker of keys take it over, or end what it could not make.
    for what in ["rotate", "revoke"] {
        let path = format!("/management-keys/{}/{what}", pair["id"].as_str().unwrap());
        let answer = world.remote(maker, "POST", &path, "").await;
        assert_eq!(answer.code(403), "scope_missing", "{what}");
    }
    // Its own kind it makes and ends.
    let child = world.remote(maker, "POST", "/management-keys", "{}").await;
    let path = child.json(201)["id"].as_str().unwrap().to_owned();
    let path = format!("/management-keys/{path}/revoke");
    world.remote(maker, "POST", &path, "").await.json(200);
}
