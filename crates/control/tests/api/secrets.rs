//! Tests that a key in a wrong place is not repeated.

use control::SHIPPED;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use model::{Credential, KeyFormat, RefreshToken};
use serde_json::{Value, json};

use crate::support::{Answer, World};

/// One credential of each kind, in its own shape.
async fn credentials(world: &World) -> Vec<String> {
    let made = async |path: &str, body: &str| {
        let made = world.local("POST", path, body).await.json(201);
        let of = |field: &str| made[field].as_str().map(ToOwned::to_owned);
        ["key", "secret", "app_secret"]
            .into_iter()
            .filter_map(of)
            .collect::<Vec<_>>()
    };
    let mut keys = made("/management-keys", "{}").await;
    keys.extend(made("/management-keys", r#"{"pair":true}"#).await);
    keys.extend(made("/keys", r#"{"app":"api","prefix":"pk_"}"#).await);
    keys.extend(made("/apps/api/credentials", "{}").await);
    for format in ["tallygate", "uuid", "apifew"] {
        let body = json!({ "app": "api", "key_format": format });
        keys.extend(made("/licenses", &body.to_string()).await);
    }
    // Of letters and digits: one of a few thousand has no digit and looks like words.
    let authforge = std::iter::repeat_with(|| Credential::generate(KeyFormat::Authforge));
    let with_digits = |key: &Credential| key.expose().bytes().any(|byte| byte.is_ascii_digit());
    keys.push(
        authforge
            .into_iter()
            .find(with_digits)
            .unwrap()
            .expose()
            .to_owned(),
    );
    keys.push(RefreshToken::generate().expose().to_owned());
    keys.push("eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl".to_owned());
    assert_eq!(keys.len(), 11, "{keys:?}");
    keys
}

fn silent(answer: &Answer, key: &str, asked: &str) {
    let text = answer.text();
    let said = text.contains(&key[..key.len().min(12)]);
    assert!(answer.status < 300 || !said, "{asked}: {text}");
    let trace = answer
        .headers
        .values()
        .any(|value| value.as_bytes() == key.as_bytes());
    assert!(!trace, "{asked}: {:?}", answer.headers);
}

/// Returns the names of the members of a body.
fn members<'a>(document: &'a Value, operation: &'a Value) -> Vec<&'a str> {
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    let named = body["$ref"]
        .as_str()
        .and_then(|at| document.pointer(&at[1..]));
    let members = named.unwrap_or(body)["properties"].as_object();
    members
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect()
}

#[tokio::test]
async fn no_answer_of_the_native_api_says_a_key_that_came_in_a_wrong_place() {
    let world = World::start().await;
    let document = world.get("/openapi.json").await;
    let keys = credentials(&world).await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let path = path.strip_prefix("/api/v1").unwrap();
            let method = method.to_uppercase();
            let names = members(&document, operation);
            for (at, key) in keys.iter().enumerate() {
                let filled = path.replace("{id}", key).replace("{name}", key);
                let mut tries = vec![(format!("{path}?{key}=1"), json!({ key: 1 }).to_string())];
                if filled != path {
                    tries.push((filled, "{}".to_owned()));
                }
                let parameters = operation["parameters"].as_array();
                for parameter in parameters.into_iter().flatten() {
                    if parameter["in"] == "query" {
                        let name = parameter["name"].as_str().unwrap();
                        tries.push((format!("{path}?{name}={key}"), String::new()));
                    }
                }
                // Every third, which are of three kinds, for the sake of time.
                for name in names.iter().filter(|_| at % 3 == 0) {
                    let body = json!({ "app": "api", *name: key }).to_string();
                    tries.push((path.to_owned(), body));
                    let body = json!({ "app": "api", *name: [key] }).to_string();
                    tries.push((path.to_owned(), body));
                }
                for (path, body) in tries {
                    let path = path.replace(['{', '}'], "");
                    let asked = format!("{method} {path} {body}");
                    let answer = world.local(&method, &path, body).await;
                    silent(&answer, key, &asked);
                }
            }
        }
    }
    // A key without a shape, where an id belongs.
    for path in [
        "/licenses/",
        "/keys/",
        "/users/",
        "/tokens/",
        "/sessions/",
        "/management-keys/",
    ] {
        let answer = world
            .local("GET", &format!("{path}legacy-key-0001"), "")
            .await;
        assert_eq!(answer.code(404), "not_found");
        silent(&answer, "legacy-key-0001", path);
    }
    for key in &keys {
        for path in [format!("/{key}"), format!("//{key}/x")] {
            silent(&world.local("GET", &path, "").await, key, &path);
        }
        silent(&world.local(key, "/licenses", "").await, key, "a method");
    }
}

#[tokio::test]
async fn no_protocol_says_a_key_that_came_in_a_wrong_place() {
    let world = World::speaking(SHIPPED).await;
    let keys = credentials(&world).await;
    let owner = &keys[0];
    let document = world.get("/openapi-protocols.json").await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for key in keys.iter().skip(1) {
                let mut bodies = vec![json!({ key: 1 })];
                for name in members(&document, operation) {
                    bodies.push(json!({ name: [key] }));
                    bodies.push(json!({ name: { key: key } }));
                }
                for body in bodies {
                    let body = body.to_string();
                    let request = Request::builder()
                        .method(method.to_uppercase().as_str())
                        .uri(format!("{path}?{key}=1&id={key}"))
                        .header("host", "gate")
                        .header("authorization", format!("Bearer {owner}"))
                        .header("apifew-key", owner)
                        .body(Full::new(Bytes::from(body.clone())));
                    let answer = world.ask([127, 0, 0, 1], request.unwrap()).await;
                    silent(&answer, key, &format!("{method} {path} {body}"));
                }
            }
        }
    }
}
